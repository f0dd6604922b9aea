"""Other servers that speak what the engine cannot take in time: see docs/adr/0013."""

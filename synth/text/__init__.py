"""From what was written to what is said: normalise, split into segments, phonemise."""

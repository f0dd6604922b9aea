"""What callers hear, counted, and the phrasebook that is proposed from it."""

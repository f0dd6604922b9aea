"""From what the model made to what is sent: check, trim, join, encode."""

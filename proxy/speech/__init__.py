"""The one path from a request to audio."""

"""The edge: an HTTP server that answers speech requests from a cache. Never imports torch."""

__version__ = "0.1.0"

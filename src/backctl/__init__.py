"""Administration of a backend's accounts and security core."""

__version__ = "0.1.0"

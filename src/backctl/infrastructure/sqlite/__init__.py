"""The embedded database: one file, without a server."""

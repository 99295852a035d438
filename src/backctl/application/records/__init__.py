"""Rewrite selected fields in JSON lines and CSV."""

"""The management commands that are compared with backctl."""

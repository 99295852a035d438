"""The keyring: its file, its text, and how it changes."""

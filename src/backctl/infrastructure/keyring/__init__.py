"""Stores, reads and changes the keyring."""

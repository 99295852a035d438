"""Writes files completely or not at all, and checks their permissions."""

"""The ports: interfaces that the use cases need, one file per concern."""

"""The ports: what use cases need of the outside, one file per concern."""

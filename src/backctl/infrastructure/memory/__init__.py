"""The level of the cache in the memory of a process."""

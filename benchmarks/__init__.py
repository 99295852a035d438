"""Benchmarks of whole processes, compared with other tools that do the same work."""

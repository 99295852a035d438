"""Whole processes, measured side by side with what other tools need for the same work."""

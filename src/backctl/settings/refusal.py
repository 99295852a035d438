"""What makes a value unacceptable."""

# Patterns that are compiled at their first use, because most commands never need them.
UNSAFE = "[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]"
UNSAFE_IN_PATHS = "[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udc7f\\udd00-\\udfff]"
"""Permits the surrogates for bytes that are not UTF-8, which a variable can contain (PEP 383)."""


class WrongValue(ValueError):
    """A value that its setting does not accept. The message never contains a secret."""

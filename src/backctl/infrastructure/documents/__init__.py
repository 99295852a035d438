"""Reads YAML, JSON and TOML with the line of each value.

All three are read strictly: what readers of a format disagree about is refused, and so is what expands, such as aliases
of YAML.
"""

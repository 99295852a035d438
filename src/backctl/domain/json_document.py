"""Parses JSON documents strictly: without duplicate members and NaN, which readers disagree about."""

import json


def parsed(text: str) -> object:
    """Parse a text without duplicate members, NaN and trailing text. Raises ValueError or RecursionError."""
    document: object = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refuse_constant)
    return document


def without_duplicates(members: list[tuple[str, object]]) -> dict[str, object]:
    """An `object_pairs_hook`. Raises ValueError."""
    document = dict(members)
    if len(document) != len(members):
        raise ValueError("a member appears twice")
    return document


def refuse_constant(name: str) -> object:
    """A `parse_constant` for NaN and the infinities. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")

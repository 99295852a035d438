"""JSON in which nothing has two meanings: for documents that hold keys."""

import json


def parsed(text: str) -> object:
    """The value of a text: no duplicate member, no NaN, nothing after it. Raises ValueError or RecursionError."""
    document: object = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    return document


def _without_duplicates(members: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(members)
    if len(document) != len(members):
        raise ValueError("a member appears twice")
    return document


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")

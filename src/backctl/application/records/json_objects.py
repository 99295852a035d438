"""Read JSON objects strictly: nothing in them that readers disagree about (RFC 8259, and I-JSON, RFC 7493)."""

import json
import re
from collections.abc import Iterable
from typing import NoReturn

from backctl.domain.errors import InvalidInput
from backctl.domain.quoting import quoted

DEEPEST = 20
"""Levels of objects and arrays; an account has one, and an identity of another program about six."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_object(text: str) -> dict[str, object]:
    """Parse an object without duplicate members, NaN, unpaired surrogates, deep nesting and trailing text.

    Raises InvalidInput, which never shows the text.
    """
    try:
        value, end = scan(text, 0)
    except json.JSONDecodeError as error:
        place = f"character {error.colno}" + (f" of its line {error.lineno}" if error.lineno > 1 else "")
        raise InvalidInput(f"it is not valid JSON: there is an error at {place}") from None
    except ValueError:  # CPython converts at most 4300 digits
        raise InvalidInput("it contains a number that is too long") from None
    except RecursionError:
        raise _too_deep() from None
    if len(text) != end and text[end:].strip(" \t\r\n"):
        raise InvalidInput("there is text after its JSON object")
    return checked(text, value)


def checked(text: str, value: object) -> dict[str, object]:
    """Return what `scan` read from the text if it is an acceptable object. Raises InvalidInput."""
    if type(value) is not dict:
        raise InvalidInput("it is not a JSON object")
    # Finding one character is several times faster than counting it.
    if ("[" in text or text.find("{", 1) > 0) and text.count("{") + text.count("[") > DEEPEST and _is_deep(value):
        raise _too_deep()
    if "\\" in text and _SURROGATE.search(text) and not _is_unicode(value):
        raise InvalidInput("it contains an unpaired surrogate")
    return value


def _object(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) != len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"its member {quoted(twice)} appears twice")
    return found


def _constant(name: str) -> NoReturn:
    raise InvalidInput(f"it contains {name}, which is not JSON")


scan = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant).raw_decode
"""(text, start) → value and end. Raises InvalidInput, ValueError and RecursionError. Pass its value to `checked`."""


def _is_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(DEEPEST):
        level = [below for above in level for below in _inside(above)]
    return any(isinstance(value, dict | list) for value in level)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep() -> InvalidInput:
    return InvalidInput(f"it is nested more than {DEEPEST} levels deep")

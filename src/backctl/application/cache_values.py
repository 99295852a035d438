"""How values become the payload of cache entries, and how callers share them."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from backctl.domain.cache_entry import TTL_MAX, VALUE_MAX
from backctl.domain.errors import InvalidCacheEntry
from backctl.domain.json_document import parsed

Payload = tuple[bytes, bool]
"""Bytes, and whether they are the value itself instead of JSON."""


Form = Literal["json", "text", "base64"]
"""How an operator writes a value."""


class Codec(NamedTuple):
    """Converts the values of one kind. `decode` raises ValueError for a payload that has another form.

    `share` returns the function that gives each caller a value of its own. `signed`: entries of others are not used.
    """

    encode: Callable[[Any], Payload]
    decode: Callable[[bytes, bool], Any]
    share: Callable[[Any], Callable[[Any], Any]]
    signed: bool = False


class Recipe(NamedTuple):
    """How an entry is stored. Times are microseconds.

    It is fresh for `ttl`, or for `negative_ttl` if the loader returned None, and for `stale` longer it can replace a
    loader that fails.
    """

    codec: Codec
    ttl: int
    negative_ttl: int
    stale: int
    tags: tuple[bytes, ...] = ()


def encoded(value: object) -> Payload:
    """Return bytes as they are, and anything else as JSON. Raises InvalidCacheEntry if that is impossible."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), True
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(), False
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidCacheEntry(
            f"the value cannot be stored as JSON: {error}", hint="use strings, numbers, lists, objects, or bytes"
        ) from None


def read_value(raw: bytes, form: "Form") -> object:
    """Return the value that an operator wrote. Raises InvalidCacheEntry."""
    try:
        if form == "base64":
            return base64.b64decode(b"".join(raw.split()), validate=True)
        text = raw.decode()
        return parsed(text) if form == "json" else text
    except UnicodeDecodeError:
        raise InvalidCacheEntry("the value is not UTF-8 text", hint="give bytes as base64, with --base64") from None
    except (ValueError, RecursionError) as error:
        if form == "base64":
            raise InvalidCacheEntry("the value is not base64", hint="use the standard alphabet with padding") from None
        raise InvalidCacheEntry(
            f"the value is not JSON: {error}", hint="add --raw to store the text itself as a string"
        ) from None


def shown_value(value: object) -> object:
    """Return a value as JSON can express it; bytes become base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def decoded(payload: bytes, binary: bool) -> object:
    """Return the value of a payload. Raises ValueError."""
    if binary:
        return payload
    try:
        return json.loads(payload.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def sharing(value: object) -> Callable[[Any], Any]:
    """Return the function that copies a JSON value, so that no caller changes that of another."""
    if isinstance(value, (dict, list)):
        parts = value.values() if isinstance(value, dict) else value
        if any(isinstance(part, (dict, list)) for part in parts):
            return _copied_deeply
        return dict.copy if isinstance(value, dict) else list.copy
    return itself


def itself(value: Any) -> Any:
    """Return the value, which nobody can change."""
    return value


def _copied_deeply(value: Any) -> Any:
    try:
        return _copied(value)
    except RecursionError:  # JSON allows more levels than a function of Python
        return json.loads(json.dumps(value))


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_copied(part) for part in value]
    return value


PLAIN = Codec(encoded, decoded, sharing)
"""Values that JSON can express, and bytes."""


def checked_payload(payload: Payload) -> Payload:
    """Raises InvalidCacheEntry for a value that is too large."""
    if len(payload[0]) > VALUE_MAX:
        raise InvalidCacheEntry(
            f"the value has {len(payload[0])} bytes", hint=f"use at most {VALUE_MAX}, or store it elsewhere"
        )
    return payload


def microseconds(duration: float | timedelta) -> int:
    """Return a TTL in microseconds; a number is in seconds. Raises InvalidCacheEntry if it is impossible."""
    try:
        exact = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
    except (OverflowError, ValueError):
        exact = timedelta(0)  # which is refused
    return checked_ttl(exact // timedelta(microseconds=1))


def checked_ttl(ttl: int) -> int:
    """Raises InvalidCacheEntry for a number of microseconds that cannot be a TTL."""
    if not 1000 <= ttl <= TTL_MAX:
        raise InvalidCacheEntry("the TTL is out of range", hint="use 1 millisecond to 31 days")
    return ttl

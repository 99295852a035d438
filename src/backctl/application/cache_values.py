"""Converts values to the payload of cache entries and back, and copies them for each caller."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from backctl.domain.cache_entry import TTL_MAX, VALUE_MAX, namespace_of
from backctl.domain.errors import InvalidCacheEntry
from backctl.domain.json_document import parsed

Payload = tuple[bytes, bool]
"""The bytes, and whether they are the value itself rather than JSON."""


Form = Literal["json", "text", "base64"]
"""The format in which an operator enters a value."""


class Codec(NamedTuple):
    """Converts one kind of value. `decode` raises ValueError for a payload of another format.

    `share` returns the function that copies the value for each caller. `signed`: entries without a valid signature are
    not used.
    """

    encode: Callable[[Any], Payload]
    decode: Callable[[bytes, bool], Any]
    share: Callable[[Any], Callable[[Any], Any]]
    signed: bool = False


class Recipe(NamedTuple):
    """How an entry is stored. Times are microseconds.

    The entry is fresh for `ttl`, or for `negative_ttl` if the loader returned None. For another `stale`, it is used if
    the loader fails. After the part `refresh_after` of its TTL, reads renew the entry; 0: never, None: as configured.
    """

    codec: Codec
    ttl: int
    negative_ttl: int
    stale: int
    tags: tuple[bytes, ...] = ()
    refresh_after: float | None = None


class RefreshAfter(NamedTuple):
    """The configured part of its TTL after which a read renews an entry, also by namespace; 0: never."""

    default: float = 0.0
    namespaces: Mapping[bytes, float] = MappingProxyType({})

    def of(self, key: bytes, recipe: Recipe) -> float:
        """Return the part that applies to an entry."""
        if recipe.refresh_after is not None:
            return recipe.refresh_after
        return self.namespaces.get(namespace_of(key), self.default)


def encoded(value: object) -> Payload:
    """Encode bytes unchanged and other values as JSON. Raises InvalidCacheEntry if that is impossible."""
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
    """Parse a value that an operator entered. Raises InvalidCacheEntry."""
    try:
        if form == "base64":
            return base64.b64decode(b"".join(raw.split()), validate=True)
        text = raw.decode()
        return parsed(text) if form == "json" else text
    except UnicodeDecodeError:
        raise InvalidCacheEntry("the value is not UTF-8 text", hint="encode bytes as base64 and add --base64") from None
    except (ValueError, RecursionError) as error:
        if form == "base64":
            raise InvalidCacheEntry("the value is not base64", hint="use the standard alphabet with padding") from None
        raise InvalidCacheEntry(
            f"the value is not JSON: {error}", hint="add --raw to store the input as a string"
        ) from None


def shown_value(value: object) -> object:
    """Return a value that JSON can express; bytes become base64."""
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
    """Return the function that copies a JSON value, so that no caller can change the value of another."""
    if isinstance(value, (dict, list)):
        parts = value.values() if isinstance(value, dict) else value
        if any(isinstance(part, (dict, list)) for part in parts):
            return _copied_deeply
        return dict.copy if isinstance(value, dict) else list.copy
    return itself


def itself(value: Any) -> Any:
    """Return the value itself, which is immutable."""
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
"""For JSON values and bytes."""


def exchanged(value: Any, codec: Codec) -> tuple[Payload, Any]:
    """Return the payload of a value, and the value as decoded from it. Raises InvalidCacheEntry."""
    payload = codec.encode(value)
    return payload, codec.decode(*payload)


def checked_payload(payload: Payload) -> Payload:
    """Return the payload. Raises InvalidCacheEntry if it is too large."""
    if len(payload[0]) > VALUE_MAX:
        raise InvalidCacheEntry(
            f"the value has {len(payload[0])} bytes", hint=f"use at most {VALUE_MAX}, or store it elsewhere"
        )
    return payload


def microseconds(duration: float | timedelta) -> int:
    """Convert a TTL to microseconds; a number is in seconds. Raises InvalidCacheEntry if it is out of range."""
    try:
        exact = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
    except (OverflowError, ValueError):
        exact = timedelta(0)  # out of range
    return checked_ttl(exact // timedelta(microseconds=1))


def checked_ttl(ttl: int) -> int:
    """Return a TTL in microseconds. Raises InvalidCacheEntry if it is out of range."""
    if not 1000 <= ttl <= TTL_MAX:
        raise InvalidCacheEntry("the TTL is out of range", hint="use 1 millisecond to 31 days")
    return ttl


def checked_refresh(part: float) -> float:
    """Return the part of the TTL after which an entry is renewed. Raises InvalidCacheEntry."""
    if not 0 <= part < 1:
        raise InvalidCacheEntry(
            f"refresh_after is {part}", hint="use a fraction of the TTL, such as 0.8, or 0 to disable refresh-ahead"
        )
    return part

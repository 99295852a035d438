"""RFC 8785 (JSON Canonicalization Scheme) for the values that backctl signs: equal values give equal bytes.

Floating-point numbers are not supported: no digested value contains one.
"""

import json

_INTEGER_BOUND = 2**53  # RFC 8785 §3.2.2.3 uses IEEE 754 doubles, which round larger integers


def canonical(value: object) -> bytes:
    """Encode `value` as UTF-8: no white space, members sorted by UTF-16 code units, minimal escapes.

    Raises ValueError for a float, an integer beyond ±2⁵³, an unpaired surrogate, a key that is not a string, or any
    other type.
    """
    return _encode(_ordered(value)).encode()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _ordered(value: object) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if abs(value) > _INTEGER_BOUND:
            raise ValueError("an integer beyond ±2^53 has no canonical form")
        return int(value)
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    if isinstance(value, dict):
        # Texts, the most frequent values, without a call for each: every event of an import passes through here.
        return {name: item if type(item := value[name]) is str else _ordered(item) for name in _names(value)}
    raise ValueError(f"{type(value).__name__} has no canonical form here")


def _names(members: dict[object, object]) -> list[str]:
    names = [name for name in members if isinstance(name, str)]
    if len(names) != len(members):
        raise ValueError("a member's name must be a string")
    # For ASCII, the order of code points is the order of UTF-16 code units.
    names.sort(key=None if "".join(names).isascii() else lambda name: name.encode("utf-16-be"))
    return names

"""RFC 8785 (JSON Canonicalization Scheme) for the values that backctl signs: equal values give equal bytes.

Floating-point numbers are not supported: no digested value contains one.
"""

from json.encoder import encode_basestring

_INTEGER_BOUND = 2**53  # RFC 8785 §3.2.2.3 uses IEEE 754 doubles, which round larger integers


def canonical(value: object) -> bytes:
    """Encode `value` as UTF-8: no white space, members sorted by UTF-16 code units, minimal escapes.

    Raises ValueError for a float, an integer beyond ±2⁵³, an unpaired surrogate, a key that is not a string, or any
    other type.
    """
    return canonical_text(value).encode()


def canonical_text(value: object) -> str:
    """Return the text that `canonical` encodes. Raises ValueError, but not for an unpaired surrogate."""
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        if abs(value) > _INTEGER_BOUND:
            raise ValueError("an integer beyond ±2^53 has no canonical form")
        return int.__repr__(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(canonical_text, value))}]"
    if isinstance(value, dict):
        members = []
        for name in _names(value):
            item = value[name]
            # Most values are strings: encoding them here saves a call for each.
            text = encode_basestring(item) if type(item) is str else canonical_text(item)
            members.append(f"{encode_basestring(name)}:{text}")
        return f"{{{','.join(members)}}}"
    raise ValueError(f"{type(value).__name__} has no canonical form here")


def _names(members: dict[str, object]) -> list[str]:
    try:
        names = sorted(members)
        is_ascii = "".join(names).isascii()
    except TypeError:
        raise ValueError("a member's name must be a string") from None
    if not is_ascii:  # for ASCII, the order of code points is the order of UTF-16 code units
        names.sort(key=lambda name: name.encode("utf-16-be"))
    return names

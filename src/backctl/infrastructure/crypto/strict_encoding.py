"""Strict decoders for the two encodings in a token: base64url and JSON objects.

The decoders of the standard library are lenient, so two programs could read one token differently: `base64` skips
foreign characters and ignores trailing bits; `json` accepts duplicate members, NaN and unpaired surrogates.
Both functions return None for invalid text and never raise, so that no exception contains a part of a token.
"""

import json
import re
from binascii import a2b_base64
from math import isfinite

from backctl.domain.json_document import refuse_constant, without_duplicates

_DEEPEST = 16
_INTEGER_BOUND = 2**53  # RFC 7493 §2.2: beyond it, programs may read different numbers
_INTEGER_DIGITS = 17  # including the sign; longer numbers are never computed

# Maps to the alphabet of binascii; its own two characters and padding become an invalid character.
_ALPHABET = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"", b"==", b"=")
# By length modulo 4: the last characters whose unused bits are zero (RFC 4648 §3.5). A remainder of 1 is invalid.
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def unpadded(text: bytes) -> bytes | None:
    """Decode canonical base64url without padding (RFC 7515 §2): two texts never have the same value."""
    rest = len(text) % 4
    if rest and text[-1] not in _LAST[rest]:
        return None
    try:
        return a2b_base64(text.translate(_ALPHABET) + _PADDING[rest], strict_mode=True)
    except ValueError:
        return None


def json_object(text: bytes) -> dict[str, object] | None:
    """Decode a JSON object in UTF-8 (RFC 8259 and RFC 7493), without duplicate members, NaN and unpaired surrogates.

    Rejects integers beyond ±2⁵³, infinite numbers, and nesting deeper than 16 levels.
    """
    try:
        document = text.decode()
        if document.count("{") + document.count("[") > _DEEPEST and _depth(document) > _DEEPEST:
            return None
        if document[:1] == "{" and document[-1:] == "}":  # the usual case, without surrounding white space
            value, end = _DECODER.raw_decode(document)
            if end != len(document):
                return None
        else:
            value = _DECODER.decode(document)
        if "\\u" in document:  # only an escape can be an unpaired surrogate
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _depth(document: str) -> int:
    depth = deepest = 0
    for character in _STRING.sub("", document):
        if character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth -= 1
    return deepest


def _integer(digits: str) -> int:
    if len(digits) > _INTEGER_DIGITS or abs(number := int(digits)) > _INTEGER_BOUND:
        raise ValueError("an integer beyond ±2^53")
    return number


def _fraction(digits: str) -> float:
    if not isfinite(number := float(digits)):
        raise ValueError("a number outside the range of a double")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=without_duplicates,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=refuse_constant,
)

"""The two encodings that a token is made of, each text in exactly one reading: base64url and JSON objects.

The standard library's readers are lenient, and what is lenient reads one token in two ways: `base64` skips what is
not of the alphabet and ignores trailing bits, `json` takes the last of two equal members, NaN, and unpaired surrogates.
Both functions answer None for what they refuse and raise nothing, so that no exception carries a piece of a token.
"""

import json
import re
from binascii import a2b_base64
from math import isfinite

from backctl.infrastructure.crypto.strict_json import refuse_constant, without_duplicates

_DEEPEST = 16
_INTEGER_BOUND = 2**53  # RFC 7493 §2.2: beyond, two readers may see two numbers
_INTEGER_DIGITS = 17  # the sign included; more are never computed

# To the alphabet that binascii knows; its own two characters, and padding, become one that it refuses.
_ALPHABET = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"", b"==", b"=")
# By the length modulo 4: the last characters whose unused bits are zero (RFC 4648 §3.5); a length of 1 cannot be.
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def unpadded(text: bytes) -> bytes | None:
    """base64url without padding (RFC 7515 §2), in its only spelling: `unpadded` never reads two texts alike."""
    rest = len(text) % 4
    if rest and text[-1] not in _LAST[rest]:
        return None
    try:
        return a2b_base64(text.translate(_ALPHABET) + _PADDING[rest], strict_mode=True)
    except ValueError:
        return None


def json_object(text: bytes) -> dict[str, object] | None:
    """A JSON object in UTF-8 (RFC 8259, as strict as RFC 7493): no member twice, no NaN, no unpaired surrogate.

    No integer is beyond ±2⁵³, no number infinite, nothing nested deeper than 16.
    """
    try:
        document = text.decode()
        if document.count("{") + document.count("[") > _DEEPEST and _depth(document) > _DEEPEST:
            return None
        if document[:1] == "{" and document[-1:] == "}":  # as ours are: without a search for white space around it
            value, end = _DECODER.raw_decode(document)
            if end != len(document):
                return None
        else:
            value = _DECODER.decode(document)
        if "\\u" in document:  # only an escape can be half of a pair
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

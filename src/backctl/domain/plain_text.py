"""Decode text and recognize characters that nobody sees in it."""

import re
from collections.abc import Mapping

# The bidirectional controls of UAX #9 §2: the cause of "Trojan Source" (CVE-2021-42574) and of misleading names.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# C0 and C1 except tab, line feed and carriage return; the line and paragraph separators, which some formats treat as
# line ends (JavaScript before 2019, for example); unpaired surrogates, which UTF-8 does not allow.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Default_Ignorable_Code_Point of DerivedCoreProperties.txt, Unicode 14 to 16.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINERS = "\u200c\u200d"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def text_of(raw: bytes) -> str:
    """Decode UTF-8 text and drop a byte order mark, which Windows programs write before it.

    Raises UnicodeDecodeError.
    """
    return raw.removeprefix(BYTE_ORDER_MARK).decode("utf-8")


def has_ignorable(text: str, *, joiners: bool = False) -> bool:
    """Whether the text contains an invisible character, so that it could look the same as another text.

    `joiners` permits U+200C and U+200D, which words of some languages contain.
    """
    return any(not joiners or found not in _JOINERS for found in _IGNORABLE.findall(text))


def without_controls(text: str) -> tuple[str, Mapping[str, int]]:
    """Return the text without control and bidirectional characters, and the number removed: `control`, `bidi`."""
    found: dict[str, int] = {}
    for kind, pattern in (("bidi", _BIDI), ("control", _CONTROL)):
        text, count = pattern.subn("", text)
        if count:
            found[kind] = count
    return text, found

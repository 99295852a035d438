"""Characters that steer instead of standing for something: taken out of text that others wrote."""

import re
from collections.abc import Mapping

# The bidirectional controls of UAX #9 §2. Source of "Trojan Source" (CVE-2021-42574) and of names that read otherwise.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# C0 and C1 but tab, line feed and carriage return; the line and paragraph separators, which end a line in places that
# nobody expects (JavaScript before 2019 among them); halves of surrogate pairs, which no UTF-8 text may hold.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def without_controls(text: str) -> tuple[str, Mapping[str, int]]:
    """The text without control and bidirectional characters, and how many of each: `control`, `bidi`."""
    found: dict[str, int] = {}
    for kind, pattern in (("bidi", _BIDI), ("control", _CONTROL)):
        text, count = pattern.subn("", text)
        if count:
            found[kind] = count
    return text, found

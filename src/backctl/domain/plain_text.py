"""Remove control and bidirectional characters from untrusted text."""

import re
from collections.abc import Mapping

# The bidirectional controls of UAX #9 §2: the cause of "Trojan Source" (CVE-2021-42574) and of misleading names.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# C0 and C1 except tab, line feed and carriage return; the line and paragraph separators, which some formats treat as
# line ends (JavaScript before 2019, for example); unpaired surrogates, which UTF-8 does not allow.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def without_controls(text: str) -> tuple[str, Mapping[str, int]]:
    """Return the text without control and bidirectional characters, and the number removed: `control`, `bidi`."""
    found: dict[str, int] = {}
    for kind, pattern in (("bidi", _BIDI), ("control", _CONTROL)):
        text, count = pattern.subn("", text)
        if count:
            found[kind] = count
    return text, found

"""Read the trace-id that a caller passes (W3C Trace Context, https://www.w3.org/TR/trace-context/)."""

import re

# §3.2.2: version, trace-id, parent-id and flags in lower-case hexadecimal; a later version may add parts.
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?"
)


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace-id of a `traceparent`; None for an invalid one, which the standard says to ignore."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"] is not None):
        return None
    return found["trace"] if found["trace"].strip("0") and found["parent"].strip("0") else None

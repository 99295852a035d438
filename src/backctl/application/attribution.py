"""Who makes a change, why, and under which trace."""

from dataclasses import dataclass
from typing import Final

from backctl.domain.errors import InvalidInput
from backctl.domain.quoting import quoted
from backctl.domain.values import Actor, checked_reason

_TRACE_ID_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Attribution:
    """The actor, reason and trace recorded with every event of a change.

    `trace_id` is the trace-id of a W3C `traceparent`: 32 lower-case hexadecimal digits, not all zero (Trace Context
    §3.2.2.3). Raises InvalidInput for an invalid reason or trace id.
    """

    actor: Actor
    reason: str | None = None
    trace_id: str | None = None

    def __post_init__(self) -> None:
        checked_reason(self.reason)
        if self.trace_id is not None and not is_trace_id(self.trace_id):
            raise InvalidInput(
                f"the trace id {quoted(self.trace_id)} must be {_TRACE_ID_DIGITS} lower-case hex digits, not all 0"
            )


def is_trace_id(text: str) -> bool:
    """Whether a text can be the trace id of an event."""
    return len(text) == _TRACE_ID_DIGITS and not text.strip("0123456789abcdef") and bool(text.strip("0"))

"""Replays recorded requests through a rate limit, to choose one before users feel it."""

import json
import re
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from backctl.application.durations import Seconds
from backctl.application.limit_views import shown
from backctl.application.limits import checked_identifier
from backctl.domain.errors import BackctlError, InvalidInput
from backctl.domain.plain_text import BYTE_ORDER_MARK
from backctl.domain.quoting import quoted
from backctl.domain.rate_limit import NEVER, Policy, decide
from backctl.domain.values import Instant

NOBODY: Final = b"-"
"""The identifier of requests for which the log names none."""
_SECONDS: Final = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?")
_LATEST: Final = 253_402_300_800_000_000
"""Microseconds until the year 10000."""


@dataclass(frozen=True, slots=True)
class SimulationView:
    """What a policy would have answered one identifier.

    `worst_window` is the highest number of requests in any period as long as the window, admitted or not. A sliding
    window with this limit would have refused none of them. `longest_wait` is the longest `retry_after` of a refusal.
    """

    TABLE: ClassVar = ("ident", "requests", "admitted", "refused", "worst_window", "longest_wait")
    SPARE: ClassVar = ("longest_wait", "worst_window")

    ident: str
    requests: int
    admitted: int
    refused: int
    worst_window: int
    longest_wait: Seconds


class RequestLog:
    """Recorded requests: their times, and who made them. A million take about 20 MB."""

    def __init__(self) -> None:
        self._times = array("q")
        self._who = array("L")
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time: int, identifier: bytes) -> None:
        """Add a request; `time` is in microseconds. The order does not matter."""
        self._times.append(time)
        self._who.append(self._numbers.setdefault(identifier, len(self._numbers)))

    def replay(self, policy: Policy) -> "Replay":
        """Return what the policy would have answered, in the order of the times."""
        order = sorted(range(len(self._times)), key=self._times.__getitem__)
        requests = ((self._times[number], self._who[number]) for number in order)
        return Replay(policy, list(self._numbers), requests)


class Replay:
    """The answers of a policy to a log. `times` and `admitted` have one item for each request."""

    def __init__(self, policy: Policy, identifiers: list[bytes], requests: Iterable[tuple[int, int]]) -> None:
        self.times = array("q")
        self.admitted = bytearray()
        self._people = [_Person(policy) for _ in identifiers]
        self._identifiers = identifiers
        for time, who in requests:
            self.times.append(time)
            self.admitted.append(self._people[who].request(time))

    def views(self) -> Iterator[SimulationView]:
        """Yield the result of each identifier, those with most refusals first."""
        numbers = range(len(self._people))
        for number in sorted(numbers, key=lambda at: (-self._people[at].refused, self._identifiers[at])):
            person = self._people[number]
            yield SimulationView(
                shown(self._identifiers[number]),
                person.admitted + person.refused,
                person.admitted,
                person.refused,
                person.worst_window,
                Seconds.of(person.longest_wait),
            )


class _Person:
    """One identifier."""

    __slots__ = ("_policy", "_recent", "_state", "admitted", "longest_wait", "refused", "worst_window")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._state = policy.begin()
        self._recent: deque[int] = deque()
        self.admitted = self.refused = self.worst_window = self.longest_wait = 0

    def request(self, time: int) -> bool:
        (decision,) = decide([(self._policy, self._state)], 1, time)
        recent = self._recent
        recent.append(time)
        while recent[0] <= time - self._policy.window:
            recent.popleft()
        self.worst_window = max(self.worst_window, len(recent))
        if decision.allowed:
            self.admitted += 1
        else:
            self.refused += 1
            if decision.retry_after != NEVER:
                self.longest_wait = max(self.longest_wait, decision.retry_after)
        return decision.allowed


def parsed_request(line: bytes, *, time_field: str, ident_field: str) -> tuple[int, bytes] | None:
    """Return the time and the identifier in a line of a log; None for a blank line. Raises InvalidInput.

    A line is a time, optionally followed by white space and an identifier, or a JSON object with these fields. A time
    is RFC 3339, or the number of seconds since 1970.
    """
    content = line.removeprefix(BYTE_ORDER_MARK).strip(b" \t\r\n")
    if not content:
        return None
    if content[:1] != b"{":
        time, *rest = content.split(None, 1)
        return _time(time.decode(errors="backslashreplace")), checked_identifier(rest[0] if rest else NOBODY)
    try:
        found = json.loads(content, parse_float=str)
    except (ValueError, RecursionError):
        raise InvalidInput("it is not JSON") from None
    moment = found.get(time_field)
    if isinstance(moment, bool) or not isinstance(moment, (str, int)):
        raise InvalidInput(f"the object has no time {quoted(time_field)}", hint="name the field with --time-field")
    identifier = found.get(ident_field, NOBODY.decode())
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)):
        raise InvalidInput(f"the identifier {quoted(ident_field)} is not a text", hint="name it with --ident-field")
    return _time(str(moment)), checked_identifier(str(identifier).encode(errors="surrogatepass"))


def _time(text: str) -> int:
    number = _SECONDS.fullmatch(text)
    if number is None:
        try:
            return Instant.parse(text)
        except BackctlError:
            raise InvalidInput(
                f"{quoted(text)} is not a time", hint="use RFC 3339 or seconds since 1970, such as 1795737600.25"
            ) from None
    time = int(number[1]) * 1_000_000 + int((number[2] or "0").ljust(6, "0")[:6])
    if time >= _LATEST:
        raise InvalidInput(f"{quoted(text)} is after the year 9999", hint="times are seconds, not milliseconds")
    return time

"""Rate limits in an SQLite file of their own. Exact for all processes of one machine.

After a power failure, the requests of the last moments may be forgotten.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from struct import Struct
from typing import Final, SupportsIndex, cast

from backctl.application.ports.limits import Outcome, Request, Usage
from backctl.domain.errors import DamagedLimit, Unavailable, Unusable
from backctl.domain.quoting import quoted
from backctl.domain.rate_limit import STAMP_BYTES, Gcra, Policy, SlidingCounter, SlidingWindow, State, decide
from backctl.infrastructure.sqlite.own_file import Contents, OwnFile

_CONTENTS: Final = Contents(
    "rate limits",
    1,
    frozenset({"limits"}),
    """
CREATE TABLE IF NOT EXISTS limits (
    identifier BLOB NOT NULL,
    policy TEXT NOT NULL,
    state BLOB NOT NULL,
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (identifier, policy)
);
CREATE INDEX IF NOT EXISTS limits_ends_at ON limits (ends_at);
""",
)
_AT_ONCE: Final = 64
"""The highest number of requests in one transaction, for which other processes wait."""
_SWEPT: Final = 4
"""How many ended states each request deletes: more than it can create."""
_NUMBERS = Struct(">QQQ")


class SqliteLimits:
    """Keeps the states in the file at `path`, which the first request creates, readable only by its owner.

    Works in any thread. `clock` returns microseconds; it is read when the write lock is held, so that the order of the
    times is that of the requests.
    """

    def __init__(self, path: Path, *, timeout_us: int, clock: Callable[[], int]) -> None:
        self._file = OwnFile(path, _CONTENTS, timeout_us=timeout_us)
        self._clock = clock

    def check(
        self, policies: Sequence[Policy], requests: Sequence[Request], *, consume: bool = True
    ) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        while len(outcomes) < len(requests):
            some = requests[len(outcomes) : len(outcomes) + _AT_ONCE]
            try:
                outcomes += self._together(policies, some, consume=consume)
            except (Unavailable, Unusable) as error:
                outcomes += [error] * len(some)
        return outcomes

    def _together(self, policies: Sequence[Policy], requests: Sequence[Request], *, consume: bool) -> Sequence[Outcome]:
        """Check requests in one transaction. Raises Unavailable, Unusable."""
        if not consume and not self._file.exists():
            now = self._clock()
            fresh = [(policy, policy.begin()) for policy in policies]
            return [decide(fresh, request.cost, now, consume=False) for request in requests]
        with self._file.transaction(writes=consume) as connection:
            now = self._clock()
            outcomes: list[Outcome] = []
            for identifier, cost in requests:
                try:
                    states = [(policy, _state(connection, policy, identifier)) for policy in policies]
                except DamagedLimit as error:  # the other requests do not need this state
                    outcomes.append(error)
                    continue
                decisions = decide(states, cost, now, consume=consume)
                if consume and all(decision.allowed for decision in decisions):
                    for policy, state in states:
                        _store(connection, policy, identifier, state)
                outcomes.append(decisions)
            if consume:
                connection.execute(
                    "DELETE FROM limits WHERE rowid IN (SELECT rowid FROM limits WHERE ends_at <= ? LIMIT ?)",
                    (now, _SWEPT * len(requests) * len(policies)),
                )
            return outcomes

    def reset(self, policies: Sequence[Policy], identifier: bytes, *, dry_run: bool = False) -> bool:
        if not self._file.exists():
            return False
        keys = [(identifier, _key(policy)) for policy in policies]
        with self._file.transaction(writes=not dry_run) as connection:
            now = self._clock()
            used = [
                policy for policy in policies if _state(connection, policy, identifier).remaining(now) < policy.capacity
            ]
            if not dry_run:
                connection.executemany("DELETE FROM limits WHERE identifier = ? AND policy = ?", keys)
            return bool(used)

    def usage(self, policies: Sequence[Policy]) -> Iterator[Usage]:
        if not self._file.exists():
            return
        numbers = {_key(policy): number for number, policy in enumerate(policies)}
        marks = ", ".join("?" * len(numbers))
        with self._file.transaction(writes=False) as connection:
            now = self._clock()
            found = connection.execute(
                f"SELECT identifier, policy, state FROM limits WHERE policy IN ({marks}) ORDER BY identifier",  # noqa: S608 - question marks
                tuple(numbers),
            )
            for identifier, rows in groupby(found, key=itemgetter(0)):
                for number, stored in sorted((numbers[key], stored) for _, key, stored in rows):
                    policy = policies[number]
                    decision = decide([(policy, _loaded(policy, stored))], 1, now, consume=False)[0]
                    if decision.reset_after:
                        yield Usage(identifier, decision)

    def close(self) -> None:
        self._file.close()


class _Stamps:
    """Times in the form in which they are stored, so that a request reads only a few of them."""

    __slots__ = ("data",)

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def __len__(self) -> int:
        return len(self.data) // STAMP_BYTES

    def __getitem__(self, at: SupportsIndex, /) -> int:
        place = range(len(self))[at] * STAMP_BYTES
        return int.from_bytes(self.data[place : place + STAMP_BYTES])

    def __delitem__(self, at: slice, /) -> None:
        first, end, _ = at.indices(len(self))
        del self.data[first * STAMP_BYTES : end * STAMP_BYTES]

    def extend(self, stamps: Sequence[int], /) -> None:
        for stamp in stamps:
            self.data += stamp.to_bytes(STAMP_BYTES)


def _key(policy: Policy) -> str:
    """Return what identifies a policy: a changed one starts clean."""
    burst = "" if policy.burst is None else f":{policy.burst}"
    return f"{policy.algorithm}:{policy.limit}:{policy.window}{burst}:{policy.name}"


def _state(connection: sqlite3.Connection, policy: Policy, identifier: bytes) -> State:
    found = connection.execute(
        "SELECT state FROM limits WHERE identifier = ? AND policy = ?", (identifier, _key(policy))
    ).fetchone()
    if found is not None:
        return _loaded(policy, found[0])
    return SlidingWindow(policy, _Stamps()) if policy.algorithm == "sliding-window" else policy.begin()


def _loaded(policy: Policy, stored: object) -> State:
    if policy.algorithm == "sliding-window":
        if isinstance(stored, bytes) and len(stored) % STAMP_BYTES == 0:
            return SlidingWindow(policy, _Stamps(stored))
    elif isinstance(stored, bytes) and len(stored) == _NUMBERS.size:
        kind = SlidingCounter if policy.algorithm == "sliding-counter" else Gcra
        return kind(policy, *_NUMBERS.unpack(stored))
    raise DamagedLimit(
        f"the rate limit {quoted(policy.name)} contains damaged data",
        hint="move the file with the rate limits away; the next request creates a new one",
    )


def _store(connection: sqlite3.Connection, policy: Policy, identifier: bytes, state: State) -> None:
    if isinstance(state, SlidingWindow):
        stored = bytes(cast(_Stamps, state.stamps).data)
    elif isinstance(state, SlidingCounter):
        stored = _NUMBERS.pack(state.current, state.previous, state.last)
    else:
        gcra = cast(Gcra, state)
        stored = _NUMBERS.pack(gcra.tat, gcra.fraction, gcra.last)
    connection.execute(
        "INSERT INTO limits (identifier, policy, state, ends_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET state = excluded.state, ends_at = excluded.ends_at",
        (identifier, _key(policy), stored, state.ends_at),
    )

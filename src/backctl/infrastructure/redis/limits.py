"""Rate limits on Redis: a script decides on the server and with its clock, so that all clients agree."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from backctl.application.ports.limits import Outcome, Request, Usage, raised
from backctl.domain.errors import BackctlError
from backctl.domain.glob import literal_glob
from backctl.domain.rate_limit import Decision, Policy
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.exchange import Call
from backctl.infrastructure.redis.scripts import Script, evaluated, source

_AT_ONCE: Final = 256
"""The highest number of states in one call of the script, which blocks the server meanwhile."""
_DECISION: Final = Struct(">qqq")
_DAMAGED: Final = -2
"""The wait of a request for which a key has another kind or content."""


class RedisLimits:
    """Keeps the states in keys that begin with `namespace`. Works in any thread.

    `clock` is the source of the functions of `clock.lua`; only tests replace it.
    """

    def __init__(self, servers: RedisServers, *, namespace: str, clock: str | None = None) -> None:
        self._servers = servers
        self._prefix = f"{namespace}:rl:".encode()
        self._clock = clock

    def check(
        self, policies: Sequence[Policy], requests: Sequence[Request], *, consume: bool = True
    ) -> Sequence[Outcome]:
        entities = [self._entity(request.identifier) for request in requests]
        suffixes = [_suffix(policy) for policy in policies]
        groups = self._groups(entities, max(1, _AT_ONCE // len(policies)))
        calls = []
        for group in groups:
            keys = [entities[number] + suffix for number in group for suffix in suffixes]
            calls.append(Call(keys[0], (len(keys), *keys, int(consume), *[requests[number].cost for number in group])))
        outcomes: list[Outcome] = [()] * len(requests)
        algorithms = frozenset(policy.algorithm for policy in policies)
        for group, reply in zip(
            groups, evaluated(self._servers, [(script(algorithms, self._clock), calls)]), strict=True
        ):
            if isinstance(reply, BackctlError):
                for number in group:
                    outcomes[number] = reply
                continue
            found = _DECISION.iter_unpack(reply)
            for number in group:
                decisions = [
                    Decision(policy, wait == 0, remaining, wait, reset)
                    for policy, (remaining, wait, reset) in zip(policies, found, strict=False)
                ]
                damaged = decisions[0].retry_after == _DAMAGED
                outcomes[number] = self._servers.damaged_key() if damaged else decisions
        return outcomes

    def reset(self, policies: Sequence[Policy], identifier: bytes, *, dry_run: bool = False) -> bool:
        decisions = raised(self.check(policies, [Request(identifier)], consume=False)[0])
        used = any(decision.reset_after for decision in decisions)
        if used and not dry_run:
            entity = self._entity(identifier)
            keys = [entity + _suffix(policy) for policy in policies]
            (reply,) = self._servers.run([Call(keys[0], ("UNLINK", *keys))])
            if isinstance(reply, BackctlError):
                raise reply
        return used

    def usage(self, policies: Sequence[Policy]) -> Iterator[Usage]:
        numbers = {_suffix(policy): number for number, policy in enumerate(policies)}
        found = set()
        for key in self._servers.scan(literal_glob(self._prefix) + b"{*}:*"):
            entity, _, suffix = key[len(self._prefix) + 1 :].partition(b"}:")
            if suffix in numbers:
                found.add((unquote_to_bytes(entity), numbers[suffix]))
        identifiers = sorted({identifier for identifier, _ in found})
        for at in range(0, len(identifiers), _AT_ONCE):
            some = [Request(identifier) for identifier in identifiers[at : at + _AT_ONCE]]
            for (identifier, _), outcome in zip(some, self.check(policies, some, consume=False), strict=True):
                yield from (
                    Usage(identifier, decision)
                    for number, decision in enumerate(raised(outcome))
                    if decision.reset_after and (identifier, number) in found
                )

    def close(self) -> None:
        self._servers.close()

    def _groups(self, entities: Sequence[bytes], size: int) -> list[Sequence[int]]:
        """Return the numbers of the requests that one call can decide: of one slot, in their order."""
        if not self._servers.has_slots:
            return [range(at, min(at + size, len(entities))) for at in range(0, len(entities), size)]
        by_slot: dict[int, list[int]] = {}
        for number, entity in enumerate(entities):
            by_slot.setdefault(self._servers.slot(entity), []).append(number)
        return [numbers[at : at + size] for numbers in by_slot.values() for at in range(0, len(numbers), size)]

    def _entity(self, identifier: bytes) -> bytes:
        """Return the beginning of the keys of an identifier. The braces put all of them into one slot."""
        plain = identifier.isalnum()  # of ASCII
        return b"%b{%b}:" % (self._prefix, identifier if plain else quote_from_bytes(identifier, safe="@+").encode())


@lru_cache
def script(algorithms: frozenset[str], clock: str | None = None) -> Script:
    """Assemble the script for policies with these algorithms from the files in `lua`."""
    parts = ("arithmetic", "states", *sorted(name.replace("-", "_") for name in algorithms), "check")
    return Script.of(source("clock") if clock is None else clock.encode(), *map(source, parts))


@lru_cache(maxsize=1024)
def _suffix(policy: Policy) -> bytes:
    """Return the end of a key: what identifies a policy, so that a changed one starts clean."""
    name = quote_from_bytes(policy.name.encode(errors="surrogateescape"), safe="")
    return f"{policy.algorithm}:{policy.limit}:{policy.window}:{policy.capacity}:{name}".encode()

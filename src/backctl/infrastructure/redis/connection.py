"""Sends commands to a single server, to the primary that sentinels name, or to the nodes of a cluster.

The connections, their pools and what is known about a cluster are redis-py's; this module pipelines commands to several
nodes at once, limits the time, and maps the errors.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from redis.connection import ConnectionPool
from redis.crc import key_slot
from redis.exceptions import AskError, NoScriptError, RedisError

from backctl.domain.errors import BackctlError
from backctl.infrastructure.redis.address import Address
from backctl.infrastructure.redis.breaker import CircuitBreaker
from backctl.infrastructure.redis.exchange import ERRORS, Answer, Call, Connections, Part, Word, exchanged
from backctl.infrastructure.redis.faults import damaged_key, fault_of, is_lost, passes
from backctl.infrastructure.redis.topology import Topology, open_topology

_PAUSE_S: Final = 0.05
"""The pause before a command is sent again that could not be executed for the moment."""


class RedisServers:
    """Executes commands. Works in any thread and after a fork; connects at the first use.

    `timeout_s` limits connecting to a node and waiting for its answer, each. Finding the primaries of a cluster again
    asks its nodes in turn. A command whose answer was lost is not sent again. `label` shows the address in errors.
    """

    def __init__(
        self,
        address: Address,
        *,
        label: str,
        timeout_s: float,
        monotonic: Callable[[], float],
        pause: Callable[[float], None],
    ) -> None:
        self._address = address
        self._label = label
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._pause = pause
        self._breakers: dict[object, CircuitBreaker] = {}
        self._connections = Connections()
        self._topology: Topology | None = None
        self._is_stale = False
        self._failed: ConnectionPool | None = None
        """The pool of the node that failed last, which is asked last where the primaries are."""

    @property
    def has_slots(self) -> bool:
        """Whether the keys are spread over the slots of a cluster."""
        return self._address.cluster

    def slot(self, key: bytes) -> int:
        """Return which slot of a cluster contains the key. The keys of one command must be in the same."""
        return key_slot(key)

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Execute commands, in one round trip to all nodes, and return their replies in this order.

        The reply to a command that failed is RedisUnavailable or RedisUnusable, and NoScriptError if the server does
        not know its script.
        """
        give_up = self._monotonic() + self._timeout_s
        replies: dict[int, Any] = {}
        nodes = _Nodes(self._breakers, self._monotonic)
        pending: Sequence[int] = range(len(calls))
        while pending:
            again = []
            for number, reply, resend in self._attempt(calls, pending, nodes):
                if resend and self._monotonic() < give_up:
                    again.append(number)
                replies[number] = reply
            if again:
                self._pause(_PAUSE_S)
            pending = again
        nodes.judge()
        return [self._shown(replies[number]) for number in range(len(calls))]

    def damaged_key(self) -> BackctlError:
        """Return the error for a key whose content is not what this program stores."""
        return damaged_key(self._label)

    def on_each_primary(self, *command: Word) -> list[Any]:
        """Execute a command on every primary, and return the replies. Raises RedisUnavailable, RedisUnusable."""
        return [self._on(pool, command) for pool in self._pools()]

    def scan(self, pattern: bytes) -> Iterator[bytes]:
        """Yield the keys that match the pattern, from every primary. A key can appear twice.

        Raises RedisUnavailable, RedisUnusable.
        """
        for pool in self._pools():
            cursor = b"0"
            while True:
                cursor, keys = self._on(pool, ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
                yield from keys
                if cursor == b"0":
                    break

    def close(self) -> None:
        """Close the connections; the next use reconnects."""
        self._connections.close()
        topology, self._topology = self._topology, None
        if topology is not None:
            topology.close()

    def _attempt(self, calls: Sequence[Call], numbers: Sequence[int], nodes: "_Nodes") -> Iterator[Answer]:
        """Send the calls with these numbers once, and yield an answer for each."""
        try:
            nodes.require(None)
            topology = self._connected()
        except ERRORS as error:
            nodes.failed(None, error)
            yield from (Answer(number, error, self._finds_others) for number in numbers)
            return
        nodes.answered(None)
        groups: dict[ConnectionPool, list[int]] = {}
        for number in numbers:
            try:
                groups.setdefault(topology.pool(calls[number].key), []).append(number)
            except ERRORS as error:  # a slot without a primary
                self._is_stale = True
                yield Answer(number, error, resend=True)
        parts = []
        for pool, group in groups.items():
            try:
                nodes.require(pool)
                parts.append(Part(self._connections.to(pool), pool, group))
            except ERRORS as error:
                nodes.failed(pool, error)
                self._is_stale, self._failed = True, pool
                yield from (Answer(number, error, self._finds_others) for number in group)
        for part, answers in zip(parts, exchanged(parts, calls), strict=True):
            lost = next((answer.reply for answer in answers if is_lost(answer.reply)), None)
            if lost is None:
                nodes.answered(part.pool)
            else:
                nodes.failed(part.pool, lost)
                self._is_stale, self._failed = True, part.pool
            for answer in answers:
                yield self._followed(topology, calls, part.pool, answer)

    def _followed(self, topology: Topology, calls: Sequence[Call], pool: ConnectionPool, answer: Answer) -> Answer:
        """Return the answer of the node to which this one redirects, and whether to send the call again."""
        number, reply, was_read = answer
        if isinstance(reply, AskError):  # or MovedError, which is one
            try:
                reply = topology.redirected(calls[number])
            except ERRORS as error:
                reply = error
        resend = was_read and isinstance(reply, Exception) and passes(reply)
        if resend:
            self._is_stale, self._failed = True, pool
        return Answer(number, reply, resend)

    @property
    def _finds_others(self) -> bool:
        """Whether another node can take over, so that a command that was not sent is worth another attempt."""
        return self._address.cluster or bool(self._address.service)

    def _shown(self, reply: Any) -> Any:
        if isinstance(reply, ERRORS) and not isinstance(reply, NoScriptError):
            return fault_of(reply, self._label)
        return reply

    def _connected(self) -> Topology:
        if self._topology is None:
            self._topology = open_topology(self._address, self._timeout_s)
        elif self._is_stale:
            self._topology.refresh(self._failed)
        self._is_stale, self._failed = False, None
        return self._topology

    def _pools(self) -> Sequence[ConnectionPool]:
        try:
            return self._connected().primaries()
        except ERRORS as error:
            raise fault_of(error, self._label) from error

    def _on(self, pool: ConnectionPool, command: tuple[Word, ...]) -> Any:
        try:
            part = Part(self._connections.to(pool), pool, [0])
        except ERRORS as error:
            raise fault_of(error, self._label) from error
        (((_, reply, _),),) = exchanged([part], [Call(b"", command)])
        if isinstance(reply, Exception):
            raise fault_of(reply, self._label)
        return reply


class _Paused(RedisError):
    """The circuit breaker of a node is open."""


class _Nodes:
    """Which nodes answer in one run: each counts once for its circuit breaker, however often it is tried.

    None stands for the nodes that say where the primaries are.
    """

    def __init__(self, breakers: dict[object, CircuitBreaker], monotonic: Callable[[], float]) -> None:
        self._breakers = breakers
        self._monotonic = monotonic
        self._permitted: dict[object, bool] = {}
        self._answered: dict[object, bool] = {}

    def require(self, node: object) -> None:
        """Raises _Paused if the node failed so often that it is not to be tried now."""
        if node not in self._permitted:
            self._permitted[node] = self._breaker(node).permits()
        if not self._permitted[node]:
            raise _Paused

    def answered(self, node: object) -> None:
        self._answered[node] = True

    def failed(self, node: object, error: BaseException) -> None:
        if not isinstance(error, _Paused):
            self._answered[node] = not is_lost(error)

    def judge(self) -> None:
        """Tell the circuit breakers."""
        for node, answered in self._answered.items():
            (self._breaker(node).succeeded if answered else self._breaker(node).failed)()

    def _breaker(self, node: object) -> CircuitBreaker:
        found = self._breakers.get(node)
        return found or self._breakers.setdefault(node, CircuitBreaker(self._monotonic))

"""Sends commands to a single server, to the primary that sentinels name, or to the nodes of a cluster.

The connections, their pools and what is known about a cluster are redis-py's; this module pipelines commands to several
nodes at once, limits the time, and maps the errors.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from redis.connection import Connection, ConnectionPool
from redis.crc import key_slot
from redis.exceptions import AskError, NoScriptError, RedisError

from backctl.domain.errors import BackctlError
from backctl.infrastructure.forks import start_over_in_children
from backctl.infrastructure.redis.address import Address
from backctl.infrastructure.redis.breaker import CircuitBreaker
from backctl.infrastructure.redis.exchange import ERRORS, Answer, Call, Part, Word, exchanged
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
        self.start_over()
        start_over_in_children(self)

    def start_over(self) -> None:
        self._lock = threading.Lock()
        self._topology: Topology | None = None
        self._breakers: dict[object, CircuitBreaker] = {}
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
        replies: list[Any] = [None] * len(calls)
        give_up = 0.0
        pending: Sequence[int] = range(len(calls))
        while pending:
            again = []
            for number, reply, resend in self._attempt(calls, pending, replies):
                replies[number] = reply
                if resend:
                    again.append(number)
            if again:
                give_up = give_up or self._monotonic() + self._timeout_s
                if self._monotonic() >= give_up:
                    break
                self._pause(_PAUSE_S)
            pending = again
        return [self._shown(reply) if isinstance(reply, Exception) else reply for reply in replies]

    def damaged_key(self) -> BackctlError:
        """Return the error for a key whose content is not what this program stores."""
        return damaged_key(self._label)

    def on_each_primary(self, *command: Word) -> list[Any]:
        """Execute a command on every primary, and return the replies. Raises RedisUnavailable, RedisUnusable."""
        return [self._on(pool, command) for pool in self._pools()]

    def walk(self, step: Callable[[bytes], tuple[Word, ...]]) -> Iterator[Any]:
        """Yield what a command returns that walks through all keys in steps, such as SCAN, from every primary.

        `step` returns the command for a cursor; the reply is the next cursor and what to yield. Raises
        RedisUnavailable, RedisUnusable.
        """
        for pool in self._pools():
            cursor = b"0"
            while True:
                cursor, found = self._on(pool, step(cursor))
                yield found
                if cursor == b"0":
                    break

    def scan(self, pattern: bytes) -> Iterator[bytes]:
        """Yield the keys that match the pattern, from every primary. A key can appear twice.

        Raises RedisUnavailable, RedisUnusable.
        """
        for keys in self.walk(lambda cursor: ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)):
            yield from keys

    def subscription(self, channel: bytes) -> Connection:
        """Return a new connection that receives the messages of a channel. The caller must disconnect it.

        Raises RedisUnavailable, RedisUnusable.
        """
        pool = self._pools()[0]  # a cluster sends messages to all its nodes
        # Not with `make_connection`: it counts as a connection of the pool until the end of the process.
        connection: Connection = pool.connection_class(**pool.connection_kwargs)
        try:
            connection.connect()
            connection.send_command("SUBSCRIBE", channel)
            connection.read_response()
        except ERRORS as error:
            connection.disconnect()
            self._note(pool, error, object())
            raise fault_of(error, self._label) from error
        return connection

    def close(self) -> None:
        """Close the idle connections; the next use reconnects."""
        topology = self._topology
        self.start_over()
        if topology is not None:
            topology.close()

    def _attempt(self, calls: Sequence[Call], numbers: Sequence[int], run: object) -> list[Answer]:
        """Send the calls with these numbers once, and return an answer for each. `run` is the same in one run."""
        try:
            topology = self._connected(run)
        except ERRORS as error:
            return [Answer(number, error, self._may_change(error)) for number in numbers]
        answers: list[Answer] = []
        groups: dict[ConnectionPool, list[int]] = {}
        for number in numbers:
            try:
                groups.setdefault(topology.pool(calls[number].key), []).append(number)
            except ERRORS as error:  # a slot without a primary
                self._is_stale = True
                answers.append(Answer(number, error, resend=True))
        parts = []
        for pool, group in groups.items():
            try:
                if not self._breaker(pool).permits(run):
                    raise _Paused
                parts.append(Part(pool.get_connection(), pool, group))
            except ERRORS as error:
                self._note(pool, error, run)
                answers += [Answer(number, error, self._may_change(error)) for number in group]
        for part, received in zip(parts, exchanged(parts, calls), strict=True):
            last = received[-1].reply  # what is lost is lost until the end
            if isinstance(last, Exception):
                self._note(part.pool, last, run)
            else:
                self._breaker(part.pool).succeeded()
            for answer in received:
                if isinstance(answer.reply, Exception):
                    answers.append(self._followed(topology, calls, part.pool, answer))
                else:
                    answers.append(answer)
        return answers

    def _note(self, pool: ConnectionPool, error: Exception, run: object) -> None:
        """Tell the circuit breaker of a node about an error. If nobody answered, find the primaries again."""
        if is_lost(error):
            self._breaker(pool).failed(run)
            self._is_stale, self._failed = True, pool
        elif not isinstance(error, _Paused):
            self._breaker(pool).succeeded()

    def _followed(self, topology: Topology, calls: Sequence[Call], pool: ConnectionPool, answer: Answer) -> Answer:
        """Return the answer of the node to which this one redirects, and whether to send the call again."""
        number, reply, not_executed = answer
        if isinstance(reply, AskError):  # or MovedError, which is one
            try:
                reply = topology.redirected(calls[number])
            except ERRORS as error:
                reply = error
        resend = not_executed and isinstance(reply, Exception) and passes(reply)
        if resend:
            self._is_stale, self._failed = True, pool
        return Answer(number, reply, resend)

    def _may_change(self, error: Exception) -> bool:
        """Whether a command that was not sent is worth another attempt, for example because another node takes over."""
        finds_others = self._address.cluster or bool(self._address.service)
        return passes(error) or (finds_others and is_lost(error))

    def _shown(self, reply: Any) -> Any:
        if isinstance(reply, ERRORS) and not isinstance(reply, NoScriptError):
            return fault_of(reply, self._label)
        return reply

    def _breaker(self, node: object) -> CircuitBreaker:
        """Return the circuit breaker of a node; that of None is for finding the primaries."""
        found = self._breakers.get(node)
        return found or self._breakers.setdefault(node, CircuitBreaker(self._monotonic))

    def _connected(self, run: object) -> Topology:
        if self._topology is not None and not self._is_stale:
            return self._topology
        breaker = self._breaker(None)
        if not breaker.permits(run):
            raise _Paused
        try:
            if self._topology is None:
                self._topology = self._opened()
            else:
                self._topology.refresh(self._failed)
        except ERRORS as error:
            if is_lost(error):
                breaker.failed(run)
            raise
        breaker.succeeded()
        self._is_stale, self._failed = False, None
        return self._topology

    def _opened(self) -> Topology:
        """Find the primaries, unless another thread is faster: then use what it found, so that only one is closed."""
        topology = open_topology(self._address, self._timeout_s)
        with self._lock:
            first = self._topology = self._topology or topology
        if first is not topology:
            topology.close()
        return first

    def _pools(self) -> Sequence[ConnectionPool]:
        try:
            return self._connected(object()).primaries()
        except ERRORS as error:
            raise fault_of(error, self._label) from error

    def _on(self, pool: ConnectionPool, command: tuple[Word, ...]) -> Any:
        try:
            part = Part(pool.get_connection(), pool, [0])
        except ERRORS as error:
            self._note(pool, error, object())
            raise fault_of(error, self._label) from error
        (((_, reply, _),),) = exchanged([part], [Call(b"", command)])
        if isinstance(reply, Exception):
            self._note(pool, reply, object())
            raise fault_of(reply, self._label)
        return reply


class _Paused(RedisError):
    """The circuit breaker of a node is open."""

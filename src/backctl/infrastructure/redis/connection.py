"""Sends commands to a single server, to the primary that sentinels name, or to the nodes of a cluster.

The connections, their pools and what is known about a cluster are redis-py's; this module pipelines commands to several
nodes at once, limits the time, and maps the errors.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from backctl.domain.errors import BackctlError
from backctl.infrastructure.redis.address import Address
from backctl.infrastructure.redis.breaker import CircuitBreaker
from backctl.infrastructure.redis.faults import OF_A_CLUSTER, damaged_key, fault_of, is_lost, passes

if TYPE_CHECKING:
    pass

_ERRORS: Final = (RedisError, RedisClusterException, UnicodeError)  # the last from a host name that cannot exist
_PAUSE_S: Final = 0.05
"""The pause before a command is sent again that could not be executed for the moment."""

Word = bytes | str | int


class Call(NamedTuple):
    """A command, and a key that decides which node of a cluster executes it."""

    key: bytes
    command: tuple[Word, ...]


class _Part(NamedTuple):
    """A connection to one node, and the numbers of the calls that it sends."""

    connection: Connection
    pool: ConnectionPool
    numbers: Sequence[int]


class _Answer(NamedTuple):
    """The reply to a call, or its error. `resend`: it was not executed, and can succeed a moment later."""

    number: int
    reply: Any
    resend: bool = False


class _Topology(Protocol):
    def pool(self, key: bytes) -> ConnectionPool: ...

    def primaries(self) -> Sequence[ConnectionPool]: ...

    def refresh(self, failed: ConnectionPool | None) -> None:
        """Find out again where the primaries are, and ask the node of this pool last."""
        ...

    def redirected(self, call: Call) -> Any:
        """Execute a command that another node must execute."""
        ...

    def close(self) -> None: ...


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
        self._topology: _Topology | None = None
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
        topology, self._topology = self._topology, None
        if topology is not None:
            topology.close()

    def _attempt(self, calls: Sequence[Call], numbers: Sequence[int], nodes: "_Nodes") -> Iterator[_Answer]:
        """Send the calls with these numbers once, and yield an answer for each."""
        try:
            nodes.require(None)
            topology = self._connected()
        except _ERRORS as error:
            nodes.failed(None, error)
            yield from (_Answer(number, error, self._finds_others) for number in numbers)
            return
        nodes.answered(None)
        groups: dict[ConnectionPool, list[int]] = {}
        for number in numbers:
            try:
                groups.setdefault(topology.pool(calls[number].key), []).append(number)
            except _ERRORS as error:  # a slot without a primary
                self._is_stale = True
                yield _Answer(number, error, resend=True)
        parts = []
        for pool, group in groups.items():
            try:
                nodes.require(pool)
                parts.append(_Part(pool.get_connection(), pool, group))
            except _ERRORS as error:
                nodes.failed(pool, error)
                self._is_stale, self._failed = True, pool
                yield from (_Answer(number, error, self._finds_others) for number in group)
        for part, answers in zip(parts, _exchanged(parts, calls), strict=True):
            lost = next((answer.reply for answer in answers if is_lost(answer.reply)), None)
            if lost is None:
                nodes.answered(part.pool)
            else:
                nodes.failed(part.pool, lost)
                self._is_stale, self._failed = True, part.pool
            for answer in answers:
                yield self._followed(topology, calls, part.pool, answer)

    def _followed(self, topology: _Topology, calls: Sequence[Call], pool: ConnectionPool, answer: _Answer) -> _Answer:
        """Return the answer of the node to which this one redirects, and whether to send the call again."""
        number, reply, was_read = answer
        if isinstance(reply, AskError):  # or MovedError, which is one
            try:
                reply = topology.redirected(calls[number])
            except _ERRORS as error:
                reply = error
        resend = was_read and isinstance(reply, Exception) and passes(reply)
        if resend:
            self._is_stale, self._failed = True, pool
        return _Answer(number, reply, resend)

    @property
    def _finds_others(self) -> bool:
        """Whether another node can take over, so that a command that was not sent is worth another attempt."""
        return self._address.cluster or bool(self._address.service)

    def _shown(self, reply: Any) -> Any:
        if isinstance(reply, _ERRORS) and not isinstance(reply, NoScriptError):
            return fault_of(reply, self._label)
        return reply

    def _connected(self) -> _Topology:
        if self._topology is None:
            self._topology = (_Cluster if self._address.cluster else _OneServer)(self._address, self._timeout_s)
        elif self._is_stale:
            self._topology.refresh(self._failed)
        self._is_stale, self._failed = False, None
        return self._topology

    def _pools(self) -> Sequence[ConnectionPool]:
        try:
            return self._connected().primaries()
        except _ERRORS as error:
            raise fault_of(error, self._label) from error

    def _on(self, pool: ConnectionPool, command: tuple[Word, ...]) -> Any:
        try:
            part = _Part(pool.get_connection(), pool, [0])
        except _ERRORS as error:
            raise fault_of(error, self._label) from error
        (((_, reply, _),),) = _exchanged([part], [Call(b"", command)])
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


class _OneServer:
    """A single server, or the primary that sentinels name."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        options = _options(address, timeout_s) | {"db": address.database}
        if address.socket:
            self._pool = ConnectionPool(UnixDomainSocketConnection, path=address.socket, **options)
        elif address.service:
            from redis.sentinel import Sentinel, SentinelConnectionPool

            own = {"username": address.sentinel_username, "password": address.sentinel_password, "db": 0}
            sentinel = Sentinel(list(address.hosts), sentinel_kwargs=options | own | _tls(address, ssl=True))
            self._pool = SentinelConnectionPool(
                address.service, sentinel, **options, **_tls(address), ssl=address.tls, check_connection=True
            )
        else:
            ((host, port),) = address.hosts
            kind = SSLConnection if address.tls else Connection
            self._pool = ConnectionPool(kind, host=host, port=port, **options, **_tls(address))

    def pool(self, key: bytes) -> ConnectionPool:
        return self._pool

    def primaries(self) -> Sequence[ConnectionPool]:
        return [self._pool]

    def refresh(self, failed: ConnectionPool | None) -> None:
        self._pool.disconnect(inuse_connections=False)

    def redirected(self, call: Call) -> Any:
        raise RedisClusterException(OF_A_CLUSTER)

    def close(self) -> None:
        self._pool.disconnect(inuse_connections=False)


class _Cluster:
    """The primaries of a cluster, as redis-py knows them."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        from redis.cluster import ClusterNode, RedisCluster

        options = _options(address, timeout_s) | _tls(address, ssl=True)
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        self._client: RedisCluster = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)

    def pool(self, key: bytes) -> ConnectionPool:
        return self._pool_of(self._client.nodes_manager.get_node_from_slot(key_slot(key)))

    def primaries(self) -> Sequence[ConnectionPool]:
        return [self._pool_of(node) for node in self._client.get_primaries()]

    def refresh(self, failed: ConnectionPool | None) -> None:
        place = None if failed is None else "{host}:{port}".format_map(failed.connection_kwargs)
        self._client.nodes_manager.initialize(last_failed_node_name=place)

    def redirected(self, call: Call) -> Any:
        return self._client.execute_command(*call.command)

    def close(self) -> None:
        self._client.close()

    def _pool_of(self, node: Any) -> ConnectionPool:
        pool: ConnectionPool = self._client.get_redis_connection(node).connection_pool
        return pool


def _options(address: Address, timeout_s: float) -> dict[str, Any]:
    """Return the options of every connection. Commands are never sent twice by redis-py."""
    return {
        "protocol": 2,
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": timeout_s,
        "socket_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,
    }


def _tls(address: Address, **more: bool) -> dict[str, Any]:
    if not address.tls:
        return {}
    files = {"ssl_ca_certs": address.ca_file, "ssl_certfile": address.cert_file, "ssl_keyfile": address.key_file}
    return {**files, "ssl_password": "", **more}  # else OpenSSL asks a person for the passphrase of a key


def _exchanged(parts: Sequence[_Part], calls: Sequence[Call]) -> list[list[_Answer]]:
    """Send the calls of each part, then read all replies. Return the answers of each part; errors are replies.

    `resend` of an answer means here that the reply was read, not that the connection was lost before it.
    """
    answers: list[list[_Answer]] = [[] for _ in parts]
    complete: set[int] = set()
    try:
        for at, (connection, _, numbers) in enumerate(parts):
            try:
                connection.send_packed_command(connection.pack_commands([calls[number].command for number in numbers]))
            except RedisError as error:
                answers[at] = [_Answer(number, error) for number in numbers]
        for at, part in enumerate(parts):
            if not answers[at] and _read_all(part, answers[at]):
                complete.add(at)
    finally:
        for at, (connection, pool, _) in enumerate(parts):
            if at not in complete:  # a late reply would be taken for that of the next command
                connection.disconnect()
            pool.release(connection)
    return answers


def _read_all(part: _Part, answers: list[_Answer]) -> bool:
    """Read the replies to the calls of a part. False if the connection cannot be used any longer."""
    for place, number in enumerate(part.numbers):
        try:
            reply = part.connection.read_response()
        except ResponseError as error:
            reply = error
        except RedisError as error:  # redis-py ends the connection, also after some replies
            answers.append(_Answer(number, error, passes(error)))
            answers += [_Answer(later, error) for later in part.numbers[place + 1 :]]
            return False
        answers.append(_Answer(number, reply, resend=True))
    return True

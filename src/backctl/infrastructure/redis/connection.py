"""Sends commands to a single server, to the primary that sentinels name, or to the nodes of a cluster.

The connections, their pools and what is known about a cluster are redis-py's; this module pipelines commands to several
nodes at once, limits the time, and maps the errors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.exceptions import AskError, NoScriptError, RedisClusterException, RedisError, ResponseError
from redis.retry import Retry

from backctl.domain.errors import RedisUnavailable
from backctl.domain.quoting import quoted
from backctl.infrastructure.redis.address import Address
from backctl.infrastructure.redis.breaker import CircuitBreaker
from backctl.infrastructure.redis.faults import fault_of, passes

if TYPE_CHECKING:
    pass

_ERRORS: Final = (RedisError, RedisClusterException)
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


class _Topology(Protocol):
    def pool(self, key: bytes) -> ConnectionPool: ...

    def primaries(self) -> Sequence[ConnectionPool]: ...

    def refresh(self) -> None:
        """Find out again where the primaries are."""
        ...

    def redirected(self, call: Call) -> Any:
        """Execute a command that another node must execute."""
        ...

    def close(self) -> None: ...


class RedisServers:
    """Executes commands. Works in any thread and after a fork; connects at the first use.

    `timeout_s` limits connecting to a server and waiting for its answer, each. Methods raise RedisUnavailable and
    RedisUnusable; `label` shows the address in them. A command whose answer was lost is not sent again.
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
        self._breaker = CircuitBreaker(monotonic)
        self._topology: _Topology | None = None

    @property
    def has_slots(self) -> bool:
        """Whether the keys are spread over the slots of a cluster."""
        return self._address.cluster

    def slot(self, key: bytes) -> int:
        """Return which slot of a cluster contains the key. The keys of one command must be in the same."""
        return key_slot(key)

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Execute commands, in one round trip to all nodes, and return their replies in this order.

        The error NOSCRIPT is a reply too, because the caller knows the script. Other errors are raised.
        """
        if not self._breaker.permits():
            raise RedisUnavailable(
                f"Redis at {quoted(self._label, limit=400)} was unavailable a moment ago", hint="try again in 2 seconds"
            )
        try:
            replies = self._until_answered(calls)
        except _ERRORS as error:
            fault = fault_of(error, self._label)
            if isinstance(fault, RedisUnavailable):
                self._breaker.failed()
            raise fault from error
        self._breaker.succeeded()
        return replies

    def on_each_primary(self, *command: Word) -> list[Any]:
        """Execute a command on every primary, and return the replies."""
        return [self._on(pool, command) for pool in self._pools()]

    def scan(self, pattern: bytes) -> Iterator[bytes]:
        """Yield the keys that match the pattern, from every primary. A key can appear twice."""
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

    def _until_answered(self, calls: Sequence[Call]) -> list[Any]:
        give_up = self._monotonic() + self._timeout_s
        replies: dict[int, Any] = {}
        while True:
            pending = [number for number in range(len(calls)) if number not in replies]
            problem = self._attempt(calls, pending, replies)
            if problem is None:
                return [replies[number] for number in range(len(calls))]
            if self._monotonic() >= give_up:
                raise problem
            self._pause(_PAUSE_S)

    def _attempt(self, calls: Sequence[Call], numbers: Sequence[int], replies: dict[int, Any]) -> Exception | None:
        """Add the replies of these calls. Return the error of those that can be sent again, None if there are none."""
        try:
            topology = self._connected()
            groups: dict[ConnectionPool, list[int]] = {}
            for number in numbers:
                groups.setdefault(topology.pool(calls[number].key), []).append(number)
            parts = _taken(groups)
        except _ERRORS as error:  # nothing was sent
            self._refresh()
            if passes(error) or self._address.cluster or self._address.service:
                return error
            raise
        try:
            answers = _exchanged(parts, calls)
        except _ERRORS as error:
            self._refresh()
            if passes(error):  # LOADING ends the connection in redis-py
                return error
            raise
        problem: Exception | None = None
        for number, answer in answers:
            moved = isinstance(answer, AskError)  # or MovedError, which is one
            reply = topology.redirected(calls[number]) if moved else answer
            if isinstance(reply, ResponseError) and not isinstance(reply, NoScriptError):
                if not passes(reply):
                    raise reply
                problem = reply
            else:
                replies[number] = reply
        if problem is not None:
            self._refresh()
        return problem

    def _connected(self) -> _Topology:
        if self._topology is None:
            self._topology = (_Cluster if self._address.cluster else _OneServer)(self._address, self._timeout_s)
        return self._topology

    def _refresh(self) -> None:
        if self._topology is not None:
            with suppress(*_ERRORS):  # the next attempt says so
                self._topology.refresh()

    def _pools(self) -> Sequence[ConnectionPool]:
        try:
            return self._connected().primaries()
        except _ERRORS as error:
            raise fault_of(error, self._label) from error

    def _on(self, pool: ConnectionPool, command: tuple[Word, ...]) -> Any:
        try:
            ((_, reply),) = _exchanged(_taken({pool: [0]}), [Call(b"", command)])
        except _ERRORS as error:
            raise fault_of(error, self._label) from error
        if isinstance(reply, ResponseError):
            raise fault_of(reply, self._label)
        return reply


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

    def refresh(self) -> None:
        self._pool.disconnect(inuse_connections=False)

    def redirected(self, call: Call) -> Any:
        raise RedisClusterException("the server belongs to a cluster")

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

    def refresh(self) -> None:
        self._client.nodes_manager.initialize()

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
    return files | more


def _taken(groups: Mapping[ConnectionPool, Sequence[int]]) -> list[_Part]:
    """Take a connection from each pool, all or none."""
    parts: list[_Part] = []
    try:
        parts.extend(_Part(pool.get_connection(), pool, numbers) for pool, numbers in groups.items())
    except BaseException:
        for part in parts:
            part.pool.release(part.connection)
        raise
    return parts


def _exchanged(parts: Sequence[_Part], calls: Sequence[Call]) -> list[tuple[int, Any]]:
    """Send the calls of each part, then read all replies. Return them by number; errors of calls are replies."""
    answers = []
    complete = False
    try:
        for connection, _, numbers in parts:
            connection.send_packed_command(connection.pack_commands([calls[number].command for number in numbers]))
        for connection, _, numbers in parts:
            for number in numbers:
                try:
                    answers.append((number, connection.read_response()))
                except ResponseError as error:
                    answers.append((number, error))
        complete = True
    finally:
        for connection, pool, _ in parts:
            if not complete:  # a late reply would be taken for that of the next command
                connection.disconnect()
            pool.release(connection)
    return answers

"""Where the primaries are: a single server, the one that sentinels name, or those of a cluster."""

from collections.abc import Sequence
from typing import Any, Protocol

from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from backctl.infrastructure.redis.address import Address
from backctl.infrastructure.redis.exchange import Call
from backctl.infrastructure.redis.faults import OF_A_CLUSTER


class Topology(Protocol):
    def pool(self, key: bytes) -> ConnectionPool: ...

    def primaries(self) -> Sequence[ConnectionPool]: ...

    def refresh(self, failed: ConnectionPool | None) -> None:
        """Find out again where the primaries are, and ask the node of this pool last."""
        ...

    def redirected(self, call: Call) -> Any:
        """Execute a command that another node must execute."""
        ...

    def close(self) -> None: ...


def open_topology(address: Address, timeout_s: float) -> Topology:
    """Find the primaries. `timeout_s` limits connecting to a node and waiting for its answer. Raises `ERRORS`."""
    return (_Cluster if address.cluster else _OneServer)(address, timeout_s)


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
        self._client = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)

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
        for node in self._client.get_nodes():
            if node.redis_connection is not None:
                node.redis_connection.connection_pool.disconnect(inuse_connections=False)

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

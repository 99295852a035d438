"""Connections to the Redis servers of the tests."""

import time

from tests.servers import Servers

from backctl.infrastructure.redis.address import parse_address
from backctl.infrastructure.redis.connection import RedisServers

ON_REDIS = ("redis", "valkey", "sentinel", "cluster")


def redis_url(servers: Servers, kind: str) -> str:
    match kind:
        case "sentinel":
            return servers.with_sentinel().url()
        case "cluster":
            return servers.cluster().url()
        case _:
            return servers.redis("valkey" if kind == "valkey" else "redis").url()


def redis_servers(url: str, *, timeout_s: float = 30) -> RedisServers:
    return RedisServers(
        parse_address(url), label="redis://test", timeout_s=timeout_s, monotonic=time.monotonic, pause=time.sleep
    )

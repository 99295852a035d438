"""Connections that receive messages, on every kind of server."""

from contextlib import closing

import pytest
from tests.redis_stores import ON_REDIS, redis_servers, redis_url
from tests.servers import Servers

from backctl.infrastructure.redis.exchange import Call


@pytest.mark.parametrize("kind", ON_REDIS)
def test_connecting_again_and_again_uses_up_no_pool(servers: Servers, kind: str) -> None:
    with closing(redis_servers(redis_url(servers, kind))) as redis:
        for _ in range(120):  # a pool of redis-py has 100 connections
            redis.subscription(b"channel").disconnect()
        (reply,) = redis.run([Call(b"key", ("EXISTS", "key"))])
        assert reply == 0


@pytest.mark.parametrize("kind", ON_REDIS)
def test_a_message_arrives(servers: Servers, kind: str) -> None:
    with closing(redis_servers(redis_url(servers, kind))) as redis:
        connection = redis.subscription(b"{channel}")
        redis.run([Call(b"{channel}", ("PUBLISH", "{channel}", "hello"))])
        assert connection.read_response(timeout=30) == [b"message", b"{channel}", b"hello"]
        connection.disconnect()

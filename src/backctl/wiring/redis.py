"""The connection to Redis, from the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.settings.model import Settings


def redis_servers(settings: "Settings") -> "RedisServers":
    """Create the connection to the servers that `redis.url` names; connects at the first use."""
    import time

    from backctl.infrastructure.redis.address import parse_address
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.settings import redact_url

    url = settings.redis.url.reveal()
    timeout = min(settings.redis.timeout, settings.database.timeout)  # `--timeout` lowers the latter
    return RedisServers(
        parse_address(url),
        label=redact_url(url),
        timeout_s=timeout / 1_000_000,
        monotonic=time.monotonic,
        pause=time.sleep,
    )

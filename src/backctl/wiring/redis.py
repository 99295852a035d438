"""The connection to Redis, from the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from backctl.application.ports.storage import HealthProbe
    from backctl.application.waiting import Server
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.settings.model import Settings


def redis_servers(settings: "Settings", *, short_lived: bool) -> "RedisServers":
    """Create the connection to the servers that `redis.url` names; connects at the first use.

    `short_lived`: the process ends after one command and uses nothing else of redis-py.
    """
    import time

    from backctl.infrastructure.redis.address import parse_address
    from backctl.settings import redact_url

    url = settings.redis.url.reveal()
    if short_lived and not url.startswith("redis+"):
        from backctl.infrastructure.redis.package import import_without_clients

        import_without_clients()
    from backctl.infrastructure.redis.connection import RedisServers

    timeout = min(settings.redis.timeout, settings.database.timeout)  # `--timeout` lowers the latter
    return RedisServers(
        parse_address(url),
        label=redact_url(url),
        timeout_s=timeout / 1_000_000,
        monotonic=time.monotonic,
        pause=time.sleep,
    )


def redis_server(settings: "Settings", redis: "Callable[[], RedisServers]") -> "tuple[Server, ...]":
    """Return the server to wait for; none if Redis is not configured."""
    from backctl.application.waiting import Server
    from backctl.settings import redact_url

    url = settings.redis.url.reveal()
    return (Server(redact_url(url), lambda: redis().on_each_primary("PING")),) if url else ()


def redis_probes(settings: "Settings", redis: "Callable[[], RedisServers]") -> "tuple[HealthProbe, ...]":
    """Return the checks of `doctor`."""
    from backctl.domain.errors import BackctlError
    from backctl.infrastructure.probes import Probe, failed, ok

    try:
        url = settings.redis.url.reveal()
    except BackctlError as error:
        finding = failed(error)
        return (Probe("redis.reachable", lambda: finding),)
    if not url:
        return (Probe("redis.reachable", lambda: ok("not configured; rate limits and the cache are stored in files")),)
    from backctl.infrastructure.host import now

    servers = redis()  # first, because it decides how redis-py is imported
    from backctl.infrastructure.redis.health import RedisHealth
    from backctl.infrastructure.redis.limits import RedisLimits

    limits = RedisLimits(servers, namespace=settings.redis.namespace)
    return RedisHealth(servers, limits, clock=now, leeway=settings.tokens.leeway).probes()

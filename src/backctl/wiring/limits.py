"""Factories for rate limits, from the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from backctl.application.limit_views import LimitView
    from backctl.application.limits import LimitService
    from backctl.application.ports.limits import LimitStore
    from backctl.domain.rate_limit import Policy
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.settings import LoadedSettings
    from backctl.settings.model import Settings

FILE = "limits.db"
"""The name of the embedded store, in the data folder. The file alone is not an installation."""


def limit_policies(settings: "Settings") -> "dict[str, Policy]":
    """Return the configured policies by name. Raises InvalidConfiguration for impossible ones."""
    from backctl.domain.errors import InvalidConfiguration, InvalidRateLimit
    from backctl.domain.rate_limit import Policy

    found = {}
    for name, policy in settings.limit_policies.items():
        try:
            found[name] = Policy(
                name, policy.limit, policy.window, policy.algorithm, policy.burst or None, policy.on_error
            )
        except InvalidRateLimit as error:
            raise InvalidConfiguration(error.message, hint=error.hint) from None
    return found


def source_throttle(settings: "Settings", limits: "Callable[[], LimitService]") -> "Callable[[str], LimitView] | None":
    """Return what limits logins by their source; None if it is not configured. Raises InvalidConfiguration."""
    from backctl.domain.errors import InvalidConfiguration
    from backctl.domain.quoting import quoted

    name = settings.authentication.source_policy
    if not name:
        return None
    if name not in settings.limit_policies:
        raise InvalidConfiguration(
            f"authentication.source_policy is {quoted(name)}, which is not a configured rate limit policy",
            hint=f"set the policy under [ratelimit.policies.{name}]",
        )

    def throttle(source: str) -> "LimitView":
        from backctl.domain.sources import grouped

        return limits().check(name, grouped(source))

    return throttle


def limit_store(loaded: "LoadedSettings", redis: "Callable[[], RedisServers]") -> "LimitStore":
    """Create the store: Redis if it is configured, else a file in the data folder."""
    if loaded.settings.redis.url.reveal():
        servers = redis()  # first, because it decides how redis-py is imported
        from backctl.infrastructure.redis.limits import RedisLimits

        return RedisLimits(servers, namespace=loaded.settings.redis.namespace)
    from backctl.infrastructure.clock import microseconds
    from backctl.infrastructure.sqlite.limits import SqliteLimits

    return SqliteLimits(loaded.data_folder / FILE, timeout_us=loaded.settings.database.timeout, clock=microseconds)

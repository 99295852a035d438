"""The typed settings that the rest of the program receives. Every value is checked. Defines all defaults."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from backctl.settings.secrets import SecretValue

# Named tuples, because defining a dataclass takes five times as long, and every command defines these at start-up.

NOTHING_WRITTEN = SecretValue("")


class DatabaseSettings(NamedTuple):
    url: SecretValue = NOTHING_WRITTEN
    """Empty for the embedded file `backctl.db` in the data folder, else `sqlite:////absolute/path.db` or
    `postgresql://…` (or `postgres://…`)."""
    timeout: int = 10_000_000
    """Microseconds to wait for a lock. On PostgreSQL it also limits the three timeouts below."""
    connect_timeout: int = 5_000_000
    """Microseconds to wait for a connection to a server. libpq uses whole seconds, at least 2."""
    statement_timeout: int = 10_000_000
    """Microseconds that one statement may take."""
    lock_timeout: int = 5_000_000
    """Microseconds that one statement may wait for locks."""


class RedisSettings(NamedTuple):
    url: SecretValue = NOTHING_WRITTEN
    """Empty to store rate limits in a file in the data folder."""
    timeout: int = 1_000_000
    """Microseconds to wait for a connection, and for an answer."""
    namespace: str = "backctl"
    """The beginning of every key."""


class KeyringSettings(NamedTuple):
    path: str = ""
    """Absolute path; empty for `keyring.json` in the data folder."""
    allow_group_read: bool = False
    document: SecretValue = NOTHING_WRITTEN
    """The keyring itself, which replaces the file at `path` and is never changed; empty to use the file."""
    passphrase: SecretValue = NOTHING_WRITTEN
    """The passphrase that wraps the keyring; empty for none."""


class AccountSettings(NamedTuple):
    allow_special_domains: bool = False


class AuthenticationSettings(NamedTuple):
    source_policy: str = ""
    """The rate limit policy for logins from one address; empty for none."""


class PasswordSettings(NamedTuple):
    min_length: int = 8
    """Code points. NIST SP 800-63B-4 §3.1.1.2: at least 8; verifiers must not require more than 64."""
    bcrypt_cost: int = 12
    """The base-2 logarithm of the rounds, 4 to 17."""


class TokenSettings(NamedTuple):
    issuer: str = "advanced-backend"
    audience: str = "api-users"
    access_ttl: int = 900_000_000
    """Microseconds; tokens use whole seconds."""
    refresh_ttl: int = 604_800_000_000
    """Microseconds until a refresh token expires."""
    session_ttl: int = 2_592_000_000_000
    """Microseconds from the login to the end of the session, even if the session is refreshed."""
    leeway: int = 10_000_000
    """The tolerated clock difference between machines, in microseconds."""
    grace: int = 0
    """Microseconds in which a client may repeat a refresh whose response was lost."""
    revocation_max_age: int = 0
    """The maximum age of a cached revocation check, in microseconds; 0 asks the database each time."""


class CacheSettings(NamedTuple):
    ttl: int = 300_000_000
    """The default TTL of an entry, in microseconds. Services can override it."""
    negative_ttl: int = 30_000_000
    """The default TTL, in microseconds, if the loader found nothing."""
    stale_if_error: int = 300_000_000
    """Microseconds after its TTL for which an entry is still used if the loader fails."""
    refresh_after: str = "80%"
    """The part of its TTL after which a read renews an entry in the background, or `off`."""
    lock_timeout: int = 10_000_000
    """Microseconds after which another process takes over loading a value; longer than any loader takes."""
    max_staleness: int = 1_000_000
    """Microseconds for which a process may miss an invalidation by another."""
    memory_entries: int = 10_000
    """The maximum number of values in the memory of a process; 0 for none."""
    queue_limit: int = 100_000
    """How many updates of write-behind can wait; then further ones are refused."""
    queue_attempts: int = 8
    """After how many failed attempts an update is moved to the dead-letter list."""


class CacheNamespaceSettings(NamedTuple):
    """The settings of one namespace, the part of a key before its first colon."""

    refresh_after: str
    """As in `CacheSettings`."""


class SanitizeSettings(NamedTuple):
    tags: tuple[str, ...] = ()
    """The allowed elements; empty for plain text."""
    attributes: tuple[str, ...] = ()
    """`tag.attribute`, or `*.attribute` for every element."""
    url_schemes: tuple[str, ...] = ("http", "https", "mailto")
    max_bytes: int = 16_777_216
    """The size limit of a text, a JSON document or a line."""
    max_depth: int = 64
    """The nesting limit of objects and arrays."""


class RoleSettings(NamedTuple):
    permissions: tuple[str, ...]
    """As written; the domain checks that each one is a permission."""
    description: str = ""


class LimitPolicySettings(NamedTuple):
    """The domain checks that the values fit together."""

    limit: int
    window: int = 60_000_000
    """Microseconds."""
    algorithm: Literal["sliding-window", "sliding-counter", "gcra"] = "sliding-window"
    burst: int = 0
    """How much `gcra` admits at once; 0 for the limit."""
    on_error: Literal["fail", "allow", "deny"] = "fail"
    """The answer while the store is unavailable."""


class Settings(NamedTuple):
    """The effective values, merged from every source."""

    profile: str = ""
    """The selected profile; empty for none."""
    protected: bool = False
    """Whether every mutation requires a confirmation and a reason."""
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    keyring: KeyringSettings = KeyringSettings()
    accounts: AccountSettings = AccountSettings()
    authentication: AuthenticationSettings = AuthenticationSettings()
    passwords: PasswordSettings = PasswordSettings()
    tokens: TokenSettings = TokenSettings()
    cache: CacheSettings = CacheSettings()
    sanitize: SanitizeSettings = SanitizeSettings()
    tables: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """The values of named tables, by the key of the table and then by name."""

    @property
    def roles(self) -> Mapping[str, RoleSettings]:
        """Custom roles by name."""
        return self.tables.get("roles", {})

    @property
    def limit_policies(self) -> Mapping[str, LimitPolicySettings]:
        """Rate limit policies by name."""
        return self.tables.get("ratelimit.policies", {})

    @property
    def cache_namespaces(self) -> Mapping[str, CacheNamespaceSettings]:
        """Settings of the cache by namespace."""
        return self.tables.get("cache.namespaces", {})


DEFAULTS = Settings()

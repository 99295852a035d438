"""What the rest of the program receives: plain values, every one checked. The defaults stand here and nowhere else."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from backctl.settings.secrets import SecretValue

# Named tuples, because defining a dataclass takes five times as long, and every command does it at its start.

NOTHING_WRITTEN = SecretValue("")


class DatabaseSettings(NamedTuple):
    url: SecretValue = NOTHING_WRITTEN
    """Empty for the embedded file `backctl.db` in the data folder, else `sqlite:////absolute/path.db` or
    `postgresql://…`."""
    timeout: int = 10_000_000
    """Microseconds to wait for a lock; on PostgreSQL no wait below is longer."""
    connect_timeout: int = 5_000_000
    """Microseconds for a server to answer; libpq counts whole seconds, at least 2."""
    statement_timeout: int = 10_000_000
    """Microseconds for one statement."""
    lock_timeout: int = 5_000_000
    """Microseconds for the locks of one statement."""


class KeyringSettings(NamedTuple):
    path: str = ""
    """Absolute; empty for `keyring.json` in the data folder."""
    allow_group_read: bool = False
    document: SecretValue = NOTHING_WRITTEN
    """The keyring itself, read only, in place of the file at `path`; empty for that file."""
    passphrase: SecretValue = NOTHING_WRITTEN
    """What the keyring is wrapped under; empty for nothing."""


class AccountSettings(NamedTuple):
    allow_special_domains: bool = False


class PasswordSettings(NamedTuple):
    min_length: int = 8
    """Code points. NIST SP 800-63B-4 §3.1.1.2: at least 8, and no demand beyond 64."""
    bcrypt_cost: int = 12
    """The base-2 logarithm of the rounds, 4 to 31."""


class TokenSettings(NamedTuple):
    issuer: str = "advanced-backend"
    audience: str = "api-users"
    access_ttl: int = 900_000_000
    """Microseconds; tokens count whole seconds."""
    refresh_ttl: int = 604_800_000_000
    """Microseconds from one refresh to the latest next one."""
    session_ttl: int = 2_592_000_000_000
    """Microseconds from a login to the end of its session, however often it is refreshed."""
    leeway: int = 10_000_000
    """Microseconds that the clock of another machine may differ."""
    grace: int = 0
    """Microseconds in which a refresh may be repeated whose answer was lost."""


class SanitizeSettings(NamedTuple):
    tags: tuple[str, ...] = ()
    """Elements that stay; none for plain text."""
    attributes: tuple[str, ...] = ()
    """`tag.attribute`, or `*.attribute` for every element."""
    url_schemes: tuple[str, ...] = ("http", "https", "mailto")
    max_bytes: int = 16_777_216
    """Of a text, a JSON document or a line."""
    max_depth: int = 64
    """Objects and arrays inside each other."""


class RoleSettings(NamedTuple):
    permissions: tuple[str, ...]
    """As written; the domain decides whether each is a permission."""
    description: str = ""


class Settings(NamedTuple):
    """The values in force, after every source has spoken."""

    profile: str = ""
    """The selected profile; empty for none."""
    protected: bool = False
    """Whether every mutation asks and demands a reason."""
    database: DatabaseSettings = DatabaseSettings()
    keyring: KeyringSettings = KeyringSettings()
    accounts: AccountSettings = AccountSettings()
    passwords: PasswordSettings = PasswordSettings()
    tokens: TokenSettings = TokenSettings()
    sanitize: SanitizeSettings = SanitizeSettings()
    tables: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """The values of named tables: by the key of the table, then by name."""

    @property
    def roles(self) -> Mapping[str, RoleSettings]:
        """Custom roles by name."""
        return self.tables.get("roles", {})


DEFAULTS = Settings()

"""Declares every setting with its key, kind and limits."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from backctl.settings.model import CacheNamespaceSettings, LimitPolicySettings, RoleSettings

Kind = Literal[
    "string", "boolean", "integer", "duration", "choice", "path", "database-url", "redis-url", "list", "text", "secret"
]
Scalar = bool | int | str
Plain = Scalar | tuple[str, ...]
KeyPath = tuple[str | int, ...]
"""The path from the top of a document to a value: keys of tables and indices of arrays."""

SECRET_SUFFIXES = ("_file", "_command")
DATABASE_URL = "database.url"
SAME_DATABASE = "default"
"""The `database.url` of a profile that uses the database outside profiles."""

# The presentation reads these variables and has a flag for each.
INVOCATION_VARIABLES = (
    "BACKCTL_PROFILE",
    "BACKCTL_CONFIG",
    "BACKCTL_OUTPUT",
    "BACKCTL_NO_COLOR",
    "BACKCTL_NO_INPUT",
    "BACKCTL_TIMEOUT",
    "BACKCTL_ACTOR",
)


class Setting(NamedTuple):
    """One configuration value.

    `low` and `high` limit integers, durations (microseconds) and the length of strings. The kind `text` takes any
    string, `choice` one of `choices`. `item` is the pattern of a string or of those in a list, `form` describes it,
    `refused` is the pattern of unsafe ones, and `example` a value in TOML syntax. `required` applies to members of
    named tables. `meaning` is a sentence for `backctl help environment`.
    """

    key: str
    kind: Kind
    low: int = 0
    high: int = 0
    secret: bool = False
    item: str = ""
    form: str = ""
    refused: str = ""
    example: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def section(self) -> str:
        """The table that contains it; empty for the top of the document."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its name in its table."""
        return self.key.rpartition(".")[2]

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "BACKCTL_" + self.key.upper().replace(".", "_")

    def under(self, prefix: str) -> "Setting":
        """Return the same setting with `prefix` before its key."""
        return self._replace(key=f"{prefix}.{self.key}")


def _refresh_after(key: str, example: str = "", *, required: bool = False, meaning: str = "") -> Setting:
    return Setting(
        key,
        "string",
        item="off|[1-9][0-9]?%",
        form="a percentage of the TTL from 1% to 99%, or off",
        example=example,
        required=required,
        meaning=meaning,
    )


SETTINGS = {
    setting.key: setting
    for setting in (
        Setting("protected", "boolean", meaning="Require confirmation and --reason for every change."),
        # A secret can also be set with database.url_file or database.url_command.
        Setting(
            DATABASE_URL,
            "database-url",
            secret=True,
            meaning="URL of the database; empty for SQLite in the data folder.",
        ),
        Setting(
            "database.timeout",
            "duration",
            high=3_600_000_000,
            meaning="How long to wait for a lock of another process.",
        ),
        # At least 1 ms, because 0 means no limit in PostgreSQL.
        Setting(
            "database.connect_timeout",
            "duration",
            low=1_000,
            high=3_600_000_000,
            meaning="How long to wait for a connection to PostgreSQL.",
        ),
        Setting(
            "database.statement_timeout",
            "duration",
            low=1_000,
            high=3_600_000_000,
            meaning="How long a statement may run on PostgreSQL.",
        ),
        Setting(
            "database.lock_timeout",
            "duration",
            low=1_000,
            high=3_600_000_000,
            meaning="How long a statement may wait for a lock on PostgreSQL.",
        ),
        Setting(
            "redis.url",
            "redis-url",
            secret=True,
            meaning="URL of Redis, for rate limits and the cache; empty for SQLite.",
        ),
        Setting("redis.timeout", "duration", low=10_000, high=60_000_000, meaning="How long to wait for Redis."),
        Setting(
            "redis.namespace",
            "string",
            low=1,
            high=64,
            item="[A-Za-z0-9][A-Za-z0-9._-]*",
            meaning="Beginning of every key in Redis.",
        ),
        Setting("keyring.path", "path", meaning="Absolute path of the keyring file."),
        Setting(
            "keyring.allow_group_read", "boolean", meaning="Whether the keyring file may be readable by its group."
        ),
        Setting("keyring.document", "secret", secret=True, meaning="Text of the keyring, instead of a file."),
        Setting("keyring.passphrase", "secret", secret=True, meaning="Passphrase of the keyring."),
        Setting(
            "accounts.allow_special_domains",
            "boolean",
            meaning="Whether addresses at .test, .local or localhost are accepted.",
        ),
        Setting(
            "authentication.source_policy", "string", high=255, meaning="Rate limit policy for logins from one address."
        ),
        Setting(
            "passwords.min_length", "integer", low=8, high=64, meaning="Minimum length of a new password in characters."
        ),
        Setting("passwords.bcrypt_cost", "integer", low=4, high=17, meaning="bcrypt cost of a password hash."),
        Setting("tokens.issuer", "string", low=1, high=255, meaning="Issuer claim (iss) of tokens."),
        Setting("tokens.audience", "string", low=1, high=255, meaning="Audience claim (aud) of tokens."),
        # At least 1 s, because the times in a token are whole seconds (RFC 7519).
        Setting(
            "tokens.access_ttl", "duration", low=1_000_000, high=86_400_000_000, meaning="Lifetime of an access token."
        ),
        Setting(
            "tokens.refresh_ttl",
            "duration",
            low=1_000_000,
            high=31_536_000_000_000,
            meaning="Lifetime of a refresh token.",
        ),
        Setting(
            "tokens.session_ttl",
            "duration",
            low=1_000_000,
            high=31_536_000_000_000,
            meaning="Maximum lifetime of a session.",
        ),
        Setting("tokens.leeway", "duration", high=300_000_000, meaning="Allowed clock difference between machines."),
        Setting(
            "tokens.grace",
            "duration",
            high=300_000_000,
            meaning="How long a client may repeat a refresh whose response was lost.",
        ),
        Setting(
            "tokens.revocation_max_age",
            "duration",
            high=60_000_000,
            meaning="How old a cached revocation check may be.",
        ),
        Setting("cache.ttl", "duration", low=1_000, high=2_592_000_000_000, meaning="Default TTL of a cached value."),
        Setting(
            "cache.negative_ttl", "duration", high=2_592_000_000_000, meaning="Default TTL if the loader found nothing."
        ),
        Setting(
            "cache.stale_if_error",
            "duration",
            high=86_400_000_000,
            meaning="How long after its TTL a value is used if the loader fails.",
        ),
        _refresh_after("cache.refresh_after", meaning="Percentage of the TTL after which a read renews a value."),
        Setting(
            "cache.lock_timeout",
            "duration",
            low=100_000,
            high=600_000_000,
            meaning="Time after which another process takes over loading a value.",
        ),
        Setting(
            "cache.max_staleness",
            "duration",
            low=1_000,
            high=60_000_000,
            meaning="How long a value in memory is used without a check.",
        ),
        Setting(
            "cache.memory_entries",
            "integer",
            high=10_000_000,
            meaning="Maximum number of values in memory; 0 for none.",
        ),
        Setting(
            "cache.queue_limit",
            "integer",
            low=1,
            high=10_000_000,
            meaning="How many updates may wait in the write-behind queue.",
        ),
        Setting(
            "cache.queue_attempts",
            "integer",
            low=1,
            high=1000,
            meaning="How many failed attempts make an update dead.",
        ),
        # An allow-list cannot make elements safe that run a program, load a document or have their own parsing rules.
        Setting(
            "sanitize.tags",
            "list",
            meaning="Elements of HTML that sanitizing keeps.",
            item="[a-z][a-z0-9]*",
            refused="applet|base|embed|form|frame|frameset|iframe|link|listing|math|meta|noembed|noframes|noscript|object"
            "|plaintext|script|select|style|svg|template|textarea|title|xmp",
            example='["b", "p"]',
        ),
        Setting(
            "sanitize.attributes",
            "list",
            meaning="Attributes of these elements that it keeps.",
            item=r"([a-z][a-z0-9]*|\*)\.[a-z][a-z0-9-]*",
            refused=r".*\.(on.*|action|background|cite|classid|codebase|data|dynsrc|formaction|is|longdesc|lowsrc|manifest"
            r"|ping|profile|slot|srcdoc|srcset|style|usemap|xmlns)",
            example='["a.href", "*.title"]',
        ),
        Setting(
            "sanitize.url_schemes",
            "list",
            meaning="URL schemes allowed in these attributes.",
            item="[a-z][a-z0-9+.-]*",
            refused="blob|data|filesystem|javascript|vbscript",
            example='["https"]',
        ),
        Setting(
            "sanitize.max_bytes",
            "integer",
            low=1,
            high=1 << 30,
            meaning="Maximum size of a text, JSON document or line in bytes.",
        ),
        Setting("sanitize.max_depth", "integer", low=1, high=10_000, meaning="Maximum nesting depth of JSON."),
    )
}


class NamedTable:
    """A kind of named table, such as `[roles.NAME]`. A document can have any number of them.

    Reading, showing, `config set` and `unset`, validation and completion follow from its declaration in `NAMED_TABLES`.
    `make` receives the given members by name. An `overlay` can contain the same keys as the document itself. No name
    contains `without`.
    """

    __slots__ = ("key", "make", "members", "overlay", "section", "without")

    def __init__(
        self,
        key: str,
        members: Iterable[Setting] = (),
        make: Callable[..., object] = dict,
        *,
        overlay: bool = False,
        without: str = "",
    ) -> None:
        self.key = key
        self.section = key.rpartition(".")[0]
        self.members = {member.key: member for member in members}
        self.make = make
        self.overlay = overlay
        self.without = without

    def member(self, name: str, member: str) -> Setting | None:
        """Return the setting of one member with its full key; None for an unknown member."""
        found = self.members.get(member)
        return None if found is None else found.under(f"{self.key}.{name}")


NAMED_TABLES = {
    table.key: table
    for table in (
        NamedTable(
            "roles",
            (
                Setting("permissions", "list", item="(?s:.*)", example='["user:show"]', required=True),
                Setting("description", "text"),
            ),
            RoleSettings,
        ),
        NamedTable(
            "ratelimit.policies",
            (
                Setting("limit", "integer", low=1, high=1_000_000_000, example="100", required=True),
                Setting("window", "duration", low=1_000, high=31_622_400_000_000),
                Setting("algorithm", "choice", choices=("sliding-window", "sliding-counter", "gcra")),
                Setting("burst", "integer", high=1_000_000_000),
                Setting("on_error", "choice", choices=("fail", "allow", "deny")),
            ),
            LimitPolicySettings,
        ),
        NamedTable(
            "cache.namespaces",
            (_refresh_after("refresh_after", '"50%"', required=True),),
            CacheNamespaceSettings,
            without=":",
        ),
        NamedTable("profiles", overlay=True),
    )
}


def member_at(path: Sequence[str]) -> Setting | None:
    """Return the setting of the named-table member at `path` of a document; None for any other path."""
    for table in NAMED_TABLES.values():
        above = table.key.split(".")
        if len(path) == len(above) + 2 and list(path[: len(above)]) == above:
            return table.members.get(path[-1])
    return None


def sections() -> tuple[str, ...]:
    """Return the names of the top-level tables that contain settings or named tables."""
    found = [setting.section for setting in SETTINGS.values()] + [kind.section for kind in NAMED_TABLES.values()]
    return tuple(dict.fromkeys(filter(None, found)))


# If one of these is set, an installation exists elsewhere, so this machine is not fresh.
STORAGE_KEYS = ("database.url", "keyring.path", "keyring.document")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that is most similar to `word`; None when none is similar."""
    import difflib

    names = list(candidates)
    if found := difflib.get_close_matches(word[:80], names, 1, 0.6):
        return found[0]
    # Find the right name in the wrong section, such as `bcrypt_cost` for `passwords.bcrypt_cost`.
    last_parts = {name.rpartition(".")[2]: name for name in names}
    found = difflib.get_close_matches(word[:80].rpartition(".")[2], last_parts, 1, 0.8)
    return last_parts[found[0]] if found else None

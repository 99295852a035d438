"""Declares every setting with its key, kind and limits, and parses its value from text or TOML."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from backctl.domain.errors import InvalidDuration
from backctl.domain.quoting import quoted
from backctl.settings.durations import format_duration, parse_duration
from backctl.settings.model import CacheNamespaceSettings, LimitPolicySettings, RoleSettings
from backctl.settings.refusal import UNSAFE, UNSAFE_IN_PATHS, WrongValue

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

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Setting(NamedTuple):
    """One configuration value.

    `low` and `high` limit integers, durations (microseconds) and the length of strings. The kind `text` takes any
    string, `choice` one of `choices`. `item` is the pattern of a string or of those in a list, `form` describes it,
    `refused` is the pattern of unsafe ones, and `example` a value in TOML syntax. `required` applies to members of
    named tables.
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


def _refresh_after(key: str, example: str = "", *, required: bool = False) -> Setting:
    return Setting(
        key,
        "string",
        item="off|[1-9][0-9]?%",
        form="a percentage of the TTL from 1% to 99%, or off",
        example=example,
        required=required,
    )


SETTINGS = {
    setting.key: setting
    for setting in (
        Setting("protected", "boolean"),
        # A secret can also be set with database.url_file or database.url_command.
        Setting(DATABASE_URL, "database-url", secret=True),
        Setting("database.timeout", "duration", high=3_600_000_000),
        # At least 1 ms, because 0 means no limit in PostgreSQL.
        Setting("database.connect_timeout", "duration", low=1_000, high=3_600_000_000),
        Setting("database.statement_timeout", "duration", low=1_000, high=3_600_000_000),
        Setting("database.lock_timeout", "duration", low=1_000, high=3_600_000_000),
        Setting("redis.url", "redis-url", secret=True),
        Setting("redis.timeout", "duration", low=10_000, high=60_000_000),
        Setting("redis.namespace", "string", low=1, high=64, item="[A-Za-z0-9][A-Za-z0-9._-]*"),
        Setting("keyring.path", "path"),
        Setting("keyring.allow_group_read", "boolean"),
        Setting("keyring.document", "secret", secret=True),
        Setting("keyring.passphrase", "secret", secret=True),
        Setting("accounts.allow_special_domains", "boolean"),
        Setting("authentication.source_policy", "string", high=255),
        Setting("passwords.min_length", "integer", low=8, high=64),
        Setting("passwords.bcrypt_cost", "integer", low=4, high=17),
        Setting("tokens.issuer", "string", low=1, high=255),
        Setting("tokens.audience", "string", low=1, high=255),
        # At least 1 s, because the times in a token are whole seconds (RFC 7519).
        Setting("tokens.access_ttl", "duration", low=1_000_000, high=86_400_000_000),
        Setting("tokens.refresh_ttl", "duration", low=1_000_000, high=31_536_000_000_000),
        Setting("tokens.session_ttl", "duration", low=1_000_000, high=31_536_000_000_000),
        Setting("tokens.leeway", "duration", high=300_000_000),
        Setting("tokens.grace", "duration", high=300_000_000),
        Setting("tokens.revocation_max_age", "duration", high=60_000_000),
        Setting("cache.ttl", "duration", low=1_000, high=2_592_000_000_000),
        Setting("cache.negative_ttl", "duration", high=2_592_000_000_000),
        Setting("cache.stale_if_error", "duration", high=86_400_000_000),
        _refresh_after("cache.refresh_after"),
        Setting("cache.lock_timeout", "duration", low=100_000, high=600_000_000),
        Setting("cache.max_staleness", "duration", low=1_000, high=60_000_000),
        Setting("cache.memory_entries", "integer", high=10_000_000),
        Setting("cache.queue_limit", "integer", low=1, high=10_000_000),
        Setting("cache.queue_attempts", "integer", low=1, high=1000),
        # An allow-list cannot make elements safe that run a program, load a document or have their own parsing rules.
        Setting(
            "sanitize.tags",
            "list",
            item="[a-z][a-z0-9]*",
            refused="applet|base|embed|form|frame|frameset|iframe|link|listing|math|meta|noembed|noframes|noscript|object"
            "|plaintext|script|select|style|svg|template|textarea|title|xmp",
            example='["b", "p"]',
        ),
        Setting(
            "sanitize.attributes",
            "list",
            item=r"([a-z][a-z0-9]*|\*)\.[a-z][a-z0-9-]*",
            refused=r".*\.(on.*|action|background|cite|classid|codebase|data|dynsrc|formaction|is|longdesc|lowsrc|manifest"
            r"|ping|profile|slot|srcdoc|srcset|style|usemap|xmlns)",
            example='["a.href", "*.title"]',
        ),
        Setting(
            "sanitize.url_schemes",
            "list",
            item="[a-z][a-z0-9+.-]*",
            refused="blob|data|filesystem|javascript|vbscript",
            example='["https"]',
        ),
        Setting("sanitize.max_bytes", "integer", low=1, high=1 << 30),
        Setting("sanitize.max_depth", "integer", low=1, high=10_000),
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


def from_toml(setting: Setting, value: object) -> Plain:
    """Check the value of `setting` from a file and return it. Raises WrongValue, which names the allowed values."""
    kind = setting.kind
    if kind == "list":
        if not isinstance(value, list):
            raise WrongValue(f"{setting.key} is {describe(value)}; it must be {expected(setting)}")
        return _items(setting, value)
    fits = isinstance(value, bool) if kind == "boolean" else isinstance(value, int if kind == "integer" else str)
    if not fits or (kind == "integer" and isinstance(value, bool)):
        raise WrongValue(f"{setting.key} is {describe(value, secret=setting.secret)}; it must be {expected(setting)}")
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _within(setting, value, describe(value))
    return _from_string(setting, str(value))


def from_text(setting: Setting, text: str) -> Plain:
    """Parse and check the value of `setting` from a variable, a flag or `config set`. Raises WrongValue."""
    if setting.kind == "boolean":
        if text.lower() not in _WORDS:
            raise WrongValue(f"{setting.key} is {quoted(text)}; it must be true or false")
        return _WORDS[text.lower()]
    if setting.kind == "integer":
        if re.fullmatch(r"-?[0-9]{1,18}", text) is None:
            raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {expected(setting)}")
        return _within(setting, int(text), text)
    if setting.kind == "list":
        return _items(setting, [item.strip() for item in text.split(",") if item.strip()])
    return _from_string(setting, text)


def _items(setting: Setting, items: list[object]) -> tuple[str, ...]:
    checked = []
    for item in items:
        if not isinstance(item, str) or re.fullmatch(setting.item, item) is None:
            raise WrongValue(f"{setting.key} contains {describe(item)}; it must be {expected(setting)}")
        if setting.refused and re.fullmatch(setting.refused, item):
            raise WrongValue(f"{setting.key} contains {quoted(item)}, which cannot be made safe")
        checked.append(item)
    return tuple(checked)


def _from_string(setting: Setting, text: str) -> Plain:
    if setting.kind == "duration":
        try:
            return _within(setting, parse_duration(text), quoted(text))
        except InvalidDuration:
            raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {expected(setting)}") from None
    checked_later = ("secret", "text", "path", "database-url", "redis-url")
    if setting.kind not in checked_later and re.search(UNSAFE, text):
        shown = "" if setting.secret else f" is {quoted(text)}; it"
        raise WrongValue(f"{setting.key}{shown} must not contain control characters or broken Unicode")
    if setting.form and re.fullmatch(setting.item, text) is None:
        raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {setting.form}")
    if (
        setting.kind == "string"
        and not setting.form
        and not (setting.low <= len(text) <= setting.high and text.isprintable())
    ):
        raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {expected(setting)}")
    if setting.kind == "string" and setting.item and re.fullmatch(setting.item, text) is None:
        raise WrongValue(f"{setting.key} is {quoted(text)}; it may contain only A-Z, a-z, 0-9, '.', '_' and '-'")
    if setting.kind == "choice" and text not in setting.choices:
        raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {expected(setting)}")
    if setting.kind == "path" and text:
        check_path(setting.key, text)
    if setting.kind == "database-url" and text == SAME_DATABASE:
        raise WrongValue(f"{setting.key} is {quoted(text)}, which only a profile in the configuration file can use")
    if text and setting.kind in ("database-url", "redis-url"):
        from backctl.settings.urls import check_database_url, check_redis_url

        (check_database_url if setting.kind == "database-url" else check_redis_url)(setting.key, text)
    return text


def _within(setting: Setting, number: int, shown: str) -> int:
    if not setting.low <= number <= setting.high:
        raise WrongValue(f"{setting.key} is {shown}; it must be {expected(setting)}")
    return number


def expected(setting: Setting) -> str:
    """Describe the values that `setting` accepts, as the end of a sentence."""
    match setting.kind:
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number from {setting.low} to {setting.high}"
        case "duration":
            low, high = format_duration(setting.low), format_duration(setting.high)
            return f"a duration from {low} to {high}: a whole number and a unit (ms, s, m, h, d or w)"
        case "string" if setting.form:
            return setting.form
        case "string":
            return f"a string of {setting.low} to {setting.high} printable characters"
        case "choice":
            return f"one of {', '.join(setting.choices)}"
        case "list":
            return f"an array of strings such as {setting.example}"
        case _:
            return "a string"


def check_path(key: str, text: str) -> None:
    """Reject a relative path, because it would name another file in every working directory. Raises WrongValue."""
    if not text.startswith("/"):
        raise WrongValue(f"{key} is {quoted(text)}; it must be an absolute path")
    if re.search(UNSAFE_IN_PATHS, text):
        raise WrongValue(f"{key} is {quoted(text)}; it must not contain control characters or broken Unicode")


def describe(value: object, *, secret: bool = False) -> str:
    """Describe a TOML value for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a number beyond 64 bits"
    if isinstance(value, str):
        return "a string" if secret else quoted(value)
    for kind, name in ((float, "a number with a fraction"), (list, "an array"), (dict, "a table")):
        if isinstance(value, kind):
            return name
    return "a date or time"


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

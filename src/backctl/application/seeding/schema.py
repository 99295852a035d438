"""The members of seed files: the one declaration that validates them and that their JSON Schema shows."""

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from backctl.domain.seed import SecretKind, State
from backctl.domain.values import REASON_MAX

VERSION: Final = 1
COUNT_MAX: Final = 1_000_000
NEVER: Final = "never"
NO_PASSWORD: Final = "none"
PLACEHOLDER: Final = "{n}"
"""What the number of a generated account replaces."""

Kind = Literal["text", "boolean", "integer", "choice", "id", "time", "duration", "secret", "mapping", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of a mapping. `title` says what it is; `shape` belongs to a mapping, or to each element of a list."""

    kind: Kind
    title: str
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int = 1
    most: int = 0
    """The limits of an integer, or of the length of a text; 0 for no limit."""
    pattern: str = ""
    pattern_words: str = ""
    """`pattern` in words, for a message."""
    sources: tuple[SecretKind, ...] = ()
    without: str = ""
    """The text for no secret; empty if the member must be left out instead."""
    shape: "Shape | None" = None
    may_be_single: bool = False
    """Whether a list with one element may be written as the element."""
    is_any_text: bool = field(init=False)
    """Whether every text that is not empty is accepted here; another class may check it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_any_text", self.kind == "text" and not self.most and not self.pattern)


@dataclass(frozen=True, slots=True)
class Shape:
    """A mapping: what it is called in messages, its members, and which of them cannot be combined."""

    name: str
    members: dict[str, Member]
    exclusive: tuple[tuple[str, str], ...] = ()
    one_of: tuple[str, ...] = ()
    """Members of which at least one is required."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Hints for keys that people expect here, and that seed files do not have."""
    hides_keys: bool = False
    """Whether an unknown key may be a secret in the wrong place."""
    required: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        required = tuple(key for key, member in self.members.items() if member.required)
        object.__setattr__(self, "required", required)


_ROLES_ELSEWHERE: Final = (
    "roles are defined in the configuration, and a seed file never changes them; set roles.NAME.permissions with "
    "'{backctl} config set'"
)
_KEYS_ELSEWHERE: Final = "keys are in the keyring, and a seed file never changes them; manage them with '{backctl} key'"
_TEXT_PATTERN: Final = r"[^\x00-\x1f\x7f]+"

_SECRET_HELP: Final = "{env: VARIABLE} or {file: PATH}; a path is relative to the seed file. Never the secret itself."

_ROLE: Final = Member(kind="text", title="The role, as configured.")
_EXPIRES_AT: Final = Member(
    kind="time", title="When the account expires: RFC 3339, a date (midnight in UTC), or never."
)
_EXPIRES_IN: Final = Member(
    kind="duration", title="How long a new account is valid, such as 8h or 30d. Existing accounts keep their expiry."
)
_PASSWORD: Final = Member(
    kind="secret",
    title=f"The password of a new account: {_SECRET_HELP} {{generate: true}}: a new one. 'none': no password.",
    sources=("env", "file", "generate"),
    without=NO_PASSWORD,
)
_COMMON: Final[dict[str, Member]] = {
    "role": _ROLE,
    "state": Member(
        kind="choice",
        title="active (the default): may log in. closed: may not. absent: deleted, after confirmation.",
        choices=get_args(State),
    ),
    "expires_at": _EXPIRES_AT,
    "expires_in": _EXPIRES_IN,
    "must_change_password": Member(kind="boolean", title="Require a new password at the next login."),
    "password": _PASSWORD,
    "password_hash": Member(
        kind="secret",
        title=f"The hash of the password of a new account, as an export with hashes contains it: {_SECRET_HELP}",
        sources=("env", "file"),
    ),
    "password_policy": Member(
        kind="choice",
        title="create: secrets apply to new accounts only. enforce: an existing account gets them too, unless it has "
        "the same ones.",
        choices=("create", "enforce"),
    ),
}
_EXCLUSIVE: Final = (("expires_at", "expires_in"), ("password", "password_hash"))
_ELSEWHERE: Final = {"roles": "an account has one role: write 'role'", "permissions": _ROLES_ELSEWHERE}

MFA: Final = Shape(
    "a second factor",
    {
        "secret": Member(
            kind="secret",
            title=f"The TOTP secret in base32: {_SECRET_HELP}",
            required=True,
            sources=("env", "file"),
        )
    },
    hides_keys=True,
)
USER: Final = Shape(
    "an account",
    {
        "email": Member(kind="text", title="The e-mail address. Required unless there is an id."),
        "username": Member(kind="text", title="The username. A new account needs one."),
        "id": Member(kind="id", title="The id, a UUID. With it, e-mail address and username may change."),
        **_COMMON,
        "mfa": Member(kind="mapping", title="The second factor of a new account.", shape=MFA),
    },
    exclusive=_EXCLUSIVE,
    one_of=("email", "id"),
    elsewhere=_ELSEWHERE,
)
GENERATE: Final = Shape(
    "a group of generated accounts",
    {
        "count": Member(kind="integer", title="The number of accounts.", required=True, most=COUNT_MAX),
        "email": Member(
            kind="text", title=f"The e-mail addresses; {PLACEHOLDER} becomes the number, from 1.", required=True
        ),
        "username": Member(kind="text", title=f"The usernames; {PLACEHOLDER} becomes the number, from 1."),
        "id_start": Member(kind="id", title="The id of the first account; each further one is one higher."),
        **_COMMON,
    },
    exclusive=_EXCLUSIVE,
    elsewhere={**_ELSEWHERE, "id": "write 'id_start', the id of the first account"},
)
DEFAULTS: Final = Shape(
    "the defaults",
    {
        "role": Member(kind="text", title="The role of accounts for which none is given."),
        "reason": Member(
            kind="text",
            title="The reason that is recorded with each change.",
            pattern=_TEXT_PATTERN,
            pattern_words="printable characters",
            most=REASON_MAX,
        ),
        "expires_in": Member(kind="duration", title="How long new accounts are valid for which no expiry is given."),
    },
    elsewhere=_ELSEWHERE,
)
SEED: Final = Shape(
    "a seed file",
    {
        "$schema": Member(kind="text", title="For editors; ignored.", most=2000),
        "version": Member(
            kind="integer", title="The version of the format.", required=True, least=VERSION, most=VERSION
        ),
        "name": Member(
            kind="text",
            title="The name of the seed. Accounts that it creates are labelled with it; only these can be pruned.",
            required=True,
            most=64,
            pattern="[a-z0-9._-]+",
            pattern_words="lower-case letters, digits, '.', '_' and '-'",
        ),
        "defaults": Member(kind="mapping", title="Values for accounts that do not give their own.", shape=DEFAULTS),
        "users": Member(kind="list", title="The accounts.", shape=USER),
        "generate": Member(
            kind="list",
            title="Numbered accounts, for tests under load.",
            shape=GENERATE,
            may_be_single=True,
        ),
    },
    elsewhere={
        "roles": _ROLES_ELSEWHERE,
        "permissions": _ROLES_ELSEWHERE,
        "keys": _KEYS_ELSEWHERE,
        "keyring": _KEYS_ELSEWHERE,
        "accounts": "write 'users'",
    },
)

"""What services answer: frozen, without secrets. The order of the members is the order of the columns.

`TABLE` names the few that a table on a terminal has room for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Self, TypeVar

from backctl.domain.values import Instant, Secret, SessionId, UserId

if TYPE_CHECKING:
    from backctl.domain.access import Role
    from backctl.domain.access_token import AccessClaims
    from backctl.domain.mfa import Enrolment
    from backctl.domain.user import User

AccessReason = Literal["granted", "not_granted", "inactive", "expired", "role_unknown"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Change(Generic[T_co]):
    """What a mutation left behind, and whether it changed anything."""

    value: T_co
    changed: bool


@dataclass(frozen=True, slots=True)
class UserView:
    TABLE: ClassVar = ("username", "email", "role", "is_active", "created_at")

    id: UserId
    email: str
    username: str
    role: str
    is_active: bool
    has_password: bool
    must_change_password: bool
    mfa: str
    expires_at: Instant | None
    created_at: Instant
    updated_at: Instant
    version: int

    @classmethod
    def of(cls, user: "User") -> Self:
        return cls(
            id=user.id,
            email=user.email.address,
            username=user.username.name,
            role=user.role,
            is_active=user.is_active,
            has_password=user.password_hash is not None,
            must_change_password=user.must_change_password,
            mfa=user.mfa_state,
            expires_at=user.expires_at,
            created_at=user.created_at,
            updated_at=user.updated_at,
            version=user.version,
        )


@dataclass(frozen=True, slots=True)
class UserExistence:
    """Whether an identity names an account, and which."""

    ident: str
    exists: bool
    id: UserId | None


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Whether a password, and a code where the account asks for one, open an account.

    `must_change`: they do, and the password has to be changed before anything else. `mfa_required`: the password is
    right, and a code has to be given with it. `user_id` and `second_factor` are None unless it is `ok`, the latter
    also where no code was asked for. `recovery_codes_left` is told when one was used.
    """

    ident: str
    ok: bool
    outcome: Literal["ok", "must_change", "mfa_required", "refused", "locked"]
    locked_until: Instant | None
    user_id: UserId | None = None
    second_factor: Literal["totp", "recovery_code"] | None = None
    recovery_codes_left: int | None = None


@dataclass(frozen=True, slots=True)
class MfaStatus:
    """The second factor of an account. `mfa` is `off`, `pending` until a code has confirmed it, or `on`."""

    id: UserId
    username: str
    mfa: str
    algorithm: str | None
    digits: int | None
    period: int | None
    enrolled_at: Instant | None
    confirmed_at: Instant | None
    recovery_codes_left: int

    @classmethod
    def of(cls, user: "User", enrolment: "Enrolment | None", *, recovery_codes_left: int) -> Self:
        return cls(
            id=user.id,
            username=user.username.name,
            mfa=user.mfa_state,
            algorithm=enrolment.settings.algorithm if enrolment else None,
            digits=enrolment.settings.digits if enrolment else None,
            period=enrolment.settings.period if enrolment else None,
            enrolled_at=enrolment.enrolled_at if enrolment else None,
            confirmed_at=enrolment.confirmed_at if enrolment else None,
            recovery_codes_left=recovery_codes_left,
        )


@dataclass(frozen=True, slots=True)
class UserDeletion:
    """The account that is gone, all None when there was none, and how many of its events were erased."""

    TABLE: ClassVar = ("username", "email", "erased_events")

    id: UserId | None
    email: str | None
    username: str | None
    erased_events: int


@dataclass(frozen=True, slots=True)
class AccessView:
    """Whether an account may do something now. `reason` is a stable word, `granted_by` the permission that grants."""

    ident: str
    permission: str
    allowed: bool
    reason: AccessReason
    granted_by: str | None


@dataclass(frozen=True, slots=True)
class AccessExplanation:
    """An AccessView with everything that it was worked out from."""

    ident: str
    permission: str
    allowed: bool
    reason: AccessReason
    granted_by: str | None
    id: UserId
    role: str
    role_permissions: tuple[str, ...]
    is_active: bool
    expires_at: Instant | None


@dataclass(frozen=True, slots=True)
class EventView:
    """One event. `data` is None once erased."""

    TABLE: ClassVar = ("seq", "occurred_at", "type", "actor", "reason", "data")

    seq: int
    id: str
    occurred_at: Instant
    type: str
    subject: str
    actor: str
    os_user: str
    host: str
    reason: str | None
    trace_id: str | None
    data: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class ChainView:
    """The outcome of a walk along the event chain; `broken_seq` is the first event that does not hold."""

    intact: bool
    events: int
    erased: int
    broken_seq: int | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session of an account. `issued_at` is when its latest access token was, `expires_at` when its last token ends,
    `ends_at` when it does however often it is refreshed. `refreshable`: it has a refresh token that nobody used."""

    TABLE: ClassVar = ("id", "state", "client_id", "created_at", "expires_at", "revoked_because")

    id: SessionId
    user_id: UserId
    state: Literal["open", "expired", "revoked"]
    refreshable: bool
    client_id: str
    issuer: str
    audience: str
    scope: str
    created_at: Instant
    issued_at: Instant
    expires_at: Instant
    ends_at: Instant
    revoked_at: Instant | None
    revoked_because: str | None


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """New tokens of a session, which are nowhere to be had again. A dry run makes none: both are None then.

    `expires_in` counts seconds, as RFC 6749 §5.1 has it.
    """

    access_token: Secret | None
    refresh_token: Secret | None
    expires_in: int
    expires_at: Instant
    refresh_expires_at: Instant | None
    session_id: SessionId
    jti: str
    user_id: UserId
    audience: str
    role: str
    scope: str


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a good access token says: its claims by their own names, times in seconds, and both times readable.

    `revocation` says whether the database was asked, too.
    """

    iss: str
    aud: str
    sub: str
    client_id: str
    iat: int
    nbf: int
    exp: int
    jti: str
    sid: str
    role: str
    scope: str
    issued_at: Instant
    expires_at: Instant
    revocation: Literal["checked", "skipped"]

    @classmethod
    def of(cls, claims: "AccessClaims", *, checked: bool) -> Self:
        return cls(
            claims.iss,
            claims.aud,
            claims.sub,
            claims.client_id,
            claims.iat,
            claims.nbf,
            claims.exp,
            claims.jti,
            claims.sid,
            claims.role,
            claims.scope,
            claims.issued_at,
            claims.expires_at,
            "checked" if checked else "skipped",
        )


@dataclass(frozen=True, slots=True)
class InspectedToken:
    """What a token says about itself. `verified` is always False: anybody may have written it."""

    verified: bool
    kind: Literal["access", "refresh"]
    header: Mapping[str, object] | None
    claims: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """What was revoked: a `token` by its jti, a `session`, the sessions of a `user`, or those of an `issuer`.

    `sessions` is how many of them were open.
    """

    revoked: Literal["token", "session", "user", "issuer"]
    id: str
    user_id: str | None
    sessions: int


@dataclass(frozen=True, slots=True)
class RoleView:
    name: str
    description: str
    builtin: bool
    permissions: tuple[str, ...]

    @classmethod
    def of(cls, role: "Role") -> Self:
        return cls(role.name, role.description, role.builtin, tuple(permission.text for permission in role.permissions))


@dataclass(frozen=True, slots=True)
class InstallationView:
    """Where an installation lives and what is there. Paths are absolute; the URL carries no password."""

    database: str
    keyring: str
    installation_id: str
    revision: str
    bcrypt_cost: int


@dataclass(frozen=True, slots=True)
class CheckView:
    """One finding of `doctor`; `check` is a stable name."""

    check: str
    status: Literal["ok", "warn", "fail"]
    finding: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What a database is and holds. Counts and revision are None where there is none; a server says no size."""

    database: str
    state: Literal["current", "outdated", "newer", "absent"]
    revision: str | None
    expected_revision: str
    accounts: int | None
    events: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class UpgradeView:
    """The revision before and after; `copy` is the file that keeps the database as it was, where one was made."""

    database: str
    previous_revision: str
    revision: str
    copy: str | None


@dataclass(frozen=True, slots=True)
class BackupView:
    """A finished copy: its absolute path, its length in bytes and its SHA-256 in hexadecimal."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SanitizedPart:
    """How many strings at one place of an input were changed in one way.

    `path` is an RFC 6901 pointer with `*` for any place of an array, empty for the whole; that of a key names its
    object. `kind` is `html`, `control` or `bidi`.
    """

    path: str
    part: Literal["key", "value"]
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class EncryptedValue:
    """A value under the key `kid`; `changed` says whether it came there just now."""

    value: str
    kid: str
    changed: bool


@dataclass(frozen=True, slots=True, repr=False)
class DecryptedValue:
    """A plaintext: as text where it is UTF-8, and in base64."""

    value: str | None
    base64: str


@dataclass(frozen=True, slots=True)
class CipherReport:
    """What became of a file: its values, how many of them changed, and how many records were left out."""

    out: str
    size: int
    records: int
    values: int
    changed: int
    failed: int

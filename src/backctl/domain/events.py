"""All domain events. Names and members are append-only, so that old rows stay readable.

`subject` is the id of the affected object, such as an account or an installation. The other members are the event's
data: strings, integers within ±2⁵³, booleans, None, and lists of those; never a secret or a password hash.

Replaying the events of an account gives every column of its row except the password hash.
"""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Final, Literal

if TYPE_CHECKING:
    from backctl.domain.values import Instant

Outcome = Literal["success", "failure"]
"""The outcome of an event: `failure` if it records that an attempt was refused, `success` for every other event."""


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """The base class of all events.

    `at` is the time stored in the changed row; None means the time at which the event is recorded. `version` is the
    account's version after the change, the same for all events of one change; None if no account changed.
    Comparisons ignore both.
    """

    outcome: ClassVar[Outcome] = "success"

    subject: str
    at: "Instant | None" = field(default=None, kw_only=True, compare=False)
    version: int | None = field(default=None, kw_only=True, compare=False)

    @property
    def type(self) -> str:
        return type(self).__name__

    def data(self) -> dict[str, object]:
        """Return the event's data, without the subject, for canonical JSON."""
        members: dict[str, object] = {}
        for name in _DATA.get(self.type) or _DATA.setdefault(self.type, _data_of(self)):
            value = getattr(self, name)
            members[name] = list(value) if isinstance(value, tuple) else value
        if self.version is not None:
            members["version"] = self.version
        return members


_DATA: Final[dict[str, tuple[str, ...]]] = {}
"""The names of the members that are data, by the type of the event: `fields` takes longer than the rest."""


def _data_of(event: DomainEvent) -> tuple[str, ...]:
    return tuple(member.name for member in fields(event) if member.name not in ("subject", "at", "version"))


@dataclass(frozen=True, slots=True)
class InstallationCreated(DomainEvent):
    """A database was created; the chain starts here. `keys` are the kids of its keyring."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaUpgraded(DomainEvent):
    """The schema was upgraded from one revision to another. The subject is the installation."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class DatabaseRestored(DomainEvent):
    """The database was replaced by an older copy, and every session ended. The subject is the installation.

    `copy_seq` and `copy_mac` are the end of the log in the copy, `replaced_seq` and `replaced_mac` that of the replaced
    database, whose later events are not in this log; None if it is unknown. MACs are hexadecimal.
    """

    copy_seq: int
    copy_mac: str
    replaced_seq: int | None
    replaced_mac: str | None


@dataclass(frozen=True, slots=True)
class UserCreated(DomainEvent):
    """`imported`: the password hash was made by another program."""

    email: str
    username: str
    role: str
    can_log_in: bool
    must_change: bool = False
    imported: bool = False


@dataclass(frozen=True, slots=True)
class UserImported(DomainEvent):
    """An account was created from a record of another program or installation, with everything that the record says.

    The event occurred when the account was imported; the times in its data are those of the account, as RFC 3339.
    `imported`: the password hash was made by another program. `mfa`: the state of the second factor.
    """

    email: str
    username: str
    role: str
    can_log_in: bool
    must_change: bool
    imported: bool
    is_active: bool
    mfa: str
    expires_at: str | None
    last_login_at: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class UserSeeded(DomainEvent):
    """A seed file created the account, which is labelled with the `name` of the seed."""

    name: str


@dataclass(frozen=True, slots=True)
class UserEmailChanged(DomainEvent):
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class UserUsernameChanged(DomainEvent):
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class UserRoleChanged(DomainEvent):
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class UserExpiryChanged(DomainEvent):
    """Times are RFC 3339, because microseconds since 1970 can exceed ±2⁵³; None means no expiry."""

    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class UserActivated(DomainEvent):
    """An inactive account was activated."""


@dataclass(frozen=True, slots=True)
class UserDeactivated(DomainEvent):
    """An account was deactivated; it cannot log in until it is activated."""


@dataclass(frozen=True, slots=True)
class UserPasswordChanged(DomainEvent):
    """The account has a new password. `must_change`: its owner must change it at the next login.

    `imported`: the password hash was made by another program.
    """

    must_change: bool
    imported: bool = False


@dataclass(frozen=True, slots=True)
class UserPasswordChangeRequired(DomainEvent):
    """Whether the owner must change the password at the next login was set. The password stayed the same."""

    must_change: bool


@dataclass(frozen=True, slots=True)
class UserPasswordRehashed(DomainEvent):
    """A successful login stored the same password with a higher cost or a newer scheme."""


@dataclass(frozen=True, slots=True)
class LoginSucceeded(DomainEvent):
    """The account's last login is at the time of this event; its version does not change.

    `second_factor`: `totp` or `recovery_code`; None for an account without a second factor.
    """

    must_change: bool
    second_factor: str | None = None


@dataclass(frozen=True, slots=True)
class LoginFailed(DomainEvent):
    """`cause`: `unknown`, `wrong`, `inactive`, `expired`, or `code` if the password was right but the code of the
    second factor was wrong. The subject is `unknown` for an unknown name. Logins during a lock are only counted; see
    `UserLockEnded`."""

    outcome = "failure"

    cause: str


@dataclass(frozen=True, slots=True)
class LoginChallenged(DomainEvent):
    """The password was right, but the code of the second factor is still required."""


@dataclass(frozen=True, slots=True)
class UserLocked(DomainEvent):
    """Too many logins failed: the account is locked `until` this time (RFC 3339)."""

    outcome = "failure"

    until: str


@dataclass(frozen=True, slots=True)
class UserLockEnded(DomainEvent):
    """A lock ended, during which `attempts` logins were refused. An expired one is recorded at a later login.

    `cause`: `expired`, `password_changed`, or `unlocked` by an operator. The subject is `unknown` for an unknown name.
    """

    attempts: int
    cause: str


@dataclass(frozen=True, slots=True)
class MfaEnrolled(DomainEvent):
    """An account was enrolled in one-time codes; they apply once a code has confirmed them."""

    algorithm: str
    digits: int
    period: int


@dataclass(frozen=True, slots=True)
class MfaConfirmed(DomainEvent):
    """A code confirmed the second factor: logins require one from now on."""


@dataclass(frozen=True, slots=True)
class MfaDisabled(DomainEvent):
    """The second factor was removed. `was`: `on`, or `pending` if it was never confirmed."""

    was: str


@dataclass(frozen=True, slots=True)
class RecoveryCodesRenewed(DomainEvent):
    """The account has `count` new recovery codes; the previous ones are invalid."""

    count: int


@dataclass(frozen=True, slots=True)
class RecoveryCodeUsed(DomainEvent):
    """A recovery code was used in place of a one-time code; `left` codes remain."""

    left: int


@dataclass(frozen=True, slots=True)
class UserDeleted(DomainEvent):
    """An account was deleted. `erased`: the data of its earlier events was erased in the same transaction.

    Contains no personal data, so it is never erased and distinguishes an erasure from tampering.
    """

    erased: bool


@dataclass(frozen=True, slots=True)
class KeyAdded(DomainEvent):
    """A key was created and published, but is not used yet. The subject of all key events is the kid."""

    purpose: str
    alg: str


@dataclass(frozen=True, slots=True)
class KeyImported(DomainEvent):
    """A key made elsewhere was published, but is not used yet."""

    purpose: str
    alg: str


@dataclass(frozen=True, slots=True)
class KeyPromoted(DomainEvent):
    """A key became the primary key of its purpose, in place of `previous`."""

    purpose: str
    previous: str


@dataclass(frozen=True, slots=True)
class KeyRetired(DomainEvent):
    """A key was retired, or the end of a retired key moved nearer (RFC 3339; None means no end)."""

    purpose: str
    not_after: str | None


@dataclass(frozen=True, slots=True)
class KeyDestroyed(DomainEvent):
    """A key was destroyed; its kid cannot be used again."""

    purpose: str


@dataclass(frozen=True, slots=True)
class KeyringRewrapped(DomainEvent):
    """The keyring file was rewritten, with or without a passphrase. The subject is `keyring`."""

    wrapped: bool


@dataclass(frozen=True, slots=True)
class KeyringReplaced(DomainEvent):
    """A lost keyring was replaced by a new one with `keys`. A new segment of the chain starts here.

    `old_seq` is the last event of the old segment, and `old_mac_digest` the SHA-256 of its MAC, in hexadecimal.
    `lost_keys` are the kids of the lost audit keys, under which nobody can verify that segment. The subject is
    `keyring`.
    """

    keys: tuple[str, ...]
    lost_keys: tuple[str, ...]
    old_seq: int
    old_mac_digest: str


@dataclass(frozen=True, slots=True)
class KeyExported(DomainEvent):
    """The secret half of a key was exported. `form`: `jwk` or `pem`."""

    purpose: str
    form: str


@dataclass(frozen=True, slots=True)
class AccountsExported(DomainEvent):
    """Accounts were exported with password hashes (`hashes`) or secrets of second factors (`mfa`). The subject is
    `accounts`."""

    hashes: bool
    mfa: bool


@dataclass(frozen=True, slots=True)
class RateLimitReset(DomainEvent):
    """What an identifier had consumed under a rate limit policy was forgotten. The subject is the policy."""

    ident: str


@dataclass(frozen=True, slots=True)
class SessionOpened(DomainEvent):
    """The first tokens of a session were issued. `jti` is the id of the access token."""

    session: str
    jti: str
    client_id: str
    audience: str
    scope: str
    refreshable: bool


@dataclass(frozen=True, slots=True)
class SessionRefreshed(DomainEvent):
    """A refresh token was redeemed. `retried`: a second time within the grace period; its first successor is void."""

    session: str
    jti: str
    retried: bool = False


@dataclass(frozen=True, slots=True)
class SessionRevoked(DomainEvent):
    """`cause`: `requested` or `reused`."""

    session: str
    cause: str


@dataclass(frozen=True, slots=True)
class SessionsRevoked(DomainEvent):
    """All open sessions of an account were revoked. `cause`: `requested`, `deactivated`, `password_changed`, `expired`,
    or `mfa_reset` when a second factor was confirmed or removed."""

    count: int
    cause: str


@dataclass(frozen=True, slots=True)
class RefreshTokenReused(DomainEvent):
    """A refresh token was used a second time, so it was probably copied. Its session is revoked."""

    outcome = "failure"

    session: str


@dataclass(frozen=True, slots=True)
class AccessTokenRevoked(DomainEvent):
    """One access token was revoked. The subject is its account, or its `jti` if the account is unknown."""

    jti: str


@dataclass(frozen=True, slots=True)
class IssuerTokensRevoked(DomainEvent):
    """All sessions of an issuer were revoked. The subject is the issuer; `count` sessions were open."""

    count: int


def event_types() -> tuple[str, ...]:
    """Return the names of all events, in the order of their definition."""
    # dataclass(slots=True) creates each class twice, and both are subclasses.
    return tuple(dict.fromkeys(event.__name__ for event in DomainEvent.__subclasses__()))


def types_with(outcome: Outcome) -> tuple[str, ...]:
    """Return the names of the events with this outcome, in the order of their definition."""
    return tuple(dict.fromkeys(event.__name__ for event in DomainEvent.__subclasses__() if event.outcome == outcome))

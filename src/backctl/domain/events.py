"""Everything that happens, by name. Names and members are append-only: old rows must stay readable.

`subject` is what the event is about (an account's id, an installation's id). The other members are its data: strings,
whole numbers within ±2⁵³, booleans, None, and lists of those. Never a secret, never a password hash.

Events determine state: folding those of an account gives every column of its row but the password's hash.
"""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backctl.domain.values import Instant


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """`at` is the time that stands in the row that was changed; None for the time at which the event is recorded.

    `version` is the version of the account that the change made. Events of one change have the same; an event that
    changes no account has none. Both are left out of comparisons: two events are equal when they say the same.
    """

    subject: str
    at: "Instant | None" = field(default=None, kw_only=True, compare=False)
    version: int | None = field(default=None, kw_only=True, compare=False)

    @property
    def type(self) -> str:
        return type(self).__name__

    def data(self) -> dict[str, object]:
        """The members beside the subject, ready for canonical JSON."""
        members: dict[str, object] = {}
        for member in fields(self):
            value = getattr(self, member.name)
            members[member.name] = list(value) if isinstance(value, tuple) else value
        del members["subject"], members["at"]
        if self.version is None:
            del members["version"]
        return members


@dataclass(frozen=True, slots=True)
class InstallationCreated(DomainEvent):
    """A database was made; the chain begins here. `keys` are the kids of the keyring it was made with."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaUpgraded(DomainEvent):
    """The tables were brought from one revision to another; the subject is the installation."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class UserCreated(DomainEvent):
    email: str
    username: str
    role: str
    can_log_in: bool
    must_change: bool = False


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
    """RFC 3339, for microseconds since 1970 soon exceed the whole numbers of an event; None is no end."""

    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class UserActivated(DomainEvent):
    """A closed account was opened again."""


@dataclass(frozen=True, slots=True)
class UserDeactivated(DomainEvent):
    """An account was closed; it cannot log in until it is activated."""


@dataclass(frozen=True, slots=True)
class UserPasswordChanged(DomainEvent):
    """The account has another password; `must_change` says that its owner has to choose one at the next login."""

    must_change: bool


@dataclass(frozen=True, slots=True)
class UserPasswordRehashed(DomainEvent):
    """The same password is stored at a higher cost or in a newer scheme. Happens at a successful login."""


@dataclass(frozen=True, slots=True)
class LoginSucceeded(DomainEvent):
    """`second_factor`: `totp` or `recovery_code`; None for an account that has none."""

    must_change: bool
    second_factor: str | None = None


@dataclass(frozen=True, slots=True)
class LoginFailed(DomainEvent):
    """`cause`: `unknown`, `wrong`, `inactive`, `expired`, `locked`, or `code` where the password was right and the code
    of the second factor was not. The subject of unknown names is `unknown`."""

    cause: str


@dataclass(frozen=True, slots=True)
class LoginChallenged(DomainEvent):
    """The password was right, no code of the second factor was given, and it was asked for."""


@dataclass(frozen=True, slots=True)
class UserLocked(DomainEvent):
    """Too many logins failed: none succeeds `until` then (RFC 3339)."""

    until: str


@dataclass(frozen=True, slots=True)
class MfaEnrolled(DomainEvent):
    """One-time codes of this kind were given to an account; they count once a code has confirmed them."""

    algorithm: str
    digits: int
    period: int


@dataclass(frozen=True, slots=True)
class MfaConfirmed(DomainEvent):
    """A code was shown: from now on a login takes one."""


@dataclass(frozen=True, slots=True)
class MfaDisabled(DomainEvent):
    """A login takes no code any more. `was`: `on`, or `pending` for one that was never confirmed."""

    was: str


@dataclass(frozen=True, slots=True)
class RecoveryCodesRenewed(DomainEvent):
    """The account has so many new recovery codes, and those before are void."""

    count: int


@dataclass(frozen=True, slots=True)
class RecoveryCodeUsed(DomainEvent):
    """A recovery code opened the account in place of a one-time code; so many are `left`."""

    left: int


@dataclass(frozen=True, slots=True)
class UserDeleted(DomainEvent):
    """An account is gone. `erased`: the data of its earlier events were blanked in the same transaction.

    Holds nothing personal, so that it stays readable then and tells an erasure from a blanking by a stranger.
    """

    erased: bool


@dataclass(frozen=True, slots=True)
class KeyAdded(DomainEvent):
    """A key was made and published; it is not used yet. The subject of all events about keys is the kid."""

    purpose: str
    alg: str


@dataclass(frozen=True, slots=True)
class KeyImported(DomainEvent):
    """A key that was made elsewhere was published; it is not used yet."""

    purpose: str
    alg: str


@dataclass(frozen=True, slots=True)
class KeyPromoted(DomainEvent):
    """A key is in use for its purpose from now on; `previous` was until now."""

    purpose: str
    previous: str


@dataclass(frozen=True, slots=True)
class KeyRetired(DomainEvent):
    """A key only verifies or decrypts from now on, or the end of one moved nearer (RFC 3339; None is no end)."""

    purpose: str
    not_after: str | None


@dataclass(frozen=True, slots=True)
class KeyDestroyed(DomainEvent):
    """A key is gone for good; its kid stays taken."""

    purpose: str


@dataclass(frozen=True, slots=True)
class KeyringRewrapped(DomainEvent):
    """The keyring's file was written anew: under a passphrase, or in plain. The subject is `keyring`."""

    wrapped: bool


@dataclass(frozen=True, slots=True)
class KeyExported(DomainEvent):
    """The secret half of a key was handed out. `form`: `jwk` or `pem`."""

    purpose: str
    form: str


@dataclass(frozen=True, slots=True)
class SessionOpened(DomainEvent):
    """The first tokens of a session were issued to an account. `jti` is the access token's."""

    session: str
    jti: str
    client_id: str
    audience: str
    scope: str
    refreshable: bool


@dataclass(frozen=True, slots=True)
class SessionRefreshed(DomainEvent):
    """A refresh token was redeemed for new tokens. `retried`: again, within the grace, and its first successor died."""

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
    """All sessions of an account that were open. `cause`: `requested`, `deactivated`, `password_changed`, `expired` or
    `mfa_reset`: a second factor was confirmed or taken away."""

    count: int
    cause: str


@dataclass(frozen=True, slots=True)
class RefreshTokenReused(DomainEvent):
    """A refresh token was presented a second time: somebody has a copy. Its session is revoked with it."""

    session: str


@dataclass(frozen=True, slots=True)
class AccessTokenRevoked(DomainEvent):
    """One access token is void. The subject is its account, or its `jti` where nobody said whose it is."""

    jti: str


@dataclass(frozen=True, slots=True)
class IssuerTokensRevoked(DomainEvent):
    """Every session of an issuer, the subject, that was opened before is void; `count` of them were open."""

    count: int


def event_types() -> tuple[str, ...]:
    """The names of all events, in the order of their definition."""
    # A class with slots is made twice, and both are subclasses.
    return tuple(dict.fromkeys(event.__name__ for event in DomainEvent.__subclasses__()))

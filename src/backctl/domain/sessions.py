"""Sessions: rules for issuing access tokens, for redeeming refresh tokens, and for revocation.

Every access token belongs to a session, even without a refresh token. No I/O; times are parameters.
"""

from dataclasses import dataclass, field
from typing import Literal

from backctl.domain.account_status import obstacle_of
from backctl.domain.errors import AccountUnusable, TokenExpired, TokenNotYetValid, TokenRevoked
from backctl.domain.events import DomainEvent, RefreshTokenReused, SessionOpened, SessionRefreshed, SessionRevoked
from backctl.domain.quoting import quoted
from backctl.domain.refresh_token import RefreshToken
from backctl.domain.token_id import SECOND_US, issued_at
from backctl.domain.user import User
from backctl.domain.values import Instant, SessionId, UserId

Cause = Literal["requested", "reused", "deactivated", "password_changed", "expired", "mfa_reset", "restored"]
"""Why a session was revoked. The values are stored, so they are append-only."""

Use = Literal["rotated", "retried", "replayed"]
"""How a refresh token was used."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Lifetimes in microseconds. A refresh token lasts `refresh`, a session at most `session`.

    Within `grace` of its use a refresh token may be used again, as long as its successor is unused.
    """

    refresh: int
    session: int
    grace: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """The times of an access token to sign: issued at a microsecond, expiring at a whole second."""

    issued_at: Instant
    expires_at: Instant


@dataclass(slots=True, eq=False, kw_only=True)
class Session:
    """A session of an account. Change it only through its methods.

    `access_ttl` is the lifetime of its access tokens in microseconds. `ends_at` is its latest possible end,
    `expires_at` the expiry of its last token. `issued_at` is when its latest access token was issued; access tokens
    issued at `not_before` or earlier are void.
    """

    id: SessionId
    user_id: UserId
    issuer: str
    client_id: str
    audience: str
    scope: str
    access_ttl: int
    created_at: Instant
    issued_at: Instant
    expires_at: Instant
    ends_at: Instant
    not_before: Instant | None = None
    revoked_at: Instant | None = None
    revoked_because: Cause | None = None
    _recorded: list[DomainEvent] = field(default_factory=list, repr=False)

    @classmethod
    def open(
        cls,
        *,
        id: SessionId,  # noqa: A002 - the member's own name
        user: User,
        issuer: str,
        client_id: str,
        audience: str,
        scope: str,
        access_ttl: int,
        lifetime: int,
        barred_until: Instant | None,
        leeway: int,
        now: Instant,
    ) -> "Session":
        """Open a session without tokens, which lasts at most `lifetime` microseconds.

        `barred_until` is the issuer's not-before: the session starts after it, even if the clock is behind. Raises
        TokenNotYetValid when that is more than `leeway` microseconds ahead; AccountUnusable for an account that is
        inactive or expired, or whose owner must change the password first.
        """
        _require_usable(user, now=now)
        if barred_until is not None and barred_until > now + leeway:
            raise TokenNotYetValid(
                f"no token can be valid before {barred_until}: all tokens were revoked while a clock was ahead",
                hint="check the clock, then run '{backctl} token revoke --all' again",
            )
        begin = now if barred_until is None else Instant(max(now, barred_until + 1))
        return cls(
            id=id,
            user_id=user.id,
            issuer=issuer,
            client_id=client_id,
            audience=audience,
            scope=scope,
            access_ttl=access_ttl,
            created_at=begin,
            issued_at=begin,
            expires_at=begin,
            ends_at=begin.plus(lifetime),
        )

    def opened(self, jti: str, *, refreshable: bool) -> None:
        """Record that the first tokens were issued. Without a refresh token, the session ends with the access token."""
        if not refreshable:
            self.ends_at = self.expires_at
        self._recorded.append(
            SessionOpened(
                self.user_id,
                session=self.id,
                jti=jti,
                client_id=self.client_id,
                audience=self.audience,
                scope=self.scope,
                refreshable=refreshable,
                at=self.created_at,
            )
        )

    def refreshed(self, jti: str, *, retried: bool) -> None:
        """Record that new tokens were issued for a refresh token."""
        self._recorded.append(
            SessionRefreshed(self.user_id, session=self.id, jti=jti, retried=retried, at=self.issued_at)
        )

    def grant(self, user: User, *, leeway: int, now: Instant) -> Grant:
        """Return the times of the next access token: issued after `not_before`, and never past the account's end.

        Raises TokenNotYetValid when its date would be more than `leeway` microseconds ahead, because a clock was ahead
        when the session was opened, all sessions were revoked or the role changed; TokenExpired when less than a whole
        second is left.
        """
        moment = Instant(max(now, self.created_at, -1 if self.not_before is None else self.not_before + 1))
        if moment // SECOND_US * SECOND_US > now + leeway:
            raise TokenNotYetValid(
                f"a token of this session cannot be valid before {moment}: a clock was ahead when "
                + ("the session was opened" if moment == self.created_at else "the role of its account changed"),
                hint="check the clocks, then log in again",
            )
        end = self._bounded(user, moment + self.access_ttl) // SECOND_US
        if end <= moment // SECOND_US:
            raise TokenExpired(
                "the session or its account ends within a second", hint="log in again, or let them end later"
            )
        grant = Grant(moment, Instant(end * SECOND_US))
        self.issued_at = Instant(max(self.issued_at, moment))
        self.expires_at = Instant(max(self.expires_at, grant.expires_at))
        return grant

    def refresh_token(self, digest: bytes, user: User, *, lifetime: int, now: Instant) -> RefreshToken:
        """Return the next refresh token, valid for `lifetime` microseconds or until session or account end."""
        token = RefreshToken(digest, self.id, now, Instant(max(now, self._bounded(user, now + lifetime))))
        self.expires_at = Instant(max(self.expires_at, token.expires_at))
        return token

    def redeem(
        self,
        token: RefreshToken,
        successor: RefreshToken | None,
        *,
        first_use: bool,
        user: User,
        barred_until: Instant | None,
        grace: int,
        now: Instant,
    ) -> Use:
        """Decide how a refresh token of this session is used. The caller must have locked both rows.

        `first_use`: the token was unused until now. Otherwise `token` says when it was used, and `successor` is the
        token that replaced it. A replay revokes the session, because the thief cannot be told from the owner (RFC 9700
        §4.14.2). Raises TokenRevoked, and TokenExpired for a session or token that has ended.
        """
        if not first_use and not self._may_retry(token, successor, grace=grace, now=now):
            if self.revoke("reused", now=now):
                self._recorded.insert(0, RefreshTokenReused(self.user_id, session=self.id, at=self.revoked_at))
            return "replayed"
        why = why_void(
            revoked=self.revoked_at is not None,
            created_at=self.created_at,
            barred_until=barred_until,
            obstacle=user.login_obstacle(now=now),
        )
        if why is not None:
            raise TokenRevoked(f"the refresh token is not valid: {why}", hint="log in again")
        if min(token.expires_at, self.ends_at) <= now:
            raise TokenExpired("the refresh token has expired", hint="log in again")
        return "rotated" if first_use else "retried"

    def revoke(self, cause: Cause, *, now: Instant) -> bool:
        """Revoke the session; False if it is already revoked."""
        if self.revoked_at is not None:
            return False
        self.revoked_at, self.revoked_because = Instant(max(now, self.created_at)), cause
        self._recorded.append(SessionRevoked(self.user_id, session=self.id, cause=cause, at=self.revoked_at))
        return True

    def take_events(self) -> list[DomainEvent]:
        """Return and clear the events recorded since the last call, in order."""
        recorded, self._recorded = self._recorded, []
        return recorded

    def _bounded(self, user: User, end: int) -> int:
        return min(end, self.ends_at, self.ends_at if user.expires_at is None else user.expires_at)

    def _may_retry(self, token: RefreshToken, successor: RefreshToken | None, *, grace: int, now: Instant) -> bool:
        return (
            token.used_at is not None
            and abs(now - token.used_at) < grace  # abs: a clock that is behind must not extend the grace period
            and successor is not None
            and successor.used_at is None
        )


def why_void(*, revoked: bool, created_at: Instant, barred_until: Instant | None, obstacle: str | None) -> str | None:
    """Return why all tokens of a session are void, as the end of a sentence; None if they are not.

    `barred_until` is the issuer's not-before, `obstacle` the result of `User.login_obstacle`.
    """
    if revoked:
        return "its session was revoked"
    if barred_until is not None and created_at <= barred_until:
        return "all sessions that were open at that time were revoked"
    return None if obstacle is None else f"its account is {obstacle}"


@dataclass(frozen=True, slots=True)
class Standing:
    """The stored state that decides whether an access token is valid. `denied`: this token itself was revoked."""

    user_id: UserId
    issuer: str
    created_at: Instant
    not_before: Instant | None
    revoked_at: Instant | None
    barred_until: Instant | None
    is_active: bool
    account_expires_at: Instant | None
    denied: bool

    def why_void(self, *, sub: str, iss: str, jti: str, iat: int, now: Instant) -> str | None:
        """Return why a token with these claims and a valid signature is void; None if it is valid."""
        if (sub, iss) != (self.user_id, self.issuer):
            return "its session belongs to another account or issuer"
        if self.denied:
            return "it was revoked"
        why = why_void(
            revoked=self.revoked_at is not None,
            created_at=self.created_at,
            barred_until=self.barred_until,
            obstacle=obstacle_of(is_active=self.is_active, expires_at=self.account_expires_at, now=now),
        )
        if why is None and self.not_before is not None and issued_at(jti, iat) <= self.not_before:
            return "the role of its account has changed since it was issued"
        return why


def _require_usable(user: User, *, now: Instant) -> None:
    obstacle: str | None = user.login_obstacle(now=now)
    if obstacle is not None:
        inactive = obstacle == "inactive"
        hint = "run '{backctl} user activate'" if inactive else "give it a later expiry with '{backctl} user update'"
        raise AccountUnusable(f"the account {quoted(user.username.name)} is {obstacle}", hint=hint)
    if user.must_change_password:
        raise AccountUnusable(
            f"the owner of {quoted(user.username.name)} must change the password first",
            hint="set it with '{backctl} user set-password'",
        )

"""What the services of tokens and sessions answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from backctl.domain.values import Instant, Secret, SessionId, UserId

if TYPE_CHECKING:
    from backctl.domain.access_token import AccessClaims


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

    `id` is None for a token that was not issued here. `sessions` is how many of them were open.
    """

    revoked: Literal["token", "session", "user", "issuer"]
    id: str | None
    user_id: str | None
    sessions: int

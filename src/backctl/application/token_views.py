"""Results of the services for tokens and sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from backctl.domain.values import Instant, Secret, SessionId, UserId

if TYPE_CHECKING:
    from backctl.domain.access_token import AccessClaims
    from backctl.domain.errors import AnswerIsNo


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session of an account. `issued_at` is when its latest access token was issued, `expires_at` when its last token
    expires, `latest_expires_at` its end regardless of refreshes. `refreshable`: it has an unused refresh token.

    `last_seen_at` is None unless a service has reported it with the writer `last_seen`.
    """

    PLURAL: ClassVar = "sessions"
    TABLE: ClassVar = ("id", "state", "client_id", "created_at", "expires_at", "revoked_because")
    SPARE: ClassVar = ("revoked_because", "client_id", "created_at")

    id: SessionId
    user_id: UserId
    state: Literal["open", "expired", "revoked"]
    refreshable: bool
    client_id: str
    issuer: str
    audience: str
    scope: str | None
    created_at: Instant
    issued_at: Instant
    expires_at: Instant
    latest_expires_at: Instant
    revoked_at: Instant | None
    revoked_because: str | None
    last_seen_at: Instant | None


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """New tokens of a session. They cannot be shown again. In a dry run both tokens are None.

    `expires_in` is in seconds (RFC 6749 §5.1).
    """

    access_token: Secret | None
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: Secret | None
    expires_at: Instant
    refresh_expires_at: Instant | None
    session_id: SessionId
    jti: str
    user_id: UserId
    audience: str
    role: str
    scope: str | None


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The claims of a valid access token, with times in seconds, and two of the times as instants.

    `revocation` says whether the database was checked too.
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
class TokenCheck:
    """Whether an access token is valid, and its claims if it is.

    If it is not, `reason` is the code of the error without `token.`, and `problem` and `hint` explain it.
    """

    ok: bool
    reason: str | None = None
    problem: str | None = None
    hint: str | None = None
    iss: str | None = None
    aud: str | None = None
    sub: str | None = None
    client_id: str | None = None
    iat: int | None = None
    nbf: int | None = None
    exp: int | None = None
    jti: str | None = None
    sid: str | None = None
    role: str | None = None
    scope: str | None = None
    issued_at: Instant | None = None
    expires_at: Instant | None = None
    revocation: Literal["checked", "skipped"] | None = None

    @classmethod
    def of(cls, answer: "VerifiedToken | AnswerIsNo") -> Self:
        if isinstance(answer, VerifiedToken):
            claims = {member.name: getattr(answer, member.name) for member in fields(VerifiedToken)}
            return cls(True, **{**claims, "scope": answer.scope or None})
        return cls(False, answer.code.removeprefix("token."), answer.message, answer.hint)


@dataclass(frozen=True, slots=True)
class InspectedToken:
    """The unverified contents of a token. `verified` is always False: anyone may have written them."""

    verified: bool
    kind: Literal["access", "refresh"]
    header: Mapping[str, object] | None
    claims: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """What was revoked: a `token` by its jti, a `session`, the sessions of a `user`, or those of an `issuer`.

    `id` is None for a token that was not issued here. `revoked_sessions` counts the open sessions that were revoked.
    """

    revoked: Literal["token", "session", "user", "issuer"]
    id: str | None
    user_id: str | None
    revoked_sessions: int

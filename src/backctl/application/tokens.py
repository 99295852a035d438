"""The use cases of tokens: issue, verify, refresh, revoke."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.token_views import InspectedToken, IssuedTokens, Revocation, VerifiedToken
from backctl.application.views import Change
from backctl.domain.access_token import CLIENT_ID, AccessClaims
from backctl.domain.errors import (
    AnswerIsNo,
    InvalidInput,
    TokenExpired,
    TokenInvalid,
    TokenNotFound,
    TokenNotYetValid,
    TokenReused,
    TokenRevoked,
    TokenUnknown,
    UserNotFound,
)
from backctl.domain.quoting import quoted
from backctl.domain.refresh_token import ENTROPY_BYTES, digest_of, looks_like_one, refresh_token
from backctl.domain.token_id import ENTROPY_BITS, SECOND_US, token_id
from backctl.domain.values import Identity, Instant, Secret, SessionId

if TYPE_CHECKING:
    from backctl.application.ports.environment import Clock, IdSource
    from backctl.application.ports.security import TokenCodec
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.transactions import Transactions
    from backctl.domain.refresh_token import RefreshToken
    from backctl.domain.sessions import Grant, Lifetimes, Session, Standing
    from backctl.domain.user import User

ACCESS_TTL_MAX = 86_400 * SECOND_US
"""The longest lifetime of an access token, and how long a revoked one with an unknown expiry is remembered."""

NOTHING_REVOKED = Change(Revocation("token", None, None, revoked_sessions=0), changed=False)
"""The result of revoking something that is not a token of this installation."""

_VERIFIED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class TokenService:
    """Issue, verify, refresh and revoke tokens. Session state is only in the database; every change is one transaction.

    `access_ttl`, `lifetimes` and `leeway` are in microseconds. `leeway` is how far ahead of this clock a token may be
    dated and still be valid.
    """

    transactions: "Callable[[], Transactions]"
    reader: "Callable[[], Reader]"
    codec: "TokenCodec"
    clock: "Clock"
    new_id: "IdSource"
    issuer: str
    audience: str
    access_ttl: int
    lifetimes: "Lifetimes"
    leeway: int
    cached_standing: "Callable[[AccessClaims], Standing | None] | None" = None
    """Returns what the database said a moment ago, if the configuration permits that."""

    def issue(
        self,
        ident: str,
        *,
        ttl: int | None = None,
        audience: str | None = None,
        scope: str = "",
        pair: bool = False,
        client_id: str = CLIENT_ID,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[IssuedTokens]:
        """Open a session of an account and issue an access token, with `pair` also a refresh token.

        Checks no password and no second factor: the caller must have authenticated the account. `ttl` is in
        microseconds and must be whole seconds up to a day. Raises UserNotFound; AccountUnusable if the account is
        inactive or expired, or must change its password first; TokenExpired if it expires within this second;
        TokenNotYetValid if all tokens were revoked while a clock was ahead; InvalidInput for invalid claims.
        """
        step = partial(
            self.issuing,
            Identity.parse(ident),
            ttl=self._checked_ttl(ttl),
            audience=self.audience if audience is None else audience,
            scope=scope,
            pair=pair,
            client_id=client_id,
            sign=not dry_run,
        )
        self.codec.load()
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def issuing(
        self,
        identity: Identity,
        work: "UnitOfWork",
        *,
        ttl: int,
        audience: str,
        scope: str,
        pair: bool,
        client_id: str,
        sign: bool,
    ) -> Change[IssuedTokens]:
        """The step that `issue` runs. Without `sign`, the result contains no tokens."""
        from backctl.domain.sessions import Session

        user = work.users.get(identity)
        now = self.clock()
        session = Session.open(
            id=SessionId(self.new_id()),
            user=user,
            issuer=self.issuer,
            client_id=client_id,
            audience=audience,
            scope=scope,
            access_ttl=ttl,
            lifetime=self.lifetimes.session,
            barred_until=work.sessions.barred_until(self.issuer),
            leeway=self.leeway,
            now=now,
        )
        grant, secret, token = session.grant(user, leeway=self.leeway, now=now), None, None
        if pair:
            secret = _new_refresh_token()
            token = session.refresh_token(digest_of(secret), user, lifetime=self.lifetimes.refresh, now=grant.issued_at)
        issued = self._issued(session, user, grant, secret, token, sign=sign)
        session.opened(issued.jti, refreshable=pair)
        work.sessions.add(session)
        if token is not None:
            work.sessions.issue(token)
        work.write()
        return Change(issued, changed=True)

    def verify(self, token: str | Secret, *, audience: str | None = None, offline: bool = False) -> VerifiedToken:
        """Verify an access token and return its claims: signature, validity period, and revocation.

        `audience` replaces the configured one. `offline` does not use the database and ignores revocations. Costs one
        signature check (20 to 100 µs) and, unless `offline`, one statement, or a look into the cache if
        `tokens.revocation_max_age` permits it. Raises TokenInvalid, TokenExpired,
        TokenNotYetValid, TokenRevoked.
        """
        now = self.clock()
        claims = self._signed_by_us(token, now, audience)
        if not offline:
            asked = claims.sid, claims.jti
            if self.cached_standing is None:
                standing = self.reader().standings([asked]).get(asked)
            else:
                standing = self.cached_standing(claims)
            _require_good(claims, standing, now)
        return VerifiedToken.of(claims, checked=not offline)

    def verify_batch(
        self, tokens: Iterable[str | Secret], *, audience: str | None = None, offline: bool = False
    ) -> Iterator[VerifiedToken | AnswerIsNo]:
        """Verify many tokens, in order and in constant memory, with one statement for hundreds of them.

        Yields the claims of each valid token, and an error for each other token.
        """
        source = iter(tokens)
        while batch := list(islice(source, _VERIFIED_AT_ONCE)):
            now = self.clock()
            judged = [self._claims_or_refusal(token, now, audience) for token in batch]
            asked = [(found.sid, found.jti) for found in judged if isinstance(found, AccessClaims)]
            standings = {} if offline or not asked else self.reader().standings(asked)
            for found in judged:
                if not isinstance(found, AccessClaims):
                    yield found
                    continue
                try:
                    if not offline:
                        _require_good(found, standings.get((found.sid, found.jti)), now)
                except AnswerIsNo as refusal:
                    yield refusal
                else:
                    yield VerifiedToken.of(found, checked=not offline)

    def inspect(self, token: Secret) -> InspectedToken:
        """Return the unverified contents of a token. Raises TokenInvalid if it is malformed."""
        if looks_like_one(token.reveal()):
            digest_of(token)
            return InspectedToken(False, "refresh", None, None)
        found = self.codec.inspect(token.reveal())
        return InspectedToken(False, "access", found.header, found.payload)

    def refresh(self, token: Secret, *, by: Attribution, dry_run: bool = False) -> Change[IssuedTokens]:
        """Redeem a refresh token for new tokens of its session, with the account's current role. Uses the token up.

        A token that was used before revokes its session with all its tokens; this is committed even though TokenReused
        is raised. Raises TokenInvalid for a malformed token, TokenUnknown, TokenExpired, TokenRevoked; and
        TokenNotYetValid, without using the token up, if a clock was ahead when the session was opened.
        """
        from backctl.application.transactions import always

        step = partial(self.redeeming, digest_of(token), sign=not dry_run)
        self.codec.load()
        issued = self.transactions().run_any(step, by=by, dry_run=dry_run, commits=always)
        if issued is None:
            raise TokenReused(
                "the refresh token was used before; its session is revoked",
                hint="log in again; if you used it only once, somebody else has a copy",
            )
        return Change(issued, changed=True)

    def redeeming(self, digest: bytes, work: "UnitOfWork", *, sign: bool) -> IssuedTokens | None:
        """The step that `refresh` runs. None for a reused token, whose session it revokes. Always commit it."""
        owner = work.sessions.owner(digest)
        if owner is None:
            raise _unknown()
        try:
            user = work.users.get(Identity.parse(owner[0]))
        except UserNotFound:  # deleted meanwhile, together with the session
            raise _unknown() from None
        session, now = work.sessions.get(owner[1]), self.clock()
        if session.issuer != self.issuer:
            raise TokenInvalid("the refresh token is from another issuer", hint="compare its issuer with tokens.issuer")
        secret = _new_refresh_token()
        successor = digest_of(secret)
        first_use = work.sessions.use(digest, successor=successor, now=now)
        used = work.sessions.token(digest)
        if used is None:  # removed by a sweep meanwhile
            raise _unknown()
        replaced = None if first_use or used.successor is None else work.sessions.token(used.successor)
        use = session.redeem(
            used,
            replaced,
            first_use=first_use,
            user=user,
            barred_until=work.sessions.barred_until(session.issuer),
            grace=self.lifetimes.grace,
            now=now,
        )
        if use == "replayed":
            work.write()
            return None
        if use == "retried":
            work.sessions.retry(used, successor=successor, now=now)
        grant = session.grant(user, leeway=self.leeway, now=now)
        token = session.refresh_token(successor, user, lifetime=self.lifetimes.refresh, now=grant.issued_at)
        issued = self._issued(session, user, grant, secret, token, sign=sign)
        session.refreshed(issued.jti, retried=use == "retried")
        work.sessions.issue(token)
        work.write()
        return issued

    # Revocation.

    def revoke(self, token: Secret, *, by: Attribution, dry_run: bool = False) -> Change[Revocation]:
        """Revoke an access token, or the whole session of a refresh token (RFC 7009 §2.1).

        No change if it is already void or expired, was not issued here or is malformed: then it is invalid anyway
        (RFC 7009 §2.2).
        """
        text, now = token.reveal(), self.clock()
        try:
            if looks_like_one(text):
                return self.transactions().run(partial(self.revoking_owner, digest_of(token)), by=by, dry_run=dry_run)
            said = AccessClaims.read(self.codec.inspect(text).payload)
            self.codec.verify(text, now=now, audience=said.aud)
        except (TokenInvalid, TokenUnknown):
            return NOTHING_REVOKED
        except TokenExpired:
            return Change(Revocation("token", said.jti, said.sub, revoked_sessions=0), changed=False)
        except TokenNotYetValid:
            pass  # its signature is right, and it will become valid
        return self._deny(said.jti, said.sub, said.expires_at, by, dry_run=dry_run)

    def revoke_jti(self, jti: str, *, by: Attribution, dry_run: bool = False) -> Change[Revocation]:
        """Revoke the access token with this `jti`.

        Raises TokenNotFound if no token was issued with it, InvalidInput for an invalid `jti`.
        """
        if not (0 < len(jti) <= 255 and jti.isprintable()):
            raise InvalidInput(
                f"{quoted(jti)} is not a valid jti", hint="run '{backctl} token inspect' to see the jti of a token"
            )
        expires_at = self.clock().plus(ACCESS_TTL_MAX)
        return self._deny(jti, None, expires_at, by, dry_run=dry_run)

    def revoking_owner(self, digest: bytes, work: "UnitOfWork") -> Change[Revocation]:
        """The step that ends the session of the refresh token with this digest. Raises TokenUnknown."""
        owner = work.sessions.owner(digest)
        if owner is None:
            raise _unknown()
        session = work.sessions.get(owner[1])
        changed = session.revoke("requested", now=self.clock())
        work.write()
        return Change(
            Revocation("session", session.id, session.user_id, revoked_sessions=int(changed)), changed=changed
        )

    def denying(self, jti: str, sub: str | None, expires_at: Instant, work: "UnitOfWork") -> Change[Revocation]:
        """The step that revokes an access token. Always commit it: it may record a later expiry without a change."""
        sub = sub or work.sessions.issued_to(jti)
        if sub is None:
            raise TokenNotFound(
                f"no access token was issued with the jti {quoted(jti)}",
                hint="run '{backctl} token inspect' to see the jti of a token",
            )
        changed = work.sessions.deny(jti, subject=sub, expires_at=expires_at, now=self.clock())
        work.write()
        return Change(Revocation("token", jti, sub, revoked_sessions=0), changed=changed)

    # Helpers.

    def _deny(
        self, jti: str, sub: str | None, expires_at: Instant, by: Attribution, *, dry_run: bool
    ) -> Change[Revocation]:
        from backctl.application.transactions import always

        step = partial(self.denying, jti, sub, expires_at)
        return self.transactions().run_any(step, by=by, dry_run=dry_run, commits=always)

    def _checked_ttl(self, ttl: int | None) -> int:
        if ttl is None:
            return self.access_ttl
        if not SECOND_US <= ttl <= ACCESS_TTL_MAX or ttl % SECOND_US:
            raise InvalidInput(
                "the lifetime of an access token must be whole seconds from 1s to 1d", hint="write 15m, for example"
            )
        return ttl

    def _issued(
        self,
        session: "Session",
        user: "User",
        grant: "Grant",
        secret: Secret | None,
        token: "RefreshToken | None",
        *,
        sign: bool,
    ) -> IssuedTokens:
        """Build the issued tokens. A dry run signs nothing, since an offline verifier would accept the token."""
        from secrets import randbits

        claims = AccessClaims.issued(
            iss=session.issuer,
            aud=session.audience,
            sub=user.id,
            jti=token_id(grant.issued_at, randbits(ENTROPY_BITS)),
            sid=session.id,
            role=user.role,
            scope=session.scope,
            now=grant.issued_at,
            expires=grant.expires_at,
            client_id=session.client_id,
        )
        return IssuedTokens(
            token_type="Bearer",
            user_id=user.id,
            session_id=session.id,
            jti=claims.jti,
            access_token=self.codec.sign(claims) if sign else None,
            refresh_token=secret if sign else None,
            expires_in=claims.exp - claims.iat,
            expires_at=claims.expires_at,
            refresh_expires_at=None if token is None else token.expires_at,
            audience=claims.aud,
            role=claims.role,
            scope=claims.scope or None,
        )

    def _signed_by_us(self, token: str | Secret, now: Instant, audience: str | None) -> AccessClaims:
        text = token.reveal() if isinstance(token, Secret) else token
        if looks_like_one(text):
            raise TokenInvalid(
                "this is a refresh token, not an access token", hint="redeem it with '{backctl} token refresh'"
            )
        return self.codec.verify(text, now=now, audience=audience)

    def _claims_or_refusal(
        self, token: str | Secret, now: Instant, audience: str | None
    ) -> "AccessClaims | AnswerIsNo":
        try:
            return self._signed_by_us(token, now, audience)
        except AnswerIsNo as refusal:
            return refusal


def _require_good(claims: AccessClaims, standing: "Standing | None", now: Instant) -> None:
    """Raises TokenRevoked for a token that is void according to the database, or whose session is unknown."""
    why: str | None = "its session no longer exists"
    if standing is not None:
        why = standing.why_void(sub=claims.sub, iss=claims.iss, jti=claims.jti, iat=claims.iat, now=now)
    if why is not None:
        raise TokenRevoked(f"the token is not valid: {why}", hint="log in again")


def _new_refresh_token() -> Secret:
    from secrets import token_bytes

    return refresh_token(token_bytes(ENTROPY_BYTES))


def _unknown() -> TokenUnknown:
    return TokenUnknown("unknown refresh token", hint="log in again; its session may have been removed long ago")

"""The claims of access tokens and when a token is valid (RFC 7519, RFC 9068), apart from how it is signed.

Claims hold times in whole seconds, as the token does; parameters and results are `Instant`s. Errors contain no part of
a refused token, because its sender chose the text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from backctl.domain.errors import InvalidInput, TokenExpired, TokenInvalid, TokenNotYetValid
from backctl.domain.quoting import quoted
from backctl.domain.values import LATEST, Instant

TOKEN_TYPE = "at+jwt"  # RFC 9068 §2.1: no other JWT signed with the same key is accepted as an access token
_MEDIA_TYPE = "application/"
CLIENT_ID = "backctl"

TEXT_MAX = 255
SCOPE_MAX = 1000
_SECOND = 1_000_000
_LATEST = LATEST // _SECOND
_TEXTS = ("iss", "aud", "sub", "client_id", "jti", "sid", "role")
_TIMES = ("iat", "nbf", "exp")
# RFC 6749 §3.3: tokens of visible ASCII without `"` and `\`, separated by single spaces.
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


def is_token_type(typ: object) -> bool:
    """Whether `typ` in a header is the type of access tokens, with or without `application/`, in any case.

    RFC 9068 §4; RFC 7515 §4.1.9.
    """
    return isinstance(typ, str) and typ.isascii() and typ.lower().removeprefix(_MEDIA_TYPE) == TOKEN_TYPE


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """The claims of an access token. `sub` is the account's id, `sid` the session's; an empty `scope` is omitted."""

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
    scope: str = ""

    @classmethod
    def issued(
        cls,
        *,
        iss: str,
        aud: str,
        sub: str,
        jti: str,
        sid: str,
        role: str,
        scope: str = "",
        now: Instant,
        expires: Instant,
        client_id: str = CLIENT_ID,
    ) -> Self:
        """Return the claims of a token issued `now`. Times are rounded down, so it is never valid after `expires`.

        Raises InvalidInput for values that `read` would refuse.
        """
        second = now // _SECOND
        claims = cls(iss, aud, sub, client_id, second, second, expires // _SECOND, jti, sid, role, scope)
        if wrong := _wrong_member(claims.members()):
            raise InvalidInput(
                f"{quoted(str(getattr(claims, wrong)))} is not a valid {quoted(wrong)} claim",
                hint="write scopes as ASCII words separated by single spaces"
                if wrong == "scope"
                else f"use 1 to {TEXT_MAX} printable characters",
            )
        return claims

    @classmethod
    def read(cls, members: Mapping[str, object]) -> Self:
        """Return the claims of a payload whose signature was verified. Other claims are ignored (RFC 7519 §4).

        Every claim but `scope` is required and must have its exact type: `aud` is a string, not a list; times are
        integers, not fractions, strings or booleans. Raises TokenInvalid.
        """
        if _wrong_member(members):
            raise TokenInvalid(
                "a claim of the token is missing or has the wrong type",
                hint="run '{backctl} token inspect' to see its claims",
            )
        said: Mapping[str, Any] = members  # every type was checked above
        return cls(
            said["iss"],
            said["aud"],
            said["sub"],
            said["client_id"],
            said["iat"],
            said["nbf"],
            said["exp"],
            said["jti"],
            said["sid"],
            said["role"],
            said.get("scope", ""),
        )

    def members(self) -> dict[str, str | int]:
        """Return the payload, with the claims in the order of RFC 9068 §2.2."""
        members: dict[str, str | int] = {
            "iss": self.iss,
            "exp": self.exp,
            "aud": self.aud,
            "sub": self.sub,
            "client_id": self.client_id,
            "iat": self.iat,
            "nbf": self.nbf,
            "jti": self.jti,
            "sid": self.sid,
            "role": self.role,
        }
        if self.scope:
            members["scope"] = self.scope
        return members

    @property
    def issued_at(self) -> Instant:
        return Instant(self.iat * _SECOND)

    @property
    def expires_at(self) -> Instant:
        return Instant(self.exp * _SECOND)

    def require_meant_for(self, *, issuer: str, audience: str) -> None:
        """Raises TokenInvalid unless issuer and audience are exactly these."""
        if self.iss != issuer or self.aud != audience:
            raise TokenInvalid(
                "the token is from another issuer or for another audience",
                hint="compare tokens.issuer and tokens.audience with the output of '{backctl} token inspect'",
            )

    def require_current(self, now: Instant, *, leeway: int) -> None:
        """Require that the token is valid at `now`, allowing a clock difference of `leeway` microseconds.

        It is valid from `nbf`, inclusive, to `exp`, exclusive (RFC 7519 §4.1.4, §4.1.5). A token issued in the future
        is treated like one that is not valid yet. Raises TokenExpired, TokenNotYetValid.
        """
        if now - leeway >= self.exp * _SECOND:
            raise TokenExpired(
                f"the token expired at {self.expires_at}", hint="issue a new token, or refresh the session"
            )
        begins = max(self.nbf, self.iat)
        if now + leeway < begins * _SECOND:
            raise TokenNotYetValid(
                f"the token is not valid before {Instant(begins * _SECOND)}",
                hint="compare the clocks of both machines; tokens.leeway only allows a small difference",
            )


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """The unverified header and payload of a token. Anyone may have written them."""

    header: Mapping[str, object]
    payload: Mapping[str, object]


def _wrong_member(members: Mapping[str, object]) -> str | None:
    """Return the first claim that is missing or has the wrong type; None when all are valid."""
    get = members.get
    for name in _TEXTS:
        text = get(name)
        if type(text) is not str or not 0 < len(text) <= TEXT_MAX or not text.isprintable():
            return name
    for name in _TIMES:
        time = get(name)
        if type(time) is not int or not 0 <= time <= _LATEST:  # not isinstance: bool is a subclass of int
            return name
    if "scope" in members:
        scope = members["scope"]
        if type(scope) is not str or len(scope) > SCOPE_MAX or not _SCOPE.fullmatch(scope):
            return "scope"
    return None

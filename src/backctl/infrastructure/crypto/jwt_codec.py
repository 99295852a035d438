"""Signs and verifies access tokens as JWTs (RFC 7515, RFC 7519, RFC 9068), following RFC 8725.

PyJWT signs the tokens but does not verify them: `jwt.decode` does not check the type, the other members of the header,
duplicate members and short keys. This module checks all of this with the primitives of `cryptography` and `hmac`.

Checks run in the order of cost and trust: first the size, the form and the header, then the signature. The payload is
not parsed before the signature is verified.
"""

from collections.abc import Callable
from typing import Final

from backctl.domain.access_token import TOKEN_TYPE, AccessClaims, UnverifiedToken, is_token_type
from backctl.domain.errors import InvalidInput, TokenInvalid
from backctl.domain.key import Key
from backctl.domain.keyring import Keyring
from backctl.domain.values import Instant, Secret
from backctl.infrastructure.crypto.signatures import Verifier, signing_key, verifier
from backctl.infrastructure.crypto.strict_encoding import json_object, unpadded

TOKEN_MAX: Final = 8192
"""The limit of characters in a token, as common servers accept in one header. A typical token has 500 to 900."""

_HEADER_MAX = 512
_HEADER: Final = frozenset(("typ", "alg", "kid"))
_REMEMBERED_MAX = 64

# Microseconds. A destroyed key is rejected within the first time, a new key is accepted within the second.
KEYRING_AGE_MAX: Final = 10_000_000
KEYRING_AGE_MIN: Final = 1_000_000


class _Trusted:
    """The verification keys of one keyring. Each is parsed at its first use.

    `headers` caches the headers of tokens with valid signatures, so that the same header is checked only once. Nobody
    can add an entry without a key.
    """

    __slots__ = ("_keys", "_parsed", "headers", "read_at", "ring")

    def __init__(self, ring: Keyring, read_at: Instant) -> None:
        self.ring = ring
        self.read_at = read_at
        self.headers: dict[bytes, Verifier] = {}
        # Include standby keys, because another instance may already have promoted one.
        self._keys = {key.kid: key for key in ring.keys if key.purpose == "sign"}
        self._parsed: dict[str, Verifier] = {}

    def named(self, kid: str) -> Verifier | None:
        """Return the key with this kid; None if it is unknown. Raises KeyringDamaged when it is too weak."""
        found = self._parsed.get(kid)
        if found is None and (key := self._keys.get(kid)) is not None:
            found = self._parsed[kid] = verifier(key)
        return found

    def remember(self, header: bytes, key: Verifier) -> None:
        if len(self.headers) >= _REMEMBERED_MAX:
            self.headers.clear()
        self.headers[header] = key


class JwtCodec:
    """Signs with the primary key of purpose `sign`, and verifies with all keys of that purpose.

    `keyring` reads the keyring. It is called again after ten seconds, or after one second when a token names an unknown
    key, so that a running service follows a rotation. `leeway` is in microseconds. Threads can share a codec.
    """

    def __init__(self, keyring: Callable[[], Keyring], *, issuer: str, audience: str, leeway: int) -> None:
        self._read = keyring
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._state: _Trusted | None = None
        self._signing: tuple[Key, object] | None = None

    def load(self) -> None:
        """Import PyJWT and its signing code, which takes 80 ms the first time."""
        import jwt  # noqa: F401 - see above

    def sign(self, claims: AccessClaims) -> Secret:
        """Sign `claims` with the key that is primary at their time of issue, and return the token.

        Raises InvalidInput if the token is longer than `verify` accepts, and the errors of reading the keyring.
        """
        import jwt

        key = self._trusted(claims.issued_at, KEYRING_AGE_MAX).ring.primary("sign")
        signing = self._signing  # read once, because another thread may replace it
        if signing is None or signing[0] != key:
            signing = self._signing = (key, signing_key(key))
        headers = {"typ": TOKEN_TYPE, "kid": key.kid}
        token = jwt.encode(claims.members(), signing[1], algorithm=key.alg, headers=headers)  # type: ignore[arg-type]  # `signing_key` returns the type that PyJWT expects for the algorithm
        if len(token) > TOKEN_MAX:
            raise InvalidInput(
                f"the token would have more than {TOKEN_MAX} characters", hint="use a shorter scope or audience"
            )
        return Secret(token)

    def verify(self, token: str, *, now: Instant, audience: str | None = None) -> AccessClaims:
        """Return the claims of a token after checking its signature, issuer, audience and times.

        Does not check whether the token was revoked. `audience` replaces the configured one. Takes one signature check
        (20 to 100 µs, HS256 2 µs) and about 10 µs more; the first token of each key also parses the key, and the first
        token in ten seconds reads the keyring. Raises TokenInvalid, TokenExpired, TokenNotYetValid, and the errors of
        reading the keyring.
        """
        if len(token) > TOKEN_MAX or not token.isascii():
            raise _malformed()
        message, _, encoded = token.encode().rpartition(b".")
        header, _, payload = message.partition(b".")
        trusted = self._trusted(now, KEYRING_AGE_MAX)
        key = trusted.headers.get(header)
        known = key is not None
        if key is None:
            key, trusted = self._named_in(header, trusted, now)
        signature = unpadded(encoded)
        if signature is None or not payload or b"." in payload:
            raise _malformed()
        if len(signature) != key.length or now >= key.not_after or not key.accepts(signature, message):
            raise _unverified()
        if not known:
            trusted.remember(header, key)
        members = _object_in(payload)
        if members is None:
            raise _malformed()
        claims = AccessClaims.read(members)
        claims.require_meant_for(issuer=self._issuer, audience=self._audience if audience is None else audience)
        claims.require_current(now, leeway=self._leeway)
        return claims

    def inspect(self, token: str) -> UnverifiedToken:
        """Return the contents of a token without any verification. Raises TokenInvalid for an unreadable token."""
        parts = token.encode().split(b".") if len(token) <= TOKEN_MAX and token.isascii() else []
        if len(parts) == 3:
            header, payload = _object_in(parts[0]), _object_in(parts[1])
            if header is not None and payload is not None:
                return UnverifiedToken(header, payload)
        raise _malformed()

    def _named_in(self, header: bytes, trusted: _Trusted, now: Instant) -> tuple[Verifier, _Trusted]:
        """Return the key that a header names, and the keys that include it. Raises TokenInvalid."""
        members = _object_in(header) if len(header) <= _HEADER_MAX else None
        if members is None:
            raise _malformed()
        kid, alg = members.get("kid"), members.get("alg")
        if members.keys() != _HEADER or not is_token_type(members["typ"]) or not isinstance(kid, str):
            raise TokenInvalid(
                "the token is not an access token",
                hint="the header of an access token has exactly the members typ (at+jwt), alg and kid; "
                "run '{backctl} token inspect' to see the header",
            )
        key = trusted.named(kid)
        if key is None:
            trusted = self._trusted(now, KEYRING_AGE_MIN)
            key = trusted.named(kid)
        if key is None or key.alg != alg:
            raise _unverified()
        return key, trusted

    def _trusted(self, now: Instant, age: int) -> _Trusted:
        """Return the keys. Reads them again if they are `age` microseconds old, or if the clock was set back."""
        state = self._state
        if state is None or not 0 <= now - state.read_at < age:
            ring = self._read()
            if state is not None and ring == state.ring:
                state.read_at = now
            else:
                state = self._state = _Trusted(ring, now)
        return state


def _object_in(segment: bytes) -> dict[str, object] | None:
    content = unpadded(segment)
    return None if content is None else json_object(content)


def _malformed() -> TokenInvalid:
    return TokenInvalid(
        "the token is malformed",
        hint=f"a signed token is three base64url parts separated by dots, at most {TOKEN_MAX} characters long",
    )


def _unverified() -> TokenInvalid:
    return TokenInvalid(
        "no key of this installation verifies the token",
        hint="compare the kid that '{backctl} token inspect' shows with '{backctl} key list'",
    )

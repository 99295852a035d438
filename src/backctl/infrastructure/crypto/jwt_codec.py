"""Access tokens as signed JWTs (RFC 7515, RFC 7519, RFC 9068), verified as RFC 8725 demands.

PyJWT signs. It does not verify: bare `jwt.decode` leaves the type, the header's other members, duplicate members and
short keys to its caller, so all of this is done here, on the primitives of `cryptography` and `hmac`.

The order is that of cost and trust: the size, the form and the header are judged first; then the signature; and no byte
of the payload is read before that was right.
"""

from collections.abc import Callable
from typing import Final

from backctl.domain.access_token import TOKEN_TYPE, AccessClaims, UnverifiedToken
from backctl.domain.errors import InvalidInput, TokenInvalid
from backctl.domain.key import Key
from backctl.domain.keyring import Keyring
from backctl.domain.values import Instant, Secret
from backctl.infrastructure.crypto.signatures import Verifier, signing_key, verifier
from backctl.infrastructure.crypto.strict_encoding import json_object, unpadded

TOKEN_MAX: Final = 8192
"""Characters of a token, the longest that common servers take in one header. Ours have 500 to 900."""

_HEADER_MAX = 512
_HEADER: Final = frozenset(("typ", "alg", "kid"))
_REMEMBERED_MAX = 64

# Microseconds. A key that was destroyed ends within the first, one that was just made is known within the second.
KEYRING_AGE_MAX: Final = 10_000_000
KEYRING_AGE_MIN: Final = 1_000_000


class _Trusted:
    """The keys of one keyring that may verify, each parsed when it is first named.

    `headers` remembers the spellings of headers whose signature was right, so that the same words are judged once;
    nobody without a key can put anything there.
    """

    __slots__ = ("_keys", "_parsed", "headers", "read_at", "ring")

    def __init__(self, ring: Keyring, read_at: Instant) -> None:
        self.ring = ring
        self.read_at = read_at
        self.headers: dict[bytes, Verifier] = {}
        # Standby keys too: another instance may have promoted one already.
        self._keys = {key.kid: key for key in ring.keys if key.purpose == "sign"}
        self._parsed: dict[str, Verifier] = {}

    def named(self, kid: str) -> Verifier | None:
        """The key of that name. Raises KeyringDamaged when it is too weak."""
        found = self._parsed.get(kid)
        if found is None and (key := self._keys.get(kid)) is not None:
            found = self._parsed[kid] = verifier(key)
        return found

    def remember(self, header: bytes, key: Verifier) -> None:
        if len(self.headers) >= _REMEMBERED_MAX:
            self.headers.clear()
        self.headers[header] = key


class JwtCodec:
    """Signs with the primary key of purpose `sign`, verifies with all of that purpose.

    `keyring` reads the keyring; it is asked again after ten seconds, and after one when a token names a key that is not
    known, so that a running service follows a rotation. `leeway` is in microseconds. One codec may serve many threads.
    """

    def __init__(self, keyring: Callable[[], Keyring], *, issuer: str, audience: str, leeway: int) -> None:
        self._read = keyring
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._state: _Trusted | None = None
        self._signing: tuple[Key, object] | None = None

    def load(self) -> None:
        """Import PyJWT and what it signs with: 80 ms at the first time."""
        import jwt  # noqa: F401 - see above

    def sign(self, claims: AccessClaims) -> Secret:
        """The token that says `claims`, under the primary key as of their time of issue.

        Raises InvalidInput for one that would be longer than `verify` takes, and what reading the keyring raises.
        """
        import jwt

        key = self._trusted(claims.issued_at, KEYRING_AGE_MAX).ring.primary("sign")
        signing = self._signing  # read once: another thread may replace it
        if signing is None or signing[0] != key:
            signing = self._signing = (key, signing_key(key))
        headers = {"typ": TOKEN_TYPE, "kid": key.kid}
        token = jwt.encode(claims.members(), signing[1], algorithm=key.alg, headers=headers)  # type: ignore[arg-type]  # `signing_key` gives what PyJWT takes for that algorithm
        if len(token) > TOKEN_MAX:
            raise InvalidInput(
                f"the token would have more than {TOKEN_MAX} characters", hint="use a shorter scope or audience"
            )
        return Secret(token)

    def verify(self, token: str, *, now: Instant, audience: str | None = None) -> AccessClaims:
        """What a token says that one of our keys signed, for us, and that counts now.

        Whether it was revoked is for others to say. `audience` stands for the configured one. The cost is that of one
        signature check (20 to 100 µs, HS256 2 µs) and some 10 µs; the first token of each key parses it, the first in
        ten seconds reads the keyring. Raises TokenInvalid, TokenExpired, TokenNotYetValid, and what reading the keyring
        raises.
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
        """What a token says about itself, without any check or key. Raises TokenInvalid for what cannot be read."""
        parts = token.encode().split(b".") if len(token) <= TOKEN_MAX and token.isascii() else []
        if len(parts) == 3:
            header, payload = _object_in(parts[0]), _object_in(parts[1])
            if header is not None and payload is not None:
                return UnverifiedToken(header, payload)
        raise _malformed()

    def _named_in(self, header: bytes, trusted: _Trusted, now: Instant) -> tuple[Verifier, _Trusted]:
        """The key that a header names, and the keys it is one of. Raises TokenInvalid."""
        members = _object_in(header) if len(header) <= _HEADER_MAX else None
        if members is None:
            raise _malformed()
        kid, alg = members.get("kid"), members.get("alg")
        if members.keys() != _HEADER or members["typ"] != TOKEN_TYPE or not isinstance(kid, str):
            raise TokenInvalid(
                "the token is not an access token",
                hint="the header of an access token has exactly the members typ (at+jwt), alg and kid; "
                "run 'backctl token inspect' to see the header",
            )
        key = trusted.named(kid)
        if key is None:
            trusted = self._trusted(now, KEYRING_AGE_MIN)
            key = trusted.named(kid)
        if key is None or key.alg != alg:
            raise _unverified()
        return key, trusted

    def _trusted(self, now: Instant, age: int) -> _Trusted:
        """The keys, read anew when that was `age` microseconds ago, or in the future of a clock that was set back."""
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
        hint="compare the kid that 'backctl token inspect' shows with 'backctl key list'",
    )

"""Access tokens: all checks of backctl compared with PyJWT's minimum, for each algorithm, with keys parsed in advance.

`jwt.decode` gets a key object, one algorithm, issuer and audience. It does not check the type, other header members,
duplicate members, the canonical form and the size.
"""

from functools import partial
from typing import Any

import jwt
from tests.published_keys import SIGNING

from backctl.domain.access_token import AccessClaims
from backctl.domain.key import Key, kind_of
from backctl.domain.keyring import Keyring
from backctl.infrastructure.crypto.jwt_codec import JwtCodec
from backctl.infrastructure.host import new_id, now
from benchmarks.calls import Call, interleaved_calls
from benchmarks.report import Comparison, section

BATCH = 200
_ISSUER, _AUDIENCE = "advanced-backend", "api-users"
_LIFE = 3_600_000_000  # microseconds; longer than any benchmark


def beside_pyjwt(rounds: int) -> str:
    """Verify one token repeatedly, and a batch of different tokens."""
    calls: list[Call] = []
    comparisons: list[Comparison] = []
    for alg, jwk in SIGNING.items():
        key = _key(alg, jwk)
        codec = _codec(Keyring((key,)))
        public = key.secret_bytes() if key.is_symmetric else jwt.PyJWK.from_dict({**jwk, "alg": alg}).key.public_key()
        tokens = [codec.sign(_claims()).reveal() for _ in range(BATCH)]
        ours, theirs = f"{alg}: tokens.verify", f"{alg}: jwt.decode"
        for suffix, batch in (("", tokens[:1]), (f", {BATCH} tokens", tokens)):
            calls += [
                Call(ours + suffix, partial(_ours, codec, batch), len(batch)),
                Call(theirs + suffix, partial(_theirs, public, alg, batch), len(batch)),
            ]
            comparisons.append(Comparison(ours + suffix, theirs + suffix, 1.0))
    return section("Verifying access tokens", interleaved_calls(calls, rounds), comparisons, (), what="call", unit="µs")


def _codec(ring: Keyring) -> JwtCodec:
    return JwtCodec(lambda: ring, issuer=_ISSUER, audience=_AUDIENCE, leeway=0)


def _key(alg: str, jwk: dict[str, str]) -> Key:
    kind = kind_of("sign", alg)
    material = tuple((name, jwk[name]) for name in kind.members)
    return Key(f"sign-{alg}", "sign", "primary", *kind[:3], now().isoformat(), None, material)


def _claims() -> AccessClaims:
    at = now()
    sub, jti, sid = (new_id() for _ in range(3))
    return AccessClaims.issued(
        iss=_ISSUER, aud=_AUDIENCE, sub=sub, jti=jti, sid=sid, role="user", now=at, expires=at.plus(_LIFE)
    )


def _ours(codec: JwtCodec, tokens: list[str]) -> bool:
    return all(codec.verify(token, now=now()).aud == _AUDIENCE for token in tokens)


def _theirs(key: Any, alg: str, tokens: list[str]) -> bool:
    return all(
        jwt.decode(token, key, algorithms=[alg], audience=_AUDIENCE, issuer=_ISSUER)["aud"] == _AUDIENCE
        for token in tokens
    )

"""Properties that all refusals of a token share."""

import pytest
from tests.unit.tokens.minting import NOW

from backctl.domain.errors import AnswerIsNo, TokenExpired, TokenInvalid, TokenNotYetValid
from backctl.domain.values import Instant
from backctl.infrastructure.crypto.jwt_codec import JwtCodec

_TELLING = 10  # characters of a token that no message contains by chance


def refusal(codec: JwtCodec, token: str, *, now: Instant = NOW, audience: str | None = None) -> AnswerIsNo:
    """Return the error of `verify`. It is one of the three token errors and contains no part of the token."""
    with pytest.raises((TokenInvalid, TokenExpired, TokenNotYetValid)) as raised:
        codec.verify(token, now=now, audience=audience)
    error = raised.value
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = f"{error} {error!r} {error.hint} {error.args}"
    assert not any(token[at : at + _TELLING] in shown for at in range(len(token) - _TELLING + 1))
    return error


def refused(codec: JwtCodec, token: str, why: str = "", *, now: Instant = NOW) -> None:
    """Check that the token is rejected as invalid and that the message contains `why`."""
    error = refusal(codec, token, now=now)
    assert (type(error), error.code) == (TokenInvalid, "token.invalid")
    assert why in error.message


MALFORMED = "is malformed"
NO_ACCESS_TOKEN = "is not an access token"
NO_KEY = "no key of this installation verifies"
NOT_SAID = "is missing or has the wrong type"
NOT_FOR_US = "another issuer or for another audience"

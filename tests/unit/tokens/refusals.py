"""What every refusal of a token has in common, whoever refuses it and why."""

import pytest
from tests.unit.tokens.minting import NOW

from backctl.domain.errors import AnswerIsNo, TokenExpired, TokenInvalid, TokenNotYetValid
from backctl.domain.values import Instant
from backctl.infrastructure.crypto.jwt_codec import JwtCodec

_TELLING = 10  # characters of a token that no message happens to contain


def refusal(codec: JwtCodec, token: str, *, now: Instant = NOW, audience: str | None = None) -> AnswerIsNo:
    """The error that `verify` answers. It is one of the three, and nothing of the token hangs on it."""
    with pytest.raises((TokenInvalid, TokenExpired, TokenNotYetValid)) as raised:
        codec.verify(token, now=now, audience=audience)
    error = raised.value
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = f"{error} {error!r} {error.hint} {error.args}"
    assert not any(token[at : at + _TELLING] in shown for at in range(len(token) - _TELLING + 1))
    return error


def refused(codec: JwtCodec, token: str, why: str = "", *, now: Instant = NOW) -> None:
    """It is no token of ours, and the message says `why`."""
    error = refusal(codec, token, now=now)
    assert (type(error), error.code) == (TokenInvalid, "token.invalid")
    assert why in error.message


MALFORMED = "is malformed"
NO_ACCESS_TOKEN = "is not an access token"
NO_KEY = "no key of this installation verifies"
NOT_SAID = "does not say what"
NOT_FOR_US = "another issuer or for another audience"

"""For each algorithm: its key, a codec with it as the primary key, and a valid token."""

from dataclasses import dataclass

import pytest
from tests.unit.tokens.minting import ALGORITHMS, CLAIMS, NOW, codec_of, key_of, minted

from backctl.domain.key import Key
from backctl.infrastructure.crypto.jwt_codec import JwtCodec


@dataclass(frozen=True, slots=True)
class Scene:
    alg: str
    key: Key
    codec: JwtCodec
    token: str

    @property
    def parts(self) -> tuple[str, str, str]:
        header, payload, signature = self.token.split(".")
        return header, payload, signature


@pytest.fixture(params=ALGORITHMS)
def scene(request: pytest.FixtureRequest) -> Scene:
    key = key_of(request.param)
    codec, token = codec_of(key), minted(key)
    assert codec.verify(token, now=NOW) == CLAIMS
    return Scene(request.param, key, codec, token)

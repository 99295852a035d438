"""Attacks on the form: only the exact compact form of a token signed by a known key is accepted."""

import json
from base64 import b64encode, urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.tokens.compact_form import b64, compact, octets, plain
from tests.unit.tokens.conftest import Scene
from tests.unit.tokens.minting import ALGORITHMS, CLAIMS, NOW, codec_of, header_of, key_of, minted, with_claims
from tests.unit.tokens.refusals import MALFORMED, NO_KEY, refused

from backctl.domain.errors import TokenExpired, TokenInvalid, TokenNotYetValid
from backctl.infrastructure.crypto.jwt_codec import TOKEN_MAX, JwtCodec

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def is_refused(codec: JwtCodec, token: str) -> bool:
    try:
        codec.verify(token, now=NOW)
    except TokenInvalid:
        return True
    return False


def test_a_token_cut_off_anywhere_is_refused(scene: Scene) -> None:
    for length in range(len(scene.token)):
        assert is_refused(scene.codec, scene.token[:length]), length
        assert is_refused(scene.codec, scene.token[length + 1 :]), length


def test_a_token_with_one_flipped_bit_anywhere_is_refused(scene: Scene) -> None:
    for at in range(len(scene.token)):
        for bit in range(8):
            flipped = chr(ord(scene.token[at]) ^ (1 << bit))
            assert is_refused(scene.codec, scene.token[:at] + flipped + scene.token[at + 1 :]), (at, bit)


def test_a_token_with_one_character_too_many_or_two_exchanged_is_refused(scene: Scene) -> None:
    token = scene.token
    for at in range(len(token) + 1):
        for further in ("A", ".", "=", " ", "\0"):
            assert is_refused(scene.codec, token[:at] + further + token[at:]), (at, further)
    for at in range(len(token) - 1):
        exchanged = token[:at] + token[at + 1] + token[at] + token[at + 2 :]
        assert exchanged == token or is_refused(scene.codec, exchanged), at


def test_base64url_has_one_spelling(scene: Scene) -> None:
    """The unused bits of the last character must be zero; other spellings of the same bytes are rejected."""
    for part, name in enumerate(("header", "payload", "signature")):
        parts = list(scene.parts)
        rest = len(parts[part]) % 4
        for last in _ALPHABET if rest else "":
            again = parts[part][:-1] + last
            if again != parts[part] and octets(again) == octets(parts[part]):
                refused(scene.codec, ".".join([*parts[:part], again, *parts[part + 1 :]]))
        for text in (f"{parts[part]}=", f"{parts[part]}==", f"{parts[part]}\n", f"{parts[part]} ", f"={parts[part]}"):
            assert is_refused(scene.codec, ".".join([*parts[:part], text, *parts[part + 1 :]])), name
    signature = octets(scene.parts[2])
    for spelled in (b64encode(signature), urlsafe_b64encode(signature), b64encode(signature).rstrip(b"=")):
        again = ".".join([*scene.parts[:2], spelled.decode()])
        assert again == scene.token or is_refused(scene.codec, again)


@pytest.mark.parametrize(
    "form",
    ["Bearer {}", " {}", "{} ", "{}\n", "\n{}", "\ufeff{}", "{}\0", '"{}"', "'{}'", "{}.", ".{}", "{}..", "{}.{}",
     "{},{}", "{};", "{}#", "{}?x=1", "data:{}", "bkr_{}", "é{}", "{}\ud800", "{}\u200b"],
)  # fmt: skip
def test_a_token_with_anything_around_it_is_refused(scene: Scene, form: str) -> None:
    refused(scene.codec, form.replace("{}", scene.token), MALFORMED)


def test_what_is_no_token_at_all_is_refused(scene: Scene) -> None:
    header, payload, signature = scene.parts
    wide = "".join(chr(ord(character) + 0xFEE0) if character.isalnum() else character for character in scene.token)
    for text in ("", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d", "x" * 100, "." * 100, "\0", "é", wide):
        refused(scene.codec, text, MALFORMED)
    for parts in (
        (header,), (payload,), (signature,), (header, ""), (header, "", ""), ("", payload, ""), ("", "", signature),
        (header, payload), (header, signature), (payload, signature), (header, "", signature), ("", payload, signature),
        (payload, header, signature), (signature, payload, header), (header, payload, "", signature),
        (header, payload, payload, signature), ("", header, payload, signature), (header, payload, signature, ""),
    ):  # fmt: skip
        refused(scene.codec, ".".join(parts))
    refused(scene.codec, f"{header}.{payload}.", NO_KEY)


def test_the_json_serializations_are_refused(scene: Scene) -> None:
    """RFC 7515 §7.2. Accepting them could let two readers take different payloads for the signed one."""
    header, payload, signature = scene.parts
    flattened = {"payload": payload, "protected": header, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}
    for value in (flattened, {**flattened, "header": {"kid": scene.key.kid}}, general, [scene.token]):
        refused(scene.codec, json.dumps(value), MALFORMED)


def test_a_token_in_a_token_is_refused(scene: Scene) -> None:
    refused(scene.codec, minted(scene.key, scene.token.encode()), MALFORMED)
    refused(scene.codec, minted(scene.key, {"token": scene.token}))
    refused(scene.codec, minted(scene.key, scene.token.encode(), header_of(scene.key, cty="JWT")))
    encrypted = {"alg": "dir", "enc": "A256GCM", "kid": scene.key.kid, "typ": "at+jwt"}
    refused(scene.codec, ".".join([b64(plain(encrypted)), "", b64(b"n" * 12), scene.parts[1], b64(b"t" * 16)]))


def test_a_signature_of_another_length_or_encoding_is_refused(scene: Scene) -> None:
    header, payload, text = scene.parts
    signature = octets(text)
    length = len(signature)
    wrong = [b"", b"\0", b"\0" * length, b"\xff" * length, signature[::-1], signature[:-1], signature[1:]]
    wrong += [signature + b"\0", b"\0" + signature, signature * 2, signature[: length // 2]]
    wrong += [signature.hex().encode(), text.encode()]
    if scene.alg == "ES256":
        first, second = signature[:32], signature[32:]
        wrong += [second + first, b"\0" + first + b"\0" + second]
        wrong.append(encode_dss_signature(int.from_bytes(first, "big"), int.from_bytes(second, "big")))
    for other in wrong:
        refused(scene.codec, f"{header}.{payload}.{b64(other)}", NO_KEY)


def test_a_signature_of_another_token_is_refused(scene: Scene) -> None:
    for changed in (with_claims(role="admin"), with_claims(sub="someone-else"), with_claims(exp=CLAIMS.exp + 1)):
        other = minted(scene.key, changed)
        header, payload, _ = other.split(".")
        assert scene.codec.verify(other, now=NOW) != CLAIMS
        refused(scene.codec, f"{header}.{payload}.{scene.parts[2]}", NO_KEY)


def test_a_token_is_at_most_8192_characters_long(scene: Scene) -> None:
    assert TOKEN_MAX == 8192
    accepted = 0
    for size in range(4500, 6200):
        token_length = len(scene.token) + (size * 4) // 3
        if abs(token_length - TOKEN_MAX) > 40:
            continue
        token = minted(scene.key, with_claims(x="x" * size))
        if len(token) <= TOKEN_MAX:
            assert scene.codec.verify(token, now=NOW) == CLAIMS
            accepted = max(accepted, len(token))
        else:
            refused(scene.codec, token, MALFORMED)
    assert accepted > TOKEN_MAX - 3
    for text in ("x" * 10**7, f"{'a.' * 10**6}", compact(header_of(scene.key), b"{" * 10**6, b"")):
        assert is_refused(scene.codec, text)


def test_what_can_be_refused_without_cryptography_is(scene: Scene) -> None:
    header, payload, signature = scene.parts
    state = scene.codec._state
    assert state is not None

    def accepts(signature: bytes, message: bytes) -> bool:
        raise AssertionError("a signature was computed")

    dear = state.headers.pop(header.encode())._replace(accepts=accepts)
    state._parsed[scene.key.kid] = dear
    for token in (
        "", header, f"{header}.{payload}", f"{header}..{signature}", f"{header}.{payload}.{signature[:-1]}",
        f"{header}.{payload}.{signature}AAAA", f"{header}.{payload}.{payload}.{signature}", f"{scene.token}=",
        f"{header}.{'A' * TOKEN_MAX}.{signature}", minted(scene.key, header=header_of(scene.key, crit=["x"])),
        minted(scene.key, header=header_of(scene.key, alg="none")), minted(scene.key, header={}),
        minted(scene.key, header=header_of(scene.key, kid="unknown")),
    ):  # fmt: skip
        refused(scene.codec, token)
    with pytest.raises(AssertionError, match="was computed"):
        scene.codec.verify(scene.token, now=NOW)


# Random mutations.

TOKENS = {alg: minted(key_of(alg)) for alg in ALGORITHMS}
EVERY_KEY = codec_of(*(key_of(alg) for alg in ALGORITHMS))
PIECES = st.sampled_from([part for token in TOKENS.values() for part in [*token.split("."), token]])


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """Draw a valid token with some parts cut, inserted, repeated or replaced by parts of other valid tokens."""
    token = draw(st.sampled_from(list(TOKENS.values())))
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(token)))
        last = draw(st.integers(first, min(len(token), first + draw(st.sampled_from([0, 1, 3, 40, 400])))))
        piece = draw(
            st.sampled_from(["", ".", "=", "A", "\0", token[first:last] * 2])
            | st.text(_ALPHABET + ".", max_size=6)
            | st.text(max_size=3)
            | PIECES
        )
        token = token[:first] + piece + token[last:]
    return token


@settings(deadline=None, max_examples=800)
@given(mutations() | st.text() | st.lists(PIECES | st.text(_ALPHABET), max_size=5).map(".".join))
def test_no_mutation_verifies_and_none_raises_anything_else(token: str) -> None:
    if token in TOKENS.values():
        assert EVERY_KEY.verify(token, now=NOW) == CLAIMS
    else:
        refused(EVERY_KEY, token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=4), values, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(ALGORITHMS),
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "jwk", "x"]), JSON, max_size=3),
    st.dictionaries(st.sampled_from([*CLAIMS.members(), "x"]), JSON, max_size=3),
)
def test_rightly_signed_nonsense_is_refused_by_a_token_error_or_says_the_same(
    alg: str, header: dict[str, object], claims: dict[str, object]
) -> None:
    key = key_of(alg)
    token = minted(key, {**CLAIMS.members(), **claims}, {**header_of(key), **header})
    try:
        verified = EVERY_KEY.verify(token, now=NOW)
    except (TokenInvalid, TokenExpired, TokenNotYetValid) as error:
        told = error
    else:
        said = {**CLAIMS.members(), **claims}
        assert {name: said.get(name, "") for name in CLAIMS.members()} == verified.members()
        return
    assert told.__context__ is None

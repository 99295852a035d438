"""The text of a refresh token: one spelling, a checksum that detects typing errors, and the digest that is stored."""

import hashlib
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import TokenInvalid
from backctl.domain.refresh_token import digest_of, looks_like_one, refresh_token
from backctl.domain.values import Secret

ENTROPIES = st.binary(min_size=32, max_size=32)
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def number(digits: str) -> int:
    return sum(DIGITS.index(digit) * 62**place for place, digit in enumerate(reversed(digits)))


@given(ENTROPIES)
def test_a_token_says_its_random_bits_and_their_checksum_in_base62(entropy: bytes) -> None:
    token = refresh_token(entropy).reveal()
    assert re.fullmatch(r"bkr_[0-9A-Za-z]{49}", token)
    assert number(token[4:47]).to_bytes(32) == entropy
    assert number(token[47:]) == zlib.crc32(token[4:47].encode())
    assert looks_like_one(token)


def test_the_checksum_is_the_one_of_zip_and_png() -> None:
    assert zlib.crc32(b"123456789") == 0xCBF43926  # the check value of CRC-32/ISO-HDLC


def test_the_smallest_and_the_greatest_token() -> None:
    # Every number has 43 base-62 digits, so that all tokens have the same length.
    assert refresh_token(bytes(32)).reveal()[4:47] == "0" * 43
    assert number(refresh_token(b"\xff" * 32).reveal()[4:47]) == 2**256 - 1


@given(ENTROPIES)
def test_what_is_kept_is_the_sha256_of_the_whole_text(entropy: bytes) -> None:
    token = refresh_token(entropy)
    assert digest_of(token) == hashlib.sha256(token.reveal().encode("ascii")).digest()


@given(ENTROPIES, st.integers(4, 52), st.sampled_from(DIGITS))
def test_one_wrong_character_is_found_without_a_database(entropy: bytes, at: int, digit: str) -> None:
    token = refresh_token(entropy).reveal()
    wrong = token[:at] + digit + token[at + 1 :]
    if wrong == token:
        assert digest_of(Secret(wrong))
    else:
        with pytest.raises(TokenInvalid):
            digest_of(Secret(wrong))


GOOD = refresh_token(bytes(range(32))).reveal()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bkr_",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        " " + GOOD,
        GOOD.lower(),
        GOOD.replace("bkr_", "bkx_"),
        GOOD[:10] + "-" + GOOD[11:],
        GOOD[:10] + "٣" + GOOD[11:],
        GOOD[:10] + "\udc80" + GOOD[11:],
        "bkr_" + "z" * 49,  # more than 256 bits
        "eyJhbGciOiJub25lIn0.e30.",
        "x" * 1_000_000,
    ],
)
def test_nothing_else_is_a_token_and_nothing_of_it_is_repeated(text: str) -> None:
    with pytest.raises(TokenInvalid) as refused:
        digest_of(Secret(text))
    told = f"{refused.value.message} {refused.value.hint}"
    assert len(told) < 200
    assert text[4:] not in told or not text[4:]


def test_a_slip_is_told_from_what_never_was_a_token() -> None:
    swapped = GOOD[:5] + GOOD[6] + GOOD[5] + GOOD[7:]
    assert swapped != GOOD
    with pytest.raises(TokenInvalid, match="checksum"):
        digest_of(Secret(swapped))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_token_has_256_random_bits(size: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        refresh_token(bytes(size))

"""The id of a token: a UUIDv7 that contains the time of issue in microseconds."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.token_id import issued_at, token_id
from backctl.domain.values import LATEST, Instant

MOMENTS = st.integers(0, LATEST).map(Instant)
ENTROPIES = st.integers(0, 2**62 - 1)


@given(MOMENTS, ENTROPIES)
def test_it_says_the_microsecond_it_was_made_for(moment: Instant, entropy: int) -> None:
    assert issued_at(token_id(moment, entropy), moment // 1_000_000) == moment


@given(MOMENTS, ENTROPIES)
def test_it_is_a_uuid_of_version_7(moment: Instant, entropy: int) -> None:
    text = token_id(moment, entropy)
    made = uuid.UUID(text)
    assert (str(made), made.version, made.variant) == (text, 7, uuid.RFC_4122)
    assert made.int >> 80 == moment // 1000  # RFC 9562 §5.7: milliseconds since 1970
    assert made.int & (1 << 62) - 1 == entropy


def test_the_published_example_has_its_published_time() -> None:
    # RFC 9562 appendix A.6: 2022-02-22 19:22:22 UTC, unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    published = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    moment = issued_at(published, 0x017F22E279B0 // 1000)
    assert moment == 0x017F22E279B0 * 1000 + 798  # 0xCC3 of 4096 parts of a millisecond, rounded up
    assert token_id(Instant(moment), 0x18C4DC0C0C07398F)[:14] == published[:14]


@given(MOMENTS, ENTROPIES, ENTROPIES)
def test_later_ones_sort_behind_earlier_ones(moment: Instant, one: int, other: int) -> None:
    if moment < LATEST:
        assert token_id(moment, one) < token_id(moment.plus(1), other)


@pytest.mark.parametrize(
    "jti",
    [
        "",
        "abc",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",  # version 4
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",  # of another second
        "017F22E279B07CC398C4DC0C0C07398F",
    ],
)
def test_an_identifier_that_proves_nothing_counts_from_the_beginning_of_its_second(jti: str) -> None:
    assert issued_at(jti, 1_700_000_000) == 1_700_000_000_000_000


@pytest.mark.parametrize("entropy", [-1, 2**62])
def test_its_random_part_has_62_bits(entropy: int) -> None:
    with pytest.raises(ValueError, match="62 random bits"):
        token_id(Instant(0), entropy)

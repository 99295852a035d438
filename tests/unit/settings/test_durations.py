import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import InvalidDuration
from backctl.settings import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("0s", 0),
        ("500ms", 500_000),
        ("30s", 30_000_000),
        ("2m", 120_000_000),
        ("1h", 3_600_000_000),
        ("7d", 604_800_000_000),
        ("2w", 1_209_600_000_000),
        ("5214w", 3_153_427_200_000_000),
        ("36500d", 3_153_600_000_000_000),
    ],
)
def test_a_number_and_a_unit_are_microseconds(text: str, microseconds: int) -> None:
    assert parse_duration(text) == microseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "s",
        "30 s",
        " 30s",
        "30s\n",
        "-1s",
        "+1s",
        "1.5s",
        "1h30m",
        "1S",
        "٣s",
        "1us",
        "36501d",
        "5215w",
        "1W",
        "9" * 5000 + "d",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        parse_duration(text)


def test_the_refusal_names_the_units() -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration("30 seconds")
    assert caught.value.message == "'30 seconds' is not a duration"
    assert "ms, s, m, h, d or w" in str(caught.value.hint)


@given(st.integers(0, 3_153_600_000_000))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds * 1_000)) == milliseconds * 1_000


def test_the_shortest_spelling_is_written_and_weeks_as_days() -> None:
    assert [format_duration(n) for n in (90_000_000, 60_000_000, 86_400_000_000)] == ["90s", "1m", "1d"]
    assert format_duration(parse_duration("2w")) == "14d"

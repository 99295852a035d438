import pytest

from backctl.domain.errors import InvalidDuration, InvalidInput
from backctl.domain.repositories import Cursor, UserCriteria
from backctl.domain.values import Instant, RelativeInstant
from backctl.presentation.times import future_time, past_time

NOW = Instant.parse("2026-11-22T09:24:02.5Z")
DAY = 86_400_000_000


def now() -> Instant:
    return NOW


def no_clock() -> Instant:
    raise AssertionError("the clock is needed only for a duration")


@pytest.mark.parametrize("parse", [past_time, future_time])
def test_rfc_3339_and_dates_are_the_same_in_both_directions(parse: object) -> None:
    assert callable(parse)
    assert parse("2026-01-31", no_clock) == Instant.parse("2026-01-31T00:00:00Z")
    assert parse("2026-01-31T01:00:00+02:00", no_clock) == Instant.parse("2026-01-30T23:00:00Z")
    assert parse(None, no_clock) is None


@pytest.mark.parametrize(
    ("text", "distance"), [("24h", DAY), ("7d", 7 * DAY), ("2w", 14 * DAY), ("0s", 0), ("1ms", 1000)]
)
def test_a_duration_goes_back_or_forward_from_now(text: str, distance: int) -> None:
    assert past_time(text, now) == NOW - distance
    assert future_time(text, now) == NOW + distance


@pytest.mark.parametrize(
    "text", ["yesterday", "", "7", "-7d", "+7d", "7 d", "1.5d", "2026-13-01", "2026-11-22T09:24:02"]
)
def test_anything_else_is_refused_with_the_three_ways_to_write_a_time(text: str) -> None:
    for parse in (past_time, future_time):
        with pytest.raises(InvalidInput) as caught:
            parse(text, now)
        assert "is not a date or time" in caught.value.message
        assert str(caught.value.hint) == (
            "write a date such as 2026-11-22, or RFC 3339 such as 2026-11-22T09:24:02Z, or a duration such as 7d"
        )


@pytest.mark.parametrize("text", ["7y", "3months", "40000d"])
def test_an_unknown_unit_or_a_duration_that_is_too_long_is_an_error_about_durations(text: str) -> None:
    with pytest.raises(InvalidDuration):
        past_time(text, now)


def test_a_time_beyond_the_year_9999_is_refused() -> None:
    with pytest.raises(InvalidInput):
        future_time("36500d", lambda: Instant.parse("9990-01-01"))


def test_a_cursor_of_a_duration_still_works_when_time_has_passed() -> None:
    def asked(duration: str, at: Instant) -> UserCriteria:
        return UserCriteria(created_after=past_time(duration, lambda: at))

    later = NOW.plus(DAY)
    cursor = Cursor("id", ("x",)).encode(asked("7d", NOW))
    assert Cursor.decode(cursor, "id", asked("7d", later), (str,)).position == ("x",)
    assert Cursor.decode(cursor, "id", asked("168h", later), (str,)).position == ("x",)
    with pytest.raises(InvalidInput):
        Cursor.decode(cursor, "id", asked("8d", NOW), (str,))
    with pytest.raises(InvalidInput):
        Cursor.decode(cursor, "id", UserCriteria(created_after=asked("7d", NOW).created_after and NOW), (str,))


def test_a_relative_time_compares_and_prints_as_the_time() -> None:
    moment = RelativeInstant.of(-DAY, NOW)
    assert moment == NOW - DAY
    assert str(moment) == "2026-11-21T09:24:02.500000Z"

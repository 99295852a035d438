"""The rate limit algorithms against their definitions, written as plainly as possible, on random traces."""

from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import InvalidRateLimit
from backctl.domain.rate_limit import (
    ALGORITHMS,
    LIMIT_MAX,
    LOG_LIMIT_MAX,
    NEVER,
    ON_ERROR,
    WINDOW_MAX,
    WINDOW_MIN,
    Algorithm,
    OnError,
    Policy,
    State,
    decide,
)

NOW = 1_795_000_000_000_000
SECOND = 1_000_000


def policies(algorithm: Algorithm | None = None, *, limit_max: int = 8) -> st.SearchStrategy[Policy]:
    def build(kind: Algorithm, limit: int, window: int, burst: int | None) -> Policy:
        return Policy("p", limit, window, kind, burst if kind == "gcra" else None)

    kinds = st.just(algorithm) if algorithm else st.sampled_from(ALGORITHMS)
    windows = st.one_of(st.integers(WINDOW_MIN, 1_100), st.integers(WINDOW_MIN, 90 * SECOND))
    return st.builds(build, kinds, st.integers(1, limit_max), windows, st.none() | st.integers(1, 2 * limit_max))


@st.composite
def traces(draw: st.DrawFn, policy: Policy, *, backwards: bool = False) -> list[tuple[int, int]]:
    """Draw times and costs. The steps are of the size of the gap between two requests."""
    gap, now, trace = max(1, policy.window // policy.limit), NOW, []
    for _ in range(draw(st.integers(1, 30))):
        now += draw(
            st.one_of(
                st.integers(-2 * gap if backwards else 0, 2 * gap),
                st.sampled_from((0, 1, gap - 1, gap, policy.window - 1, policy.window, 2 * policy.window)),
            )
        )
        trace.append((now, draw(st.integers(1, policy.capacity + 1))))
    return trace


class Definition:
    """The admitted requests as a plain list, and the rule of each algorithm in exact fractions."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.admitted: list[int] = []
        self.tat = Fraction(0)

    def admits(self, cost: int, now: int) -> bool:
        policy, window = self.policy, self.policy.window
        if policy.algorithm == "sliding-window":
            return sum(now - window < at for at in self.admitted) + cost <= policy.limit
        if policy.algorithm == "sliding-counter":
            start = now // window * window
            current = sum(start <= at for at in self.admitted)
            previous = sum(start - window <= at < start for at in self.admitted)
            return previous * Fraction(start + window - now, window) + current + cost <= policy.limit
        gap = Fraction(window, policy.limit)
        return max(self.tat, Fraction(now)) + cost * gap <= now + policy.capacity * gap

    def admit(self, cost: int, now: int) -> None:
        self.admitted += [now] * cost
        self.tat = max(self.tat, Fraction(now)) + cost * Fraction(self.policy.window, self.policy.limit)


@given(st.data())
def test_each_algorithm_admits_what_its_definition_admits(data: st.DataObject) -> None:
    policy = data.draw(policies())
    state, definition = policy.begin(), Definition(policy)
    for now, cost in data.draw(traces(policy)):
        decision = decide([(policy, state)], cost, now)[0]
        assert decision.allowed == definition.admits(cost, now)
        if decision.allowed:
            definition.admit(cost, now)
        assert decision.remaining == max(
            (left for left in range(1, policy.capacity + 1) if definition.admits(left, now)), default=0
        )


@given(st.data())
def test_a_retry_is_admitted_exactly_at_retry_after(data: st.DataObject) -> None:
    policy = data.draw(policies())
    state = policy.begin()
    for now, cost in data.draw(traces(policy, backwards=True)):
        wait = state.wait(cost, now)
        if cost > policy.capacity:
            assert wait == NEVER
            continue
        assert wait >= 0
        if wait:
            assert state.wait(cost, now + wait) == 0
            assert state.wait(cost, now + wait - 1) == 1
        else:
            state.admit(cost, now)
        after = state.reset_after(now)
        assert state.remaining(now + after) == policy.capacity
        assert state.wait(policy.capacity, now + after) == 0
        if after:
            assert now + after <= state.ends_at
            assert state.remaining(now + after - 1) < policy.capacity


@given(st.data())
def test_no_period_as_long_as_the_window_has_more_than_the_worst_burst(data: st.DataObject) -> None:
    policy = data.draw(policies())
    state, admitted = policy.begin(), []
    for now, cost in data.draw(traces(policy)):
        if decide([(policy, state)], cost, now)[0].allowed:
            admitted += [now] * cost
    for at in admitted:
        assert sum(at - policy.window < other <= at for other in admitted) <= policy.worst_burst


def test_the_worst_burst_is_reached() -> None:
    window = 60 * SECOND
    for policy, times in (
        (Policy("p", 5, window), [NOW] * 5),
        (Policy("p", 5, window, "sliding-counter"), [NOW] * 5 + [NOW + window - 1] * 4),
        (Policy("p", 5, window, "gcra", 7), [NOW] * 7 + [NOW + k * window // 5 for k in range(1, 5)]),
    ):
        start = NOW - NOW % window + window - 1 if policy.algorithm == "sliding-counter" else NOW
        state = policy.begin()
        assert all(decide([(policy, state)], 1, at - NOW + start)[0].allowed for at in times)
        assert len(times) == policy.worst_burst


@given(st.data())
def test_looking_changes_nothing(data: st.DataObject) -> None:
    policy = data.draw(policies())
    looked_at, state = policy.begin(), policy.begin()
    for now, cost in data.draw(traces(policy, backwards=True)):
        for other in (now - policy.window, now, now + 3 * policy.window):
            decide([(policy, looked_at)], cost, other, consume=False)
        assert decide([(policy, looked_at)], cost, now) == decide([(policy, state)], cost, now)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_clock_that_goes_back_admits_no_more(algorithm: Algorithm) -> None:
    policy = Policy("p", 3, 10 * SECOND, algorithm)
    state = policy.begin()
    assert all(decide([(policy, state)], 1, NOW)[0].allowed for _ in range(3))
    for back in (1, SECOND, 10 * SECOND):
        decision = decide([(policy, state)], 1, NOW - back)[0]
        assert not decision.allowed
        assert decision.retry_after >= back


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_stamp_more_than_one_window_ahead_is_discarded(algorithm: Algorithm) -> None:
    policy = Policy("p", 3, 10 * SECOND, algorithm)
    state = policy.begin()
    assert decide([(policy, state)], 3, NOW + 10 * SECOND)[0].allowed
    assert not decide([(policy, state)], 1, NOW)[0].allowed
    assert decide([(policy, state)], 3, NOW - 1)[0].allowed


def test_several_policies_consume_from_all_or_from_none() -> None:
    narrow, wide = Policy("narrow", 1, SECOND), Policy("wide", 10, 60 * SECOND, "gcra")
    states: list[tuple[Policy, State]] = [(narrow, narrow.begin()), (wide, wide.begin())]
    assert [decision.allowed for decision in decide(states, 1, NOW)] == [True, True]
    refused = decide(states, 1, NOW)
    assert [(decision.allowed, decision.remaining) for decision in refused] == [(False, 0), (True, 9)]
    assert decide(states, 11, NOW + SECOND)[1].retry_after == NEVER
    assert decide(states, 1, NOW + SECOND)[1].remaining == 8


def test_a_rate_that_is_not_a_whole_number_of_microseconds_does_not_drift() -> None:
    policy = Policy("p", 999_983, SECOND, "gcra", 2)  # a prime: one every 1.000017 µs
    state, now, admitted = policy.begin(), NOW, 200_000
    for _ in range(admitted):
        now += state.wait(1, now)
        state.admit(1, now)
    assert now - NOW == -((2 - admitted) * SECOND // 999_983)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"limit": 0}, "the limit"),
        ({"limit": -1}, "the limit"),
        ({"limit": LOG_LIMIT_MAX + 1}, "the limit"),
        ({"limit": LIMIT_MAX + 1, "algorithm": "gcra"}, "the limit"),
        ({"window": WINDOW_MIN - 1}, "the window"),
        ({"window": WINDOW_MAX + 1}, "the window"),
        ({"burst": 5}, "has a burst"),
        ({"burst": 0, "algorithm": "gcra"}, "the burst"),
        ({"burst": LIMIT_MAX + 1, "algorithm": "gcra"}, "the burst"),
        ({"burst": 2, "algorithm": "gcra", "limit": 1, "window": WINDOW_MAX}, "the burst"),
    ],
)
def test_an_impossible_policy_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRateLimit, match=words) as refusal:
        Policy(**{"name": "p", "limit": 5, "window": SECOND, **values})  # type: ignore[arg-type]
    assert refusal.value.hint


def test_the_words_of_the_configuration_are_those_of_the_types() -> None:
    assert get_args(Algorithm) == ALGORITHMS
    assert get_args(OnError) == ON_ERROR

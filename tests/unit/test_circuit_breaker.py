"""The circuit breaker, with a clock of its own."""

from hypothesis import given
from hypothesis import strategies as st

from backctl.infrastructure.redis.breaker import CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_three_failed_runs_in_a_row_open_it_for_two_seconds() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock)
    a, b, c, d, e, f = (object() for _ in range(6))
    for run in (a, b, c):
        for _ in range(5):  # a run that tries again counts once
            assert breaker.permits(run)
            breaker.failed(run)
    assert breaker.permits(c)  # which may go on
    assert not breaker.permits(d)
    clock.now = 1.9
    assert not breaker.permits(d)
    clock.now = 2.0
    assert breaker.permits(d)  # one tries
    assert breaker.permits(d)
    assert not breaker.permits(e)  # the others do not wait for it
    breaker.failed(d)
    clock.now = 3.9
    assert not breaker.permits(e)
    clock.now = 4.0
    assert breaker.permits(e)
    breaker.succeeded()
    assert breaker.permits(f)


@given(st.lists(st.booleans(), max_size=30))
def test_it_never_opens_without_three_failures_in_a_row(results: list[bool]) -> None:
    breaker, row = CircuitBreaker(Clock()), 0
    for run, ok in enumerate(results, start=1000):
        if row < 3:
            assert breaker.permits(run)
            breaker.succeeded() if ok else breaker.failed(run)
            row = 0 if ok else row + 1

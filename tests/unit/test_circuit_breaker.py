"""The circuit breaker, with a clock of its own."""

from hypothesis import given
from hypothesis import strategies as st

from backctl.infrastructure.redis.breaker import CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_three_failures_in_a_row_open_it_for_two_seconds() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock)
    for _ in range(3):
        assert breaker.permits()
        breaker.failed()
    assert not breaker.permits()
    clock.now = 1.9
    assert not breaker.permits()
    clock.now = 2.0
    assert breaker.permits()  # one tries
    assert not breaker.permits()  # the others do not wait for it
    breaker.failed()
    clock.now = 3.9
    assert not breaker.permits()
    clock.now = 4.0
    assert breaker.permits()
    breaker.succeeded()
    assert breaker.permits()


@given(st.lists(st.booleans(), max_size=30))
def test_it_never_opens_without_three_failures_in_a_row(results: list[bool]) -> None:
    breaker, row = CircuitBreaker(Clock()), 0
    for ok in results:
        if row < 3:
            assert breaker.permits()
            (breaker.succeeded if ok else breaker.failed)()
            row = 0 if ok else row + 1

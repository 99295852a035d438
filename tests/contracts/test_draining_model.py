"""Workers that are killed at any point, and a database that fails at any point, lose and repeat no update."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.cache_levels import Away
from tests.contracts.conftest import Store
from tests.contracts.draining import Workers
from tests.contracts.write_queues import SECOND, Queued

from backctl.application.draining import LEASE_US
from backctl.domain.errors import OutcomeUnknown, TransactionAborted


class Killed(BaseException):
    """The worker was killed."""


_KEYS = ("a", "b", "c", "d")
_CALLS = {"queue": ("depths", "take", "state", "acknowledge", "retry"), "target": ("position", "apply")}
_POINTS = [
    (part, when, call)
    for part, calls in _CALLS.items()
    for call in calls
    for when in ("before", "after")
    if (part, when) != ("target", "after") or call == "apply"
]
_ERRORS: list[Callable[[], BaseException]] = [
    Killed,
    partial(Away, "away"),
    partial(TransactionAborted, "aborted"),
    partial(OutcomeUnknown, "lost"),
]


class Model:
    """Puts numbers that grow, so that an older value would be seen if it replaced a newer one."""

    def __init__(self, workers: Workers, numbers: Iterator[int]) -> None:
        self.workers = workers
        self.numbers = numbers
        self.last: dict[str, int] = {}

    def put(self, key: str) -> None:
        self.last[key] = next(self.numbers)
        self.workers.put(key, self.last[key])

    def drain(self, name: str) -> None:
        with suppress(Killed, Away, TransactionAborted, OutcomeUnknown):
            self.workers.once(name=name, batch_size=3)

    def at(self, point: tuple[str, str, str], act: Callable[[], object]) -> None:
        part, when, call = point
        getattr(getattr(self.workers, part), when)[call] = act

    def fail(self, point: tuple[str, str, str], error: Callable[[], BaseException]) -> None:
        def act() -> None:
            raise error()

        self.at(point, act)

    def run(self, steps: "list[Step]") -> None:
        for act in steps:
            act(self)

    def wait(self, microseconds: int) -> None:
        self.workers.queued.pass_time(microseconds)

    def poison(self, key: str) -> None:
        self.workers.scores.poison = {key: ValueError()}

    def settle(self) -> None:
        """Let everything be written, without further failures."""
        workers = self.workers
        for between in (workers.queue, workers.target):
            between.before.clear()
            between.after.clear()
        workers.scores.poison = {}
        for _ in range(3):
            workers.queued.pass_time(LEASE_US + 1)
            workers.queued.queue.requeue(None)
            workers.once()


Step = Callable[[Model], object]
_keys, _points = st.sampled_from(_KEYS), st.sampled_from(_POINTS)
_steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda key: lambda model: model.put(key), _keys),
    st.builds(lambda name: lambda model: model.drain(name), st.sampled_from(["w1", "w2"])),
    st.builds(lambda point, error: lambda model: model.fail(point, error), _points, st.sampled_from(_ERRORS)),
    st.builds(lambda point, key: lambda model: model.at(point, partial(model.put, key)), _points, _keys),
    st.builds(lambda point: lambda model: model.at(point, partial(model.drain, "w3")), _points),
    st.builds(lambda time: lambda model: model.wait(time), st.sampled_from([SECOND, LEASE_US + 1])),
    st.builds(lambda key: lambda model: model.poison(key), _keys),
)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("queued", ["sqlite", "redis"], indirect=True)
def test_the_last_value_is_written_and_none_twice(queued: Queued, store: Store) -> None:
    workers, numbers = Workers(queued, store), count(1)

    @settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
    @given(st.lists(_steps, max_size=25))
    def check(steps: list[Step]) -> None:
        workers.scores.clear()
        model = Model(workers, numbers)
        model.run(steps)
        model.settle()
        assert workers.scores.values() == {key: str(number) for key, number in model.last.items()}
        assert workers.waiting() == 0
        assert list(queued.queue.dead()) == []
        for written in workers.scores.written().values():
            assert written == sorted(set(written)), "an older value was written later, or one twice"
        assert not any("lost" in warning for warning in workers.warnings)

    check()

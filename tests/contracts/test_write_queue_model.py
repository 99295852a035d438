"""Any sequence of calls agrees with a simple model of a queue."""

from dataclasses import dataclass, field
from secrets import token_hex

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.contracts.write_queues import HOUR, SCORE, SECOND, SEEN, Queued

from backctl.application.ports.write_behind import DeadUpdate, Taken, WriterDepth
from backctl.domain.write_behind import QueuedValue, WriterId

_WRITERS = (SCORE, SEEN)
_LIMIT = 4
_writers = st.sampled_from(_WRITERS)
_keys = st.sampled_from([b"a", b"b", b"c"])
_times = st.sampled_from([SECOND, HOUR // 3, HOUR])


@dataclass
class Waiting:
    """An update in the model. `turn` is None if its place in the line is not specified."""

    turn: int | None
    value: bytes
    position: int
    queued_at: int
    attempts: int = 0
    replaced_at: int | None = None
    receipt: bytes | None = None
    free_at: int = 0
    """When it is due, or its lease ends."""


@dataclass
class Model:
    now: int
    position: int = 0
    waiting: dict[tuple[WriterId, bytes], Waiting] = field(default_factory=dict)
    dead: dict[int, tuple[WriterId, bytes, bytes, int, int, int]] = field(default_factory=dict)
    lags: dict[WriterId, int | None] = field(default_factory=dict)

    def put(self, writer: WriterId, key: bytes, value: bytes) -> int | None:
        found = self.waiting.get((writer, key))
        if found is None and len(self.waiting) >= _LIMIT:
            return None
        self.position = max(self.position + 1, self.now)
        if found is None:
            self.lags.setdefault(writer, None)
            self.waiting[writer, key] = Waiting(self.position, value, self.position, self.now)
        else:
            self.replace(found, value, self.position)
        return self.position

    def replace(self, found: Waiting, value: bytes, position: int) -> None:
        found.value, found.position, found.attempts = value, position, 0
        if found.receipt is None:
            found.free_at = self.now
        elif found.replaced_at is None:
            found.replaced_at = self.now

    def due(self, writers: list[WriterId]) -> dict[tuple[WriterId, bytes], Waiting]:
        return {at: one for at, one in self.waiting.items() if at[0] in writers and one.free_at <= self.now}

    def take(self, one: Waiting, receipt: bytes) -> None:
        one.receipt, one.replaced_at, one.free_at = receipt, None, self.now + HOUR

    def held(self, taken: Taken) -> Waiting | None:
        """Return the update, or what replaced it, if the worker still has it."""
        found = self.waiting.get((taken.writer, taken.key))
        return found if found is not None and found.receipt == taken.receipt else None

    def acknowledge(self, taken: Taken) -> None:
        found = self.waiting.get((taken.writer, taken.key))
        if found is not None and found.position == taken.position:
            del self.waiting[taken.writer, taken.key]
        else:
            self.release_newer(taken)
        self.lags[taken.writer] = max(0, self.now - taken.queued_at)

    def release_newer(self, taken: Taken) -> None:
        found = self.held(taken)
        if found is not None and found.position > taken.position:
            found.queued_at = found.queued_at if found.replaced_at is None else found.replaced_at
            found.turn, found.receipt, found.replaced_at, found.free_at = None, None, None, self.now

    def retry(self, taken: Taken, after_us: int) -> None:
        found = self.held(taken)
        if found is None or found.position < taken.position:
            return
        replaced = found.position > taken.position
        found.receipt, found.replaced_at = None, None
        found.free_at = self.now + (0 if replaced else after_us)
        found.attempts += after_us > 0 and not replaced

    def bury(self, taken: Taken) -> None:
        found = self.held(taken)
        if found is not None and found.position == taken.position:
            self.kill((taken.writer, taken.key), found.attempts + 1)
        else:
            self.release_newer(taken)

    def kill(self, at: tuple[WriterId, bytes], attempts: int) -> None:
        one = self.waiting.pop(at)
        self.dead[one.position] = (*at, one.value, one.queued_at, self.now, attempts)

    def requeue(self, position: int) -> None:
        writer, key, value, queued_at, *_ = self.dead.pop(position)
        found = self.waiting.get((writer, key))
        if found is None:
            self.waiting[writer, key] = Waiting(None, value, position, queued_at, free_at=self.now)
        elif found.position < position:
            self.replace(found, value, position)


class Calls(RuleBasedStateMachine):
    queued: Queued
    """The test sets it in a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = self.queued.another(token_hex(8))
        self.model = Model(self.queued.clock.now)
        self.taken: list[Taken] = []
        self.identity = self.queue.state().identity
        self.number = 0

    @rule(writer=_writers, key=_keys)
    def put(self, writer: WriterId, key: bytes) -> None:
        self.number += 1
        value = b"%d" % self.number
        assert self.queue.put(writer, key, QueuedValue(value), limit=_LIMIT) == self.model.put(writer, key, value)

    @rule(time=_times)
    def time_passes(self, time: int) -> None:
        self.queued.pass_time(time, self.queue)
        self.model.now = self.queued.clock.now

    @rule(writers=st.lists(_writers, unique=True), worker=st.sampled_from(["w1", "w2"]), count=st.integers(1, 5))
    def take(self, writers: list[WriterId], worker: str, count: int) -> None:
        due = self.model.due(writers)
        taken = self.queue.take(writers, worker=worker, count=count, lease_us=HOUR)
        assert len(taken) == min(count, len(due))
        for one in taken:
            expected = due[one.writer, one.key]
            assert one.value == QueuedValue(expected.value)
            assert (one.position, one.queued_at) == (expected.position, expected.queued_at)
            assert one.attempts == expected.attempts
            self.model.take(expected, one.receipt)
        in_order = sorted(one.turn for one in due.values() if one.turn is not None)
        turns = [due[one.writer, one.key].turn for one in taken]
        found = [turn for turn in turns if turn is not None]
        assert found == in_order[: len(found)]
        self.taken += taken

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        some = self.some(data)
        self.queue.acknowledge(some, now=self.model.now)
        for one in some:
            self.model.acknowledge(one)

    @rule(data=st.data(), after=st.sampled_from([0, SECOND, 2 * HOUR]))
    def retry(self, data: st.DataObject, after: int) -> None:
        some = self.some(data)
        self.queue.retry(some, after_us=after)
        for one in some:
            self.model.retry(one, after)

    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        for one in self.some(data)[:1]:
            self.queue.bury(one, "failed", now=self.model.now)
            self.model.bury(one)

    @rule(data=st.data(), everything=st.booleans())
    def requeue(self, data: st.DataObject, everything: bool) -> None:
        chosen = self.some_dead(data, everything=everything)
        ids = None if everything else [str(position) for position in chosen]
        assert self.queue.requeue(ids) == len(chosen)
        for position in sorted(chosen):
            self.model.requeue(position)

    @rule(data=st.data(), everything=st.booleans())
    def drop(self, data: st.DataObject, everything: bool) -> None:
        chosen = self.some_dead(data, everything=everything)
        ids = None if everything else [str(position) for position in chosen]
        assert self.queue.drop(ids) == len(chosen)
        for position in chosen:
            del self.model.dead[position]

    @rule(writer=_writers)
    def set_aside(self, writer: WriterId) -> None:
        moved = [at for at in self.model.waiting if at[0] == writer]
        assert self.queue.set_aside([writer], "failed", now=self.model.now) == len(moved)
        for at in moved:
            self.model.kill(at, self.model.waiting[at].attempts)

    @rule(by=st.sampled_from([-HOUR, 0, 1, HOUR]))
    def advance(self, by: int) -> None:
        position = max(0, self.model.position + by)
        self.queue.advance(position)
        self.model.position = max(self.model.position, position)

    @invariant()
    def everything_agrees(self) -> None:
        model = self.model
        assert self.queue.state() == (self.identity, model.position)
        for writer in _WRITERS:
            for key in (b"a", b"b", b"c"):
                found, expected = self.queue.waiting([writer], key), model.waiting.get((writer, key))
                assert found == (None if expected is None else QueuedValue(expected.value))
        assert self.queue.depths() == [self.depth(writer) for writer in sorted(model.lags)]
        assert list(self.queue.dead()) == [
            DeadUpdate(str(position), writer, key, len(value), queued_at, failed_at, attempts, "failed")
            for position, (writer, key, value, queued_at, failed_at, attempts) in sorted(model.dead.items())
        ]

    def depth(self, writer: WriterId) -> WriterDepth:
        ages = [one.queued_at for at, one in self.model.waiting.items() if at[0] == writer]
        dead = sum(one[0] == writer for one in self.model.dead.values())
        return WriterDepth(writer, len(ages), min(ages, default=None), dead, self.model.lags[writer])

    def some(self, data: st.DataObject) -> list[Taken]:
        """Choose updates that were taken at any time, at most one of each key as in a batch."""
        if not self.taken:
            return []
        found = data.draw(st.lists(st.sampled_from(self.taken), max_size=4))
        return list({(one.writer, one.key): one for one in found}.values())

    def some_dead(self, data: st.DataObject, *, everything: bool) -> list[int]:
        if everything or not self.model.dead:
            return list(self.model.dead)
        return data.draw(st.lists(st.sampled_from(sorted(self.model.dead)), unique=True))


def test_any_sequence_of_calls_agrees_with_the_model(queued: Queued) -> None:
    run_state_machine_as_test(
        type("Calls", (Calls,), {"queued": queued}),
        settings=settings(
            deadline=None,
            max_examples=60,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )

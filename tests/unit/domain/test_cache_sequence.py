"""When the entries in memory may be used: the rules, and random histories that compare them with the store."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from backctl.domain.cache_sequence import Effect, SequenceWatch

MAX = 1.0
A, B, C = b"sequence", b"sequencf", b"sequencg"


def a_watch() -> SequenceWatch:
    watch = SequenceWatch(MAX)
    watch.read(A, asked_at=10.0)
    return watch


def test_nothing_is_used_before_the_sequence_was_read() -> None:
    watch = SequenceWatch(MAX)
    assert (watch.known, watch.confirmed_until) == (None, 0.0)
    assert watch.read(A, asked_at=10.0) == "everything"
    assert watch.confirmed_until == 11.0


def test_the_time_counts_from_the_question_and_the_same_sequence_confirms() -> None:
    watch = a_watch()
    assert watch.read(A, asked_at=10.5) == "nothing"
    assert watch.confirmed_until == 11.5


def test_any_other_sequence_drops_everything() -> None:
    watch = a_watch()
    assert watch.read(B, asked_at=10.5) == "everything"
    assert watch.read(A, asked_at=10.6) == "everything"  # backwards


@pytest.mark.parametrize(
    ("before", "after", "effect", "known"),
    [
        (A, B, "change", B),
        (C, A, "nothing", A),
        (A, A, "nothing", A),
        (None, A, "nothing", A),
        (B, C, "everything", None),
        (None, B, "everything", None),
    ],
)
def test_messages(before: bytes | None, after: bytes, effect: Effect, known: bytes | None) -> None:
    watch = a_watch()
    assert watch.heard(before, after) == effect
    assert watch.known == known
    assert watch.confirmed_until == (11.0 if known else 0.0)


def test_a_message_confirms_nothing_even_if_it_is_the_next() -> None:
    watch = a_watch()
    watch.heard(A, B)
    assert watch.confirmed_until == 11.0
    assert watch.heard(A, B) == "nothing"  # a second time


def test_a_watch_that_forgot_uses_no_message() -> None:
    watch = a_watch()
    watch.forget()
    assert (watch.known, watch.confirmed_until) == (None, 0.0)
    assert watch.heard(None, B) == "everything"
    assert watch.heard(A, B) == "everything"
    assert watch.read(A, asked_at=12.0) == "everything"


@dataclass
class Message:
    before: bytes | None
    after: bytes
    name: int


@dataclass
class World:
    """A store with three values, each of which is the number of its last change, and a process with a memory.

    A restart restores the values and the sequence of an earlier moment.
    """

    now: float = 100.0
    serial: int = 0
    sequence: bytes | None = None
    values: tuple[int, ...] = (0, 0, 0)
    past: list[tuple[bytes | None, tuple[int, ...]]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    watch: SequenceWatch = field(default_factory=lambda: SequenceWatch(MAX))
    memory: dict[int, int] = field(default_factory=dict)
    generation: int = 0
    current: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    """For each value, when it began to be the current one."""

    def __post_init__(self) -> None:
        self.past.append((self.sequence, self.values))
        self._note()

    def new_sequence(self) -> bytes:
        self.serial += 1
        return b"%08d" % self.serial

    def invalidate(self, name: int) -> None:
        before, self.sequence = self.sequence, self.new_sequence()
        values = list(self.values)
        values[name] = self.serial
        self.values = tuple(values)
        self.messages.append(Message(before, self.sequence, name))
        self.past.append((self.sequence, self.values))
        self._note()

    def restart(self, number: int) -> None:
        del self.past[1 + number % len(self.past) :]
        self.sequence, self.values = self.past[-1]
        self._note()

    def _note(self) -> None:
        for name, value in enumerate(self.values):
            history = self.current.setdefault(name, [])
            if not history or history[-1][1] != value:
                history.append((self.now, value))

    def hear(self, number: int) -> None:
        if self.messages:
            message = self.messages[number % len(self.messages)]
            self._drop(self.watch.heard(message.before, message.after), message.name)

    def ask(self) -> tuple[bytes, float]:
        if self.sequence is None:
            self.sequence = self.new_sequence()
        return self.sequence, self.now

    def answered(self, sequence: bytes, asked_at: float) -> None:
        self._drop(self.watch.read(sequence, asked_at=asked_at), None)

    def _drop(self, effect: Effect, name: int | None) -> None:
        if effect == "nothing":
            return
        self.generation += 1
        if effect == "change" and name is not None:
            self.memory.pop(name, None)
        else:
            self.memory.clear()

    def put(self, name: int, value: int, generation: int) -> None:
        if generation == self.generation:
            self.memory[name] = value

    def check(self) -> None:
        """Whatever memory may serve now was not older than the value in the store, now or less than `MAX` ago."""
        if self.now >= self.watch.confirmed_until:
            return
        for name, value in self.memory.items():
            history = self.current[name]
            ends = [end for (_, held), (end, _) in pairwise(history) if held <= value]
            assert history[-1][1] <= value or self.now < max(ends) + MAX, (name, value, history)


STEPS = {
    "pass": 6,
    "invalidate": 3,
    "hear": 4,
    "hear the last": 3,
    "ask": 3,
    "answer": 3,
    "ask and answer": 3,
    "read": 3,
    "put": 3,
    "read and put": 5,
    "restart": 1,
    "interrupted": 1,
}


def live(world: World, chance: random.Random) -> None:
    """Messages are lost, late, repeated and out of order, answers are late, and the store forgets what was last."""
    asked: list[tuple[bytes, float]] = []
    read: list[tuple[int, int, int]] = []
    for step in chance.choices(list(STEPS), list(STEPS.values()), k=60):
        number = chance.randrange(1000)
        match step:
            case "pass":
                world.now += chance.choice((0.01, 0.3, 0.6, 1.1))
            case "invalidate":
                world.invalidate(number % 3)
            case "hear":
                world.hear(number)
            case "hear the last":
                world.hear(-1)
            case "ask":
                asked.append(world.ask())
            case "answer" if asked:
                world.answered(*asked.pop(number % len(asked)))
            case "ask and answer":
                world.answered(*world.ask())
            case "read" | "read and put":
                name = number % 3
                read.append((name, world.values[name], world.generation))
                if step == "read and put":
                    world.put(*read.pop())
            case "put" if read:
                world.put(*read.pop(number % len(read)))
            case "restart":
                world.restart(number)
            case "interrupted":
                world.watch.forget()
                world._drop("everything", None)
        world.check()


@pytest.mark.parametrize("seed", range(8))
def test_memory_is_never_older_than_the_bound(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(250):
        live(World(), chance)


class CountsFromTheAnswer(SequenceWatch):
    def read(self, sequence: bytes, *, asked_at: float) -> Effect:
        return super().read(sequence, asked_at=asked_at + 0.3)


class IgnoresTheSequence(SequenceWatch):
    def read(self, sequence: bytes, *, asked_at: float) -> Effect:
        return "everything" if super().read(sequence, asked_at=asked_at) and self.known is None else "nothing"


class IgnoresGaps(SequenceWatch):
    def heard(self, before: bytes | None, after: bytes) -> Effect:
        return super().heard(self.known, after)


class ConfirmsWithMessages(SequenceWatch):
    def heard(self, before: bytes | None, after: bytes) -> Effect:
        effect = super().heard(before, after)
        self.confirmed_until += effect != "everything"
        return effect


@pytest.mark.parametrize("broken", [CountsFromTheAnswer, IgnoresTheSequence, IgnoresGaps, ConfirmsWithMessages])
def test_the_histories_find_a_rule_that_is_missing(broken: type[SequenceWatch]) -> None:
    def live_on() -> None:
        chance = random.Random(0)
        for _ in range(2000):
            live(World(watch=broken(MAX)), chance)

    with pytest.raises(AssertionError):
        live_on()


@pytest.mark.parametrize("delay", [0.0, 0.5, 5.0])
def test_an_answer_that_was_read_before_an_invalidation_confirms_only_until_its_bound(delay: float) -> None:
    world = World()
    answer = world.ask()
    world.answered(*answer)
    world.put(0, world.values[0], world.generation)
    late = world.ask()
    world.invalidate(0)
    world.now += delay
    world.answered(*late)
    world.check()
    assert world.watch.confirmed_until == 101.0

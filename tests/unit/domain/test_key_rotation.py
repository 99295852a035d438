"""Key rotation: what each change does, what it rejects, and what is always true after any sequence of changes."""

import json
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backctl.domain.errors import KeyInUse, KeyNotFound, KeyTaken, KeyUnfit
from backctl.domain.keyring import PURPOSES, Key, Keyring, Purpose
from backctl.domain.values import SKEW, Instant

START = Instant.parse("2026-11-22T09:00:00Z")
DAY = 86_400_000_000
ROTATING: tuple[Purpose, ...] = ("sign", "encrypt")


def key(kid: str, purpose: Purpose = "sign", now: Instant = START) -> Key:
    if purpose == "sign":
        return Key.ed25519(kid, public=bytes(32), private=bytes(32), created=now.isoformat())
    return Key.symmetric(kid, purpose, bytes(32), created=now.isoformat())


def ring() -> Keyring:
    return Keyring(tuple(key(f"{purpose}-0", purpose) for purpose in PURPOSES))


def states(of: Keyring, purpose: Purpose = "sign") -> dict[str, str]:
    return {key.kid: key.state for key in of.keys if key.purpose == purpose}


def rotated(of: Keyring, now: Instant, *, older_than: int = 30 * DAY, overlap: int = 7 * DAY) -> Keyring:
    made = count(len(of.keys))
    return of.rotate(
        "sign",
        older_than=older_than,
        overlap=overlap,
        new_key=lambda purpose, alg: key(f"{purpose}-{next(made)}", purpose, now),
        now=now,
    )


def test_an_added_key_is_published_and_not_used() -> None:
    more = ring().add(key("new"))
    assert states(more) == {"sign-0": "primary", "new": "standby"}
    assert [key.kid for key in more.verifying("sign", START)] == ["sign-0", "new"]
    assert more.primary("sign").kid == "sign-0"


def test_a_promoted_key_is_used_and_the_old_one_retires() -> None:
    after = ring().add(key("new")).promote("new", now=START.plus(DAY), overlap=7 * DAY)
    assert states(after) == {"sign-0": "retired", "new": "primary"}
    assert after.get("sign-0").not_after == START.plus(8 * DAY).isoformat()
    assert after.get("new").primary_since == START.plus(DAY)
    assert after.get("new").not_after is None


def test_only_signing_keys_come_to_an_end() -> None:
    for purpose in ("encrypt", "audit", "index"):
        after = ring().add(key("new", purpose)).promote("new", now=START, overlap=7 * DAY)
        assert after.get(f"{purpose}-0").not_after is None


def test_promoting_the_primary_key_changes_nothing() -> None:
    assert ring().promote("sign-0", now=START, overlap=0) == ring()


def test_a_retired_key_does_not_come_back() -> None:
    after = ring().add(key("new")).promote("new", now=START)
    with pytest.raises(KeyUnfit, match="'sign-0' is retired"):
        after.promote("sign-0", now=START)


def test_a_primary_key_is_neither_retired_nor_destroyed() -> None:
    for change in (ring().retire, ring().destroy):
        with pytest.raises(KeyInUse, match="'sign-0' is the primary key of purpose sign") as refusal:
            change("sign-0", now=START)
        assert refusal.value.hint


def test_retiring_twice_changes_nothing_and_a_shorter_overlap_ends_it_sooner() -> None:
    once = ring().add(key("new")).retire("new", now=START, overlap=7 * DAY)
    assert once.retire("new", now=START.plus(DAY)) is once
    assert once.retire("new", now=START.plus(DAY), overlap=7 * DAY) is once
    ended = once.retire("new", now=START.plus(DAY), overlap=0)
    assert ended.get("new").has_ended(START.plus(DAY))
    assert ended.verifying("sign", START.plus(DAY)) == (ring().primary("sign"),)


def test_a_destroyed_key_leaves_a_tombstone_and_its_kid_stays_taken() -> None:
    after = ring().add(key("new")).destroy("new", now=START.plus(DAY))
    assert after.find("new") is None
    assert after.keys == ring().keys
    (stone,) = after.tombstones
    assert (stone.kid, stone.purpose, stone.destroyed) == ("new", "sign", START.plus(DAY).isoformat())
    with pytest.raises(KeyNotFound, match="'new' was destroyed at 2026-11-23"):
        after.get("new")
    with pytest.raises(KeyTaken, match="was destroyed"):
        after.add(key("new"))
    kept = Keyring.from_document(json.loads(json.dumps(after.document())))
    assert kept == after
    assert kept.add(key("other")).promote("other", now=START).document()["tombstones"] == [stone.document()]


def test_a_retired_audit_key_stays_because_events_need_it() -> None:
    after = ring().add(key("new", "audit")).promote("new", now=START)
    with pytest.raises(KeyInUse, match="'audit-0' authenticates events"):
        after.destroy("audit-0", now=START)
    assert after.add(key("unused", "audit")).destroy("unused", now=START).keys == after.keys
    assert set(after.secrets("audit")) == {"audit-0", "new"}


def test_a_key_that_is_not_there_is_not_found() -> None:
    for change in (ring().promote, ring().retire, ring().destroy):
        with pytest.raises(KeyNotFound, match="'nobody'"):
            change("nobody", now=START)
    assert ring().find("nobody") is None


def test_a_machine_without_keys_says_so() -> None:
    with pytest.raises(KeyNotFound, match="no key of purpose sign yet"):
        Keyring(()).primary("sign")
    assert Keyring(()).verifying("sign", START) == ()


def test_a_kid_is_given_once() -> None:
    with pytest.raises(KeyTaken, match="'sign-0'"):
        ring().add(key("sign-0", "encrypt"))


def test_a_key_is_due_from_its_age_on_and_not_a_microsecond_before() -> None:
    assert not ring().due("sign", 30 * DAY, START.plus(30 * DAY - 1))
    assert ring().due("sign", 30 * DAY, START.plus(30 * DAY))
    promoted = ring().add(key("new")).promote("new", now=START.plus(5 * DAY))
    assert not promoted.due("sign", 30 * DAY, START.plus(35 * DAY - 1))
    assert promoted.due("sign", 30 * DAY, START.plus(35 * DAY))


def test_a_rotation_asked_for_every_day_publishes_then_promotes_then_lets_the_old_key_end() -> None:
    """`key rotate --if-older-than 30d --overlap 7d` from cron, over 70 days."""
    current, history = ring(), {}
    for day in range(71):
        now = START.plus(day * DAY)
        after = rotated(current, now)
        assert rotated(after, now) is after
        if after != current:
            history[day] = states(after)
        current = after
    assert history == {
        23: {"sign-0": "primary", "sign-4": "standby"},
        30: {"sign-0": "retired", "sign-4": "primary"},
        53: {"sign-0": "retired", "sign-4": "primary", "sign-5": "standby"},
        60: {"sign-0": "retired", "sign-4": "retired", "sign-5": "primary"},
    }
    assert current.get("sign-0").not_after == START.plus(37 * DAY).isoformat()
    serving = [key.kid for key in current.verifying("sign", START.plus(67 * DAY - 1))]
    assert serving == ["sign-5", "sign-4"]
    assert [key.kid for key in current.verifying("sign", START.plus(67 * DAY))] == ["sign-5"]


def test_a_rotation_at_once_makes_and_promotes_a_key_and_what_the_old_one_signed_stays_valid() -> None:
    now = START.plus(1)
    after = rotated(ring(), now, older_than=0)
    assert states(after) == {"sign-0": "retired", "sign-4": "primary"}
    assert [key.kid for key in after.verifying("sign", now.plus(7 * DAY - 1))] == ["sign-4", "sign-0"]
    assert [key.kid for key in after.verifying("sign", now.plus(7 * DAY))] == ["sign-4"]


def test_a_rotation_takes_the_oldest_key_that_stands_by() -> None:
    waiting = ring().add(key("younger", now=START.plus(2))).add(key("older", now=START.plus(1)))
    assert rotated(waiting, START.plus(30 * DAY)).primary("sign").kid == "older"


def test_a_late_rotation_does_not_wait_for_an_overlap() -> None:
    assert rotated(ring(), START.plus(100 * DAY)).primary("sign").kid == "sign-4"


def test_no_key_is_made_when_there_is_nothing_to_do() -> None:
    def unwanted(purpose: Purpose, alg: str) -> Key:
        raise AssertionError(purpose, alg)

    for purpose in PURPOSES:
        same = ring().rotate(purpose, older_than=30 * DAY, overlap=7 * DAY, new_key=unwanted, now=START)
        assert same == ring()


def test_the_successor_is_of_the_kind_of_its_predecessor() -> None:
    hmac = Key.symmetric("shared", "sign", bytes(64), created=START.isoformat())
    asked: list[tuple[Purpose, str]] = []

    def new_key(purpose: Purpose, alg: str) -> Key:
        asked.append((purpose, alg))
        return replace(hmac, kid="next")

    of = ring().add(hmac).promote("shared", now=START)
    of.rotate("sign", older_than=0, overlap=0, new_key=new_key, now=START)
    assert asked == [("sign", "HS256")]


@pytest.mark.parametrize("older_than", [0, DAY, 365 * DAY])
def test_a_key_from_the_future_is_due_at_any_age(older_than: int) -> None:
    """A clock was ahead when it was made, so its age is unknown."""
    for ahead in (SKEW + 1, 3600_000_000, 11 * 365 * DAY):
        made = Keyring(tuple(key(f"{purpose}-0", purpose, START.plus(ahead)) for purpose in PURPOSES))
        assert made.due("sign", older_than, START)
        after = rotated(made, START, older_than=older_than)
        assert states(after) == {"sign-0": "retired", "sign-4": "primary"}
        assert rotated(after, START.plus(1)) is after
    promoted = ring().add(key("new")).promote("new", now=START.plus(SKEW + 1))
    assert promoted.due("sign", older_than, START)


def test_a_key_that_another_machine_has_just_made_is_new() -> None:
    """Its clock may be ahead a little; a rotation there must not be repeated here."""
    for ahead in (1, SKEW):
        promoted = ring().add(key("new")).promote("new", now=START.plus(ahead))
        assert not promoted.due("sign", 0, START)
        assert not promoted.due("sign", 30 * DAY, START)


class Rotations(RuleBasedStateMachine):
    """Any sequence of changes, checked against a few invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = ring()
        self.now = START
        self.made = count(1)
        self.seen = set(self.ring.kids())

    def new(self, purpose: Purpose) -> Key:
        made = key(f"{purpose}-n{next(self.made)}", purpose, self.now)
        self.seen.add(made.kid)
        return made

    @rule(days=st.integers(0, 40))
    def time_passes(self, days: int) -> None:
        self.now = self.now.plus(days * DAY)

    @rule(purpose=st.sampled_from(PURPOSES))
    def add(self, purpose: Purpose) -> None:
        self.ring = self.ring.add(self.new(purpose))

    @rule(data=st.data(), overlap=st.none() | st.integers(0, 10))
    def promote(self, data: st.DataObject, overlap: int | None) -> None:
        chosen = data.draw(st.sampled_from(self.ring.keys))
        duration = None if overlap is None else overlap * DAY
        if chosen.state == "retired":
            with pytest.raises(KeyUnfit):
                self.ring.promote(chosen.kid, now=self.now, overlap=duration)
            return
        self.ring = self.ring.promote(chosen.kid, now=self.now, overlap=duration)
        assert self.ring.primary(chosen.purpose).kid == chosen.kid

    @rule(data=st.data(), overlap=st.none() | st.integers(0, 10))
    def retire(self, data: st.DataObject, overlap: int | None) -> None:
        chosen = data.draw(st.sampled_from(self.ring.keys))
        if chosen.state == "primary":
            with pytest.raises(KeyInUse):
                self.ring.retire(chosen.kid, now=self.now)
            return
        self.ring = self.ring.retire(chosen.kid, now=self.now, overlap=None if overlap is None else overlap * DAY)

    @precondition(lambda self: len(self.ring.keys) > len(PURPOSES))
    @rule(data=st.data())
    def destroy(self, data: st.DataObject) -> None:
        others = [key for key in self.ring.keys if key.state != "primary"]
        chosen = data.draw(st.sampled_from(others))
        if chosen.purpose == "audit" and chosen.state == "retired":
            with pytest.raises(KeyInUse):
                self.ring.destroy(chosen.kid, now=self.now)
            return
        self.ring = self.ring.destroy(chosen.kid, now=self.now)

    @rule(purpose=st.sampled_from(PURPOSES), days=st.integers(0, 40), overlap=st.integers(0, 10))
    def rotate(self, purpose: Purpose, days: int, overlap: int) -> None:
        older_than, lasting = days * DAY, overlap * DAY
        before = self.ring
        step = before.next_step(purpose, older_than=older_than, overlap=lasting, now=self.now)
        self.ring = before.rotate(
            purpose, older_than=older_than, overlap=lasting, new_key=lambda of, alg: self.new(of), now=self.now
        )
        assert (self.ring is before) == (step is None)
        assert (self.ring.primary(purpose) != before.primary(purpose)) == (step == "promote")
        assert (step == "promote") == before.due(purpose, older_than, self.now)
        if older_than:
            again = self.ring.next_step(purpose, older_than=older_than, overlap=0, now=self.now)
            assert again is None

    @invariant()
    def every_purpose_has_one_primary_and_nothing_is_lost_but_what_was_destroyed(self) -> None:
        for purpose in PURPOSES:
            assert [key.state for key in self.ring.keys if key.purpose == purpose].count("primary") == 1
        assert {*self.ring.kids(), *(stone.kid for stone in self.ring.tombstones)} == self.seen

    @invariant()
    def the_document_holds_all_of_it(self) -> None:
        assert Keyring.from_document(json.loads(json.dumps(self.ring.document()))) == self.ring

    @invariant()
    def what_serves_is_there_and_has_not_ended(self) -> None:
        for purpose in PURPOSES:
            serving = self.ring.verifying(purpose, self.now)
            assert serving[0] == self.ring.primary(purpose)
            ended = [key for key in self.ring.keys if key.purpose == purpose and key not in serving]
            assert all(key.purpose == "sign" and key.state == "retired" and key.not_after for key in ended)


TestRotations = Rotations.TestCase
TestRotations.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)

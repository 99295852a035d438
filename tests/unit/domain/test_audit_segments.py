"""The event chain after its keys were lost: nobody can verify the old segment, and nobody can forge the new one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit.domain.test_audit import (
    EVENT,
    FIELDS,
    INSTALLATION,
    KEYS,
    Chain,
    anything,
    contents,
    head_of,
    relaxed,
    written,
)

from backctl.domain.audit import ChainReport, RecordedEvent, mac_digest, verify

NEW, NEWER = {"n1": b"\x03" * 32}, {"n2": b"\x04" * 32}
EVERY = {**KEYS, **NEW, **NEWER}


def replacement(kid: str, old: Chain) -> RecordedEvent:
    digest = hashlib.sha256(old[-1].mac).hexdigest()
    data = {"keys": [], "lost_keys": [], "old_seq": len(old), "old_mac_digest": digest}
    return EVENT._replace(type="KeyringReplaced", audit_kid=kid, data=json.dumps(data))


def with_segment(kid: str, old: Chain, rows: Sequence[RecordedEvent]) -> Chain:
    """Append a segment under a new key."""
    later = [row._replace(audit_kid=kid, data=row.data or "{}") for row in rows]
    return written([*old, replacement(kid, old), *later], EVERY)


segments = st.tuples(contents, contents).map(lambda both: (len(both[0]), with_segment("n1", written(both[0]), both[1])))


def report_of(rows: Sequence[RecordedEvent], chain: Chain, keys: Mapping[str, bytes] = NEW) -> ChainReport:
    return verify(iter(rows), keys, INSTALLATION, head_of(chain))


@relaxed
@given(segments)
def test_the_old_segment_is_counted_as_unverified_and_the_new_one_verified(made: tuple[int, Chain]) -> None:
    old, chain = made
    assert report_of(chain, chain) == ChainReport(len(chain) - old, 0, unverified=old)
    assert report_of(chain, chain).intact
    assert report_of(chain, chain, EVERY) == ChainReport(len(chain), 0)  # the lost keys were found again


@relaxed
@given(segments, st.data())
def test_a_change_of_the_new_segment_is_found_at_its_row(made: tuple[int, Chain], data: st.DataObject) -> None:
    old, chain = made
    at = data.draw(st.integers(old, len(chain) - 1))
    name = data.draw(st.sampled_from([name for name in FIELDS if name not in ("audit_kid", "type", "seq")]))
    new = data.draw(anything)
    assume(type(new) is not type(getattr(chain[at], name)) or new != getattr(chain[at], name))
    change: dict[str, Any] = {name: new}
    rows = [*chain[:at], chain[at]._replace(**change), *chain[at + 1 :]]
    assert report_of(rows, chain).broken_seq == at + 1


@relaxed
@given(segments, st.data())
def test_removed_events_of_either_segment_are_found(made: tuple[int, Chain], data: st.DataObject) -> None:
    old, chain = made
    first = data.draw(st.integers(0, len(chain) - 1))
    last = data.draw(st.integers(first, len(chain) - 1))
    rows = [*chain[:first], *chain[last + 1 :]]
    found = report_of(rows, chain).broken_seq
    # Without the event that replaced the keyring, nothing explains the missing keys of the first event.
    assert found == (1 if first <= old <= last and first > 0 else first + 1)


@pytest.mark.parametrize("name", ["mac", "seq", "data", "salt", "data_digest"])
def test_of_the_old_segment_its_length_and_its_last_mac_are_certain(name: str) -> None:
    chain = with_segment("n1", written([EVENT] * 3), [EVENT])
    other: dict[str, Any] = {"mac": b"\1" * 32, "seq": 9, "data": "[]", "salt": b"\1" * 16, "data_digest": b"\1" * 32}
    rows = [*chain[:2], chain[2]._replace(**{name: other[name]}), *chain[3:]]
    assert report_of(rows, chain).broken_seq == {"mac": 4, "seq": 3}.get(name, 3)
    rows[2] = chain[2]._replace(actor="somebody else")
    assert report_of(rows, chain) == ChainReport(2, 0, unverified=3)


def test_a_forged_replacement_is_found() -> None:
    """Without the new key, nobody can claim that the keys of events were lost."""
    chain = written([EVENT._replace(audit_kid="n1")] * 3, EVERY)
    forged = [EVENT._replace(audit_kid="x", reason="forged")] * 3
    keys = {**EVERY, "x": b"\x09" * 32}
    alone = written(forged, keys)
    assert report_of(alone, alone).broken_seq == 1
    for kid in ("x", "n1"):  # under an own key, or under the name of the real one
        attempt = written([*forged, replacement("x", alone)], keys)
        attempt[-1] = attempt[-1]._replace(audit_kid=kid)
        assert report_of(attempt, attempt).broken_seq == (1 if kid == "x" else 4)
    rows = [*chain[:2], chain[2]._replace(audit_kid="x")]
    found = report_of(rows, chain)
    assert (found.broken_seq, found.events, found.unverified) == (3, 2, 0)
    assert "'x', which is not in the keyring" in str(found.reason)


def test_a_new_segment_vouches_only_for_the_old_segment_that_it_names() -> None:
    old, other = written([EVENT] * 3), written([EVENT._replace(actor="b")] * 3)
    rows = [*old, replacement("n1", old)]
    named = json.loads(rows[-1].data or "")
    for member, value in (("old_seq", 2), ("old_mac_digest", mac_digest(other[-1].mac)), ("old_seq", None)):
        rows[-1] = rows[-1]._replace(data=json.dumps({**named, member: value}))
        chain = written(rows, EVERY)
        assert report_of(chain, chain).broken_seq == 4
    chain = with_segment("n1", old, [])
    erased = [*chain[:3], chain[3]._replace(data=None, salt=None)]
    assert report_of(erased, chain).broken_seq == 4
    moved = [*other, chain[3]]
    assert report_of(moved, chain).broken_seq == 4


def test_a_keyring_can_be_lost_twice() -> None:
    first = with_segment("n1", written([EVENT] * 3), [EVENT])
    chain = with_segment("n2", first, [EVENT, EVENT])
    assert report_of(chain, chain, NEWER) == ChainReport(3, 0, unverified=5)
    assert report_of(chain, chain, {**NEW, **NEWER}) == ChainReport(5, 0, unverified=3)
    assert report_of(chain, chain, {**KEYS, **NEWER}) == ChainReport(6, 0, unverified=2)
    assert report_of(chain, chain, NEW).broken_seq == 6


def test_missing_newest_events_are_found_after_a_replacement() -> None:
    chain = with_segment("n1", written([EVENT] * 3), [EVENT])
    found = report_of(chain[:-1], chain)
    assert (found.broken_seq, found.events, found.unverified) == (5, 1, 3)
    assert report_of(chain[:3], chain).broken_seq == 1

"""The event chain: every change without the audit key is detected, at the correct row."""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backctl.domain.audit import Head, RecordedEvent, data_digest, genesis, link, verify

INSTALLATION = "01935b1e-7c3a-7def-8abc-0123456789ab"
KEYS = {"a1": b"\x01" * 32, "a2": b"\x02" * 32}
FIELDS = list(RecordedEvent._fields)

relaxed = settings(deadline=None, max_examples=120)


Chain = list[RecordedEvent]


def unlinked(**columns: Any) -> RecordedEvent:
    """Return an event with these columns and without a place in a chain."""
    return RecordedEvent(seq=0, id="", occurred_at=0, data_digest=b"", mac=b"", **columns)


EVENT = unlinked(
    type="T", subject="s", actor="a", reason=None, trace_id=None, audit_kid="a1", data="{}", salt=b"\0" * 16
)

contents = st.lists(
    st.builds(
        unlinked,
        type=st.sampled_from(["UserCreated", "UserActivated"]),
        subject=st.text(max_size=8),
        actor=st.text(max_size=8),
        reason=st.none() | st.text(max_size=8),
        trace_id=st.none() | st.text(max_size=8),
        audit_kid=st.sampled_from(sorted(KEYS)),
        data=st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2).map(json.dumps),
        salt=st.binary(min_size=16, max_size=16),
    ),
    min_size=1,
    max_size=6,
)


def independent_mac(key: bytes, previous: bytes, row: RecordedEvent) -> bytes:
    """Compute the formula of the format description independently."""
    columns = {name: getattr(row, name) for name in FIELDS if name not in ("data", "salt", "mac")}
    columns["data_digest"] = row.data_digest.hex()
    text = json.dumps(columns, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hmac.new(key, previous + text.encode(), hashlib.sha256).digest()


def written(rows: Chain, keys: Mapping[str, bytes] = KEYS) -> Chain:
    chain: Chain = []
    previous = hashlib.sha256(b"backctl-chain-1" + INSTALLATION.encode()).digest()
    for seq, row in enumerate(rows, 1):
        assert row.salt is not None
        assert row.data is not None
        digest = hashlib.sha256(row.salt + row.data.encode()).digest()
        event = row._replace(seq=seq, id=f"id-{seq}", occurred_at=1_795_339_442_000_000 + seq, data_digest=digest)
        previous = independent_mac(keys[row.audit_kid], previous, event)
        chain.append(event._replace(mac=previous))
    return chain


chains = contents.map(written)


def head_of(chain: Sequence[RecordedEvent]) -> Head:
    return Head(chain[-1].seq, chain[-1].mac)


def broken_at(rows: Sequence[RecordedEvent], chain: Sequence[RecordedEvent]) -> int | None:
    report = verify(rows, KEYS, INSTALLATION, head_of(chain))
    assert report.intact == (report.broken_seq is None) == (report.reason is None)
    return report.broken_seq


@relaxed
@given(chains)
def test_a_chain_made_by_the_formula_holds(chain: Chain) -> None:
    report = verify(iter(chain), KEYS, INSTALLATION, head_of(chain))
    assert (report.intact, report.events, report.erased) == (True, len(chain), 0)
    previous = genesis(INSTALLATION).mac
    for row in chain:
        assert row.data is not None
        assert row.salt is not None
        assert data_digest(row.salt, row.data) == row.data_digest
        previous = link(KEYS[row.audit_kid], previous, row)
        assert previous == row.mac


def test_an_empty_log_is_broken_for_every_database_begins_with_an_event() -> None:
    assert verify([], KEYS, INSTALLATION, genesis(INSTALLATION)).broken_seq == 1
    assert verify([], KEYS, INSTALLATION, Head(0, b"\0" * 32)).broken_seq == 0
    assert verify([], KEYS, INSTALLATION, genesis("another")).broken_seq == 0
    assert genesis(INSTALLATION).seq == 0


anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=33) | st.text(max_size=8)
    | st.sampled_from(["\ud800", b"", "", 0, 2**53 + 1, "a1", "a2", "{}", b"\0" * 16, b"\0" * 32, "\0" * 16])
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(chains, st.data())
def test_a_change_of_one_column_to_anything_is_found_at_its_row(chain: Chain, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chain) - 1))
    name = data.draw(st.sampled_from(FIELDS))
    old = getattr(chain[at], name)
    alike = st.binary(min_size=len(old), max_size=len(old)) if isinstance(old, bytes) else st.integers(0, 2**53)
    new = data.draw(alike | anything)
    assume(type(new) is not type(old) or new != old)
    change: dict[str, Any] = {name: new}
    rows = [*chain[:at], chain[at]._replace(**change), *chain[at + 1 :]]
    assert broken_at(rows, chain) == at + 1


@relaxed
@given(chains, st.data())
def test_a_missing_event_is_found(chain: Chain, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(chain) - 1))
    last = data.draw(st.integers(first, len(chain) - 1))
    report = verify(chain[:first] + chain[last + 1 :], KEYS, INSTALLATION, head_of(chain))
    assert (report.broken_seq, report.events) == (first + 1, first)
    assert "missing" in (report.reason or "")


@relaxed
@given(chains, st.data())
def test_an_inserted_event_is_found(chain: Chain, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chain)))
    again = data.draw(st.sampled_from(chain))
    assume(at == len(chain) or again != chain[at])
    for seq in (again.seq, at + 1):
        rows = [*chain[:at], again._replace(seq=seq), *chain[at:]]
        assume(at == len(chain) or rows[at] != chain[at])
        assert broken_at(rows, chain) == at + 1


@relaxed
@given(chains, st.data())
def test_two_swapped_events_are_found_even_with_their_numbers_put_right(chain: Chain, data: st.DataObject) -> None:
    assume(len(chain) > 1)
    first, second = sorted(data.draw(st.lists(st.integers(0, len(chain) - 1), min_size=2, max_size=2, unique=True)))
    for numbered in (False, True):
        rows = list(chain)
        rows[first], rows[second] = rows[second], rows[first]
        if numbered:
            rows = [row._replace(seq=seq) for seq, row in enumerate(rows, 1)]
        assert broken_at(rows, chain) == first + 1


@relaxed
@given(chains, st.data())
def test_erased_events_are_accepted_and_counted_and_cannot_be_filled_again(chain: Chain, data: st.DataObject) -> None:
    erased = data.draw(st.sets(st.integers(0, len(chain) - 1), min_size=1))
    rows = [row._replace(data=None, salt=None) if at in erased else row for at, row in enumerate(chain)]
    report = verify(rows, KEYS, INSTALLATION, head_of(chain))
    assert (report.intact, report.events, report.erased) == (True, len(chain), len(erased))
    at = min(erased)
    for text, salt in ((chain[at].data, None), (None, chain[at].salt), ("{}x", b"\0" * 16), ("", b""), ("{}", b"")):
        rows[at] = chain[at]._replace(data=text, salt=salt)
        assert broken_at(rows, chain) == at + 1


@relaxed
@given(chains)
def test_a_chain_belongs_to_its_installation_and_keys(chain: Chain) -> None:
    assert verify(chain, KEYS, "another", head_of(chain)).broken_seq == 1
    assert verify(chain, dict.fromkeys(KEYS, b"\x03" * 32), INSTALLATION, head_of(chain)).broken_seq == 1
    without = verify(chain, {}, INSTALLATION, head_of(chain))
    assert without.broken_seq == 1
    assert f"'{chain[0].audit_kid}'" in (without.reason or "")


@relaxed
@given(chains, st.integers(-3, 3), st.booleans())
def test_another_head_is_found(chain: Chain, moved: int, forged: bool) -> None:
    assume(moved or forged)
    head = Head(len(chain) + moved, b"\0" * 32 if forged else chain[-1].mac)
    report = verify(chain, KEYS, INSTALLATION, head)
    assert report.broken_seq == (len(chain) + 1 if moved > 0 else len(chain))


@pytest.mark.parametrize("seq", [None, "1", b"1", "x", 1.5])
def test_a_head_of_another_type_is_a_broken_chain_and_no_accident(seq: Any) -> None:
    chain = written([EVENT])
    assert verify(chain, KEYS, INSTALLATION, Head(seq, chain[-1].mac)).broken_seq == 1


def test_null_and_its_text_are_two_things() -> None:
    chain = written([EVENT])
    assert broken_at([chain[0]._replace(reason="null")], chain) == 1


def test_the_walk_stops_at_the_first_flaw() -> None:
    chain = written([EVENT] * 3)

    def rows() -> Iterator[RecordedEvent]:
        yield chain[0]._replace(actor="b")
        raise AssertionError("read on")

    assert verify(rows(), KEYS, INSTALLATION, head_of(chain)).reason == "a column or the MAC was changed"

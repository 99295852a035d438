"""Cursors are untrusted input: a cursor is accepted only with the query that it came from."""

import base64
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backctl.domain.account_status import STATUSES
from backctl.domain.errors import InvalidCursor, InvalidInput
from backctl.domain.repositories import (
    BY_CREATION,
    EVERY_EVENT,
    EVERY_USER,
    PAGE_SIZE,
    PAGE_SIZE_MAX,
    SORT_FIELDS,
    Cursor,
    EventCriteria,
    Sort,
    UserCriteria,
    is_newest_first,
)
from backctl.domain.values import Instant

relaxed = settings(deadline=None, max_examples=200)
ID = "01935b1e-7c3a-7def-8abc-0123456789ab"
SHAPE = (str, int)
instants = st.none() | st.integers(-(10**9), 10**9).map(Instant)
words = st.none() | st.text(max_size=5)
criteria = st.builds(
    UserCriteria,
    roles=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    statuses=st.lists(st.sampled_from(STATUSES), max_size=2).map(tuple),
    locked=st.booleans(),
    created_after=instants,
    created_before=instants,
    expires_before=instants,
    last_login_before=instants,
    mfa=st.lists(st.sampled_from(["off", "pending", "on"]), max_size=2).map(tuple),
    must_change_password=st.booleans(),
    no_password=st.booleans(),
    email_domain=words,
    search=words,
) | st.builds(
    EventCriteria,
    types=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    subjects=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    since=instants,
    until=instants,
    by=words,
    reason_contains=words,
    trace_id=words,
    outcome=st.none() | st.sampled_from(["success", "failure"]),
)
orders = st.sampled_from([str(Sort(field, down)) for field in SORT_FIELDS for down in (False, True)])
printable = st.text(st.characters(categories=["L", "M", "N", "P", "S"]), max_size=50)
positions = st.tuples(printable, st.integers(-(2**63) + 1, 2**63 - 1))


def encoded(payload: bytes) -> str:
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode()


def question(order: str, asked: UserCriteria | EventCriteria) -> str:
    text = Cursor(order, ()).encode(asked)
    payload = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert isinstance(payload, list)
    return str(payload[0])


def refused(text: str, order: str = "id", asked: UserCriteria | EventCriteria = EVERY_USER) -> str:
    with pytest.raises(InvalidCursor) as refusal:
        Cursor.decode(text, order, asked, SHAPE)
    assert refusal.value.hint
    assert len(refusal.value.message) < 1000
    return refusal.value.message


@relaxed
@given(orders, criteria, positions)
def test_a_cursor_survives_its_text(order: str, asked: UserCriteria, position: tuple[str, int]) -> None:
    text = Cursor(order, position).encode(asked)
    assert text.replace("-", "").replace("_", "").isalnum()
    assert text.isascii()
    assert Cursor.decode(text, order, asked, SHAPE) == Cursor(order, position)


def test_an_instant_in_a_cursor_is_its_number() -> None:
    text = Cursor("created_at", (Instant(5), ID)).encode(EVERY_USER)
    assert Cursor.decode(text, "created_at", EVERY_USER, (int, str)).position == (5, ID)


@relaxed
@given(orders, orders, criteria, criteria, positions)
def test_a_cursor_of_another_question_is_refused(
    order: str, other_order: str, asked: UserCriteria, other: UserCriteria, position: tuple[str, int]
) -> None:
    assume((order, asked) != (other_order, other))
    assert "another query" in refused(Cursor(order, position).encode(asked), other_order, other)


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        (UserCriteria(roles=("admin",)), UserCriteria(search="admin")),
        (UserCriteria(roles=("None",)), UserCriteria()),
        (UserCriteria(created_after=Instant(1)), UserCriteria(created_before=Instant(1))),
        (UserCriteria(statuses=("active",)), UserCriteria(statuses=("closed",))),
        (UserCriteria(search="a', email_domain='b"), UserCriteria(search="a", email_domain="b")),
        (UserCriteria(search="\ud800"), UserCriteria(search="\\ud800")),
        (EVERY_USER, EVERY_EVENT),
    ],
)
def test_questions_that_look_alike_are_told_apart(
    asked: UserCriteria | EventCriteria, other: UserCriteria | EventCriteria
) -> None:
    assert "another query" in refused(Cursor("id", ("a", 1)).encode(asked), "id", other)


@relaxed
@given(st.text(max_size=200) | st.binary(max_size=200).map(encoded))
def test_random_text_is_no_cursor(text: str) -> None:
    refused(text)


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@relaxed
@given(hostile)
def test_json_that_is_no_list_with_the_right_question_is_no_cursor(payload: object) -> None:
    refused(encoded(json.dumps(payload).encode()))


@relaxed
@given(st.lists(hostile, max_size=4))
def test_a_position_of_another_shape_is_refused_although_its_question_is_right(position: list[Any]) -> None:
    assume([type(part) for part in position] != [str, int])
    refused(encoded(json.dumps([question("id", EVERY_USER), *position]).encode()))


@pytest.mark.parametrize(
    "position",
    [
        '"a",9223372036854775808', '"a",-9223372036854775808', '"a",1' + "0" * 2000, '"a",1e3', '"a",1.0', '"a",true',
        '"a",null', '"a","1"', '"a",NaN', '"a",-Infinity', '"a"', '"a",1,1', '1,"a"', '["a"],1', '{"a":1},1',
        r'"\ud800",1', r'"\udfff\ud800",1', r'"a\u0000b",1', r'"a\nb",1', r'"\u202e",1',
    ],
)  # fmt: skip
def test_no_position_reaches_the_database_that_it_could_not_take(position: str) -> None:
    refused(encoded(f'["{question("id", EVERY_USER)}",{position}]'.encode()))


@pytest.mark.parametrize(
    "text",
    ["", "=", "====", "A", "W10", "W10=", "W10==", "e30", "bnVsbA", "\x00", "\n", "é", "\ud800", "W1 0", "W10\n",
     "A" * 1_000_000, encoded(b"[" * 3000), encoded(b"[" * 1500 + b"]" * 1500), encoded(b'{"a":' * 600),
     encoded(b"\xff\xfe["), encoded(b"[" + b"9" * 3000 + b"]"), encoded("[1]".encode("utf-16"))],
)  # fmt: skip
def test_hostile_text_is_no_cursor(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("field", SORT_FIELDS)
def test_an_order_survives_its_text(field: str) -> None:
    assert str(Sort.parse(field)) == field
    assert str(Sort.parse(f"-{field}")) == f"-{field}"
    assert Sort.parse(f"-{field}").descending


def test_events_have_one_order_and_its_reverse() -> None:
    assert not is_newest_first("seq")
    assert is_newest_first("-seq")
    for wrong in ("", "-", "--seq", "occurred_at", "SEQ"):
        with pytest.raises(InvalidInput):
            is_newest_first(wrong)


@pytest.mark.parametrize("text", ["", "-", "--email", "Email", "email ", "email desc", "password_hash", "+id", "1;--"])
def test_an_unknown_order_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Sort.parse(text)
    assert all(field in (refusal.value.hint or "") for field in SORT_FIELDS)


def test_the_default_page_is_small_and_by_creation() -> None:
    assert str(BY_CREATION) == "created_at"
    assert 0 < PAGE_SIZE <= PAGE_SIZE_MAX

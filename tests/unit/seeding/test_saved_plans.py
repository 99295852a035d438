"""Saved plans: what they contain, that they read back unchanged, and that damaged ones are refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.domain.seeds import NOW, SECOND, account, entry, plan_of, user_id
from tests.unit.domain.test_seed import FILES, populations

from backctl.application.seeding.plan import FORMAT, PlanReader, SavedPlan, is_saved_plan, written
from backctl.domain.access import AccessPolicy
from backctl.domain.errors import BackctlError, InvalidPlan, PlanElsewhere
from backctl.domain.seed import Plan, Prune, SecretSource, Summary
from backctl.domain.values import NEVER, Expiry
from backctl.infrastructure.addresses import EmailValidatorParser

INSTALLATION = "0193d5b8-7c3a-7def-8abc-0123456789ab"
READER = PlanReader(EmailValidatorParser(), AccessPolicy())

PLAN = plan_of(
    [
        entry(
            "new",
            line=2,
            password=SecretSource("env", "SEED_PASSWORD"),
            mfa_secret=SecretSource("file", "totp.txt"),
            expiry=Expiry(after=SECOND),
        ),
        entry("made", line=3, id=user_id(9), password=SecretSource("generate"), expiry=NEVER, state="closed"),
        entry("ada", line=4, state="closed", role="moderator", email="ADA@example.org"),
        entry("bob", line=5, state="active", expiry=Expiry(at=NOW.plus(SECOND))),
        entry("eve", line=6, password_hash=SecretSource("file", "eve.hash"), enforces_secrets=True),
        entry("old", line=7, state="absent"),
        entry("cyd", line=8, role="admin", expiry=NEVER, password=SecretSource("env", "X"), enforces_secrets=True),
    ],
    [
        account(1, "ada", version=3),
        account(2, "bob", is_active=False),
        account(3, "eve"),
        account(4, "old"),
        account(5, "cyd", expires_at=NOW.plus(SECOND)),
        account(6, "gone", seeded_by="ci"),
    ],
    prune="close",
)


def text_of(plan: Plan) -> str:
    return "".join(written(SavedPlan(INSTALLATION, NOW, plan)))


def as_read(plan: Plan) -> Plan:
    """Return the plan without what is not saved: the number of accounts that neither change nor are compared."""
    compared = sum(change.action == "none" for change in plan.changes)
    return replace(plan, summary=plan.summary._replace(unchanged=compared))


def test_a_plan_reads_back_as_it_was_saved() -> None:
    assert {change.action for change in PLAN.changes} == {"create", "update", "open", "close", "delete", "none"}
    assert READER.read(text_of(PLAN)) == SavedPlan(INSTALLATION, NOW, as_read(PLAN))
    assert READER.read(text_of(PLAN)).plan.summary == Summary(
        create=2, update=1, open=1, close=2, delete=1, unchanged=1
    )


def test_the_document_says_what_it_is_and_has_one_change_per_line() -> None:
    text = text_of(PLAN)
    document = json.loads(text)
    assert list(document) == ["format", "installation_id", "created_at", "files", "names", "reason", "changes"]
    assert document["format"] == "backctl-plan/1"
    assert (document["installation_id"], document["created_at"]) == (INSTALLATION, NOW.isoformat())
    assert (document["files"], document["names"]) == (["seed.yaml"], ["ci"])
    assert text.isascii()
    assert len(text.splitlines()) == len(PLAN.changes) + 2


def test_a_change_has_its_values_and_the_sources_of_its_secrets() -> None:
    changes = {change["username"]: change for change in json.loads(text_of(PLAN))["changes"]}
    assert changes["new"]["secrets"] == {"password": {"env": "SEED_PASSWORD"}, "mfa_secret": {"file": "totp.txt"}}
    assert changes["new"]["after"]["expires_in"] == SECOND
    assert changes["made"]["secrets"] == {"password": {"generate": True}}
    assert changes["ada"] == {
        "action": "close",
        "seed": "ci",
        "file": "seed.yaml",
        "line": 4,
        "id": user_id(1),
        "email": "ada@example.org",
        "username": "ada",
        "version": 3,
        "before": {"email": "ada@example.org", "role": "user", "is_active": True},
        "after": {"email": "ADA@example.org", "role": "moderator", "is_active": False},
        "secrets": {},
        "enforces_secrets": False,
        "compares": [],
    }
    assert (changes["gone"]["file"], changes["gone"]["line"]) == (None, None)


def test_an_empty_plan_can_be_saved() -> None:
    assert READER.read(text_of(plan_of([]))).plan == plan_of([])


def test_the_reason_of_the_files_is_saved() -> None:
    plan = replace(as_read(PLAN), reason="CI seed")
    assert READER.read(text_of(plan)).plan == plan


@given(users=FILES, states=populations(), prune=st.sampled_from([None, "close", "delete"]))
def test_every_plan_reads_back_as_it_was_saved(users: Any, states: Any, prune: Prune | None) -> None:
    try:
        plan = plan_of(users, states, prune=prune)
    except BackctlError:
        return
    assert READER.read(text_of(plan)).plan == as_read(plan)


def test_a_plan_of_another_installation_is_refused() -> None:
    saved = READER.read(text_of(PLAN))
    saved.require_installation(INSTALLATION)
    with pytest.raises(PlanElsewhere):
        saved.require_installation("another")


def test_a_saved_plan_is_recognized_by_its_beginning() -> None:
    assert is_saved_plan(text_of(PLAN))
    assert is_saved_plan(json.dumps({"format": "backctl-plan/2"}, indent=2))
    for other in ("", "{}", '{"version": 1}', '{"name": "format", "format": "backctl-plan/1"}', "version: 1"):
        assert not is_saved_plan(other)


# Damaged and edited plans.


def edited(edit: Callable[[Any], object], number: int = 2) -> str:
    document = json.loads(text_of(PLAN))
    edit(document["changes"][number] if number >= 0 else document)
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        text_of(PLAN)[:-4],
        text_of(PLAN).replace('"version": 3', '"version": 3, "version": 3'),
        text_of(PLAN).replace('"version": 3', '"version": NaN'),
        text_of(PLAN).replace(FORMAT, "backctl-plan/2"),
        text_of(PLAN).replace('"version": 3', '"version": ' + "9" * 5000),
    ],
    ids=range(10),
)
def test_what_is_not_a_plan_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlan) as raised:
        READER.read(text)
    assert "plan FILE --out PLAN" in str(raised.value.hint)


EDITS: dict[str, Callable[[Any], object]] = {
    "no action": lambda change: change.pop("action"),
    "unknown member": lambda change: change.update(note="x"),
    "unknown action": lambda change: change.update(action="destroy"),
    "action of another type": lambda change: change.update(action=1),
    "action that does not fit": lambda change: change.update(action="open"),
    "deletion with values": lambda change: change.update(action="delete"),
    "comparison with values": lambda change: change.update(action="none"),
    "creation of what exists": lambda change: change.update(action="create"),
    "no id": lambda change: change.update(id=None),
    "impossible id": lambda change: change.update(id="1"),
    "id in capitals": lambda change: change.update(id=str(change["id"]).replace("a", "A")),
    "no version": lambda change: change.update(version=None),
    "impossible version": lambda change: change.update(version=0),
    "boolean version": lambda change: change.update(version=True),
    "huge version": lambda change: change.update(version=2**63),
    "line without a file": lambda change: change.update(file=None),
    "unknown role": lambda change: change["after"].update(role="emperor"),
    "invalid address": lambda change: change["after"].update(email="ada"),
    "invalid name": lambda change: change["after"].update(username="a b"),
    "impossible state": lambda change: change["after"].update(is_active=None),
    "opened instead of closed": lambda change: change["after"].update(is_active=True),
    "impossible time": lambda change: change["after"].update(expires_at="tomorrow"),
    "two expiries": lambda change: change["after"].update(expires_at=None, expires_in=1),
    "a duration for an account that exists": lambda change: change["after"].update(expires_in=1),
    "unknown value": lambda change: change["after"].update(password="x"),
    "unknown value before": lambda change: change["before"].update(password="x"),
    "object before": lambda change: change["before"].update(role={}),
    "unknown secret": lambda change: change["secrets"].update(token={"env": "X"}),
    "secret without a source": lambda change: change["secrets"].update(password={}),
    "secret with two sources": lambda change: change["secrets"].update(password={"env": "X", "file": "F"}),
    "secret of an unknown kind": lambda change: change["secrets"].update(password={"url": "X"}),
    "generated secret with a name": lambda change: change["secrets"].update(password={"generate": "X"}),
    "generated password of an account that exists": lambda change: change["secrets"].update(
        password={"generate": True}
    ),
    "variable without a name": lambda change: change["secrets"].update(password={"env": True}),
    "password and hash": lambda change: change["secrets"].update(password={"env": "X"}, password_hash={"env": "Y"}),
    "comparison of what does not change": lambda change: change.update(compares=["password"]),
    "values that are an array": lambda change: change.update(after=[]),
    "files that are an object": lambda change: change.update(secrets=None),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_change_is_refused_by_its_number(edit: Callable[[Any], object]) -> None:
    numbers = [change["username"] for change in json.loads(text_of(PLAN))["changes"]]
    place = numbers.index("ada")
    with pytest.raises(InvalidPlan, match=f"change {place + 1}") as raised:
        READER.read(edited(edit, place))
    assert "plan FILE --out PLAN" in str(raised.value.hint)


@pytest.mark.parametrize(
    "edit",
    [
        lambda plan: plan.pop("names"),
        lambda plan: plan.update(more=1),
        lambda plan: plan.update(names="ci"),
        lambda plan: plan.update(files=[1]),
        lambda plan: plan.update(changes={}),
        lambda plan: plan["changes"].append(None),
        lambda plan: plan.update(created_at="yesterday"),
        lambda plan: plan.update(installation_id=None),
        lambda plan: plan.update(reason=1),
        lambda plan: plan.update(reason=""),
        lambda plan: plan.update(reason="a\nb"),
        lambda plan: plan.pop("reason"),
    ],
)
def test_an_edited_head_is_refused(edit: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidPlan):
        READER.read(edited(edit, -1))


def test_a_secret_in_the_place_of_its_source_is_not_repeated() -> None:
    for value in ("hunter2-hunter2", {"plain": "hunter2-hunter2"}, {"env": {"x": "hunter2-hunter2"}}):
        with pytest.raises(InvalidPlan) as raised:
            READER.read(edited(lambda change, value=value: change["secrets"].update(password=value), 0))  # type: ignore[misc]
        assert "hunter2" not in raised.value.message + str(raised.value.hint)

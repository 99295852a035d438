"""`audit list` with its filters, and `audit show`."""

import json
import re

import pytest
from tests.cli.accounts import Person, python
from tests.cli.conftest import Machine
from tests.cli.expected import EVENT_KEYS, TIME, refused

pytestmark = pytest.mark.every_database

PEOPLE: list[Person] = []
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

_RECORD = """
import backctl
from backctl.domain.values import Secret

with backctl.open_backend() as backend:
    backend.initialise(by=backend.by("setup"))
    billing = backend.by("billing", reason="Joined on MONDAY, 100% sure", trace_id="4bf92f3577b34da6a3ce929d0e0e4736")
    for name in ("ada", "bob", "eve"):
        backend.accounts.create(email=f"{name}@example.org", username=name, role="user", by=billing)
    backend.accounts.update("bob", username="rob", by=backend.by("desk"))
    backend.accounts.delete("rob", by=backend.by("desk", reason="left the team"))
    backend.accounts.create(email="bob2@example.org", username="bob", role="user", by=billing)
    backend.accounts.delete("eve", erase=True, by=backend.by("desk"))
    backend.authentication.authenticate("ada", Secret("wrong"), by=backend.by("web"))
"""


@pytest.fixture(scope="module")
def prepared(prepared: Machine) -> Machine:
    python(prepared, _RECORD).succeeded()
    return prepared


@pytest.fixture
def log(untouched: Machine) -> Machine:
    return untouched


def found(machine: Machine, *flags: str) -> list[tuple[str, str]]:
    """Return the types and the names of the subjects of the events that a search finds, in every form alike."""
    lines = machine.run("audit", "list", *flags, "--all", "-o", "jsonl", "-q").succeeded().out.splitlines()
    events = [json.loads(line) for line in lines]
    page = machine.run("audit", "list", *flags, "-o", "json", "-q").succeeded().json
    assert page == {"items": events, "next_cursor": None}
    return [(event["type"], event["subject_name"]) for event in events]


FORMER = [("UserCreated", "rob"), ("UserUsernameChanged", "rob"), ("UserDeleted", "rob")]


def test_events_are_found_by_actor_system_user_or_both(log: Machine) -> None:
    events = log.run("audit", "list", "-o", "json").succeeded().json["items"]
    user, host = events[1]["os_user"], events[1]["host"]
    assert len(found(log, "--by", "billing")) == 4
    assert found(log, "--by", "web") == [("LoginFailed", "ada")]
    everything = [(event["type"], event["subject_name"]) for event in events]
    for name in (user, f"{user}@{host}"):
        assert found(log, "--by", name)[-9:] == everything[-9:]
    assert found(log, "--by", f"web ({user}@{host})") == [("LoginFailed", "ada")]
    for name in ("bill", "BILLING", "%", " ", "nobody"):
        assert found(log, "--by", name) == []


def test_a_name_finds_the_accounts_that_have_or_had_it(log: Machine) -> None:
    assert found(log, "--subject", "rob") == FORMER
    assert found(log, "--subject", "BOB@example.org") == FORMER
    assert found(log, "--subject", "bob") == [*FORMER, ("UserCreated", "bob")]
    done = log.run("audit", "list", "--subject", "bob", "-o", "json").succeeded()
    renamed, current = done.json["items"][0]["subject"], done.json["items"][-1]["subject"]
    assert done.err == f"backctl: 2 accounts have or had the name 'bob', the newest first: {current}, {renamed}\n"
    assert found(log, "--subject", renamed) == FORMER
    assert [type_ for type_, _ in found(log, "--subject", "ada")] == ["UserCreated", "LoginFailed"]


def test_an_erased_account_is_found_by_its_id_only(log: Machine) -> None:
    error = refused(log.run("audit", "list", "--subject", "eve", "-o", "json"), 3, "user.not_found")
    assert "erased" in error["hint"]
    (deletion,) = [
        event
        for event in log.run("audit", "list", "--type", "UserDeleted", "-o", "json").succeeded().json["items"]
        if event["data"]["erased"]
    ]
    subject = deletion["subject"]
    assert deletion["subject_name"] == subject
    assert found(log, "--subject", subject) == [("UserCreated", subject), ("UserDeleted", subject)]


def test_other_subjects_are_found_by_their_own_text(installed: Machine) -> None:
    check = ("user", "check-password", "nobody", "--password-stdin", "-q")
    assert installed.run(*check, stdin="wrong").code == 6
    assert found(installed, "--subject", "unknown") == [("LoginFailed", "unknown")]
    refused(installed.run("audit", "list", "--subject", "nothing", "-o", "json"), 3, "user.not_found")
    installed.create_user("unknown")  # hides no failed login
    assert found(installed, "--subject", "unknown") == [("LoginFailed", "unknown"), ("UserCreated", "unknown")]
    done = installed.run("audit", "list", "--subject", "unknown").succeeded()
    account = installed.run("user", "show", "unknown", "-o", "id").succeeded().out.strip()
    also = "'unknown' is also a subject that is not an account; to exclude it, use an id such as"
    assert done.err == f"backctl: {also} {account}\n"


def test_several_types_and_globs_select_events(log: Machine) -> None:
    assert found(log, "--type", "LoginFailed") == [("LoginFailed", "ada")]
    deleted = found(log, "--type", "UserDeleted")
    assert len(deleted) == 2
    assert len(found(log, "--type", "LoginFailed", "--type", "UserDeleted", "--type", "User[D]*")) == 3
    assert found(log, "--type", "*Changed") == [("UserUsernameChanged", "rob")]
    assert len(found(log, "--type", "User*")) == 7


def test_an_outcome_selects_refused_attempts_or_all_other_events(log: Machine) -> None:
    assert found(log, "--outcome", "failure") == [("LoginFailed", "ada")]
    assert found(log, "--outcome", "success") == [each for each in found(log) if each[0] != "LoginFailed"]


def test_a_text_in_the_reason_is_found_in_any_case(log: Machine) -> None:
    assert len(found(log, "--reason-contains", "monday")) == 4
    assert len(found(log, "--reason-contains", "100% SURE")) == 4
    assert found(log, "--reason-contains", "TEAM") == [("UserDeleted", "rob")]
    for text in ("100%sure", "_", "monday%"):
        assert found(log, "--reason-contains", text) == []
    assert len(found(log, "--reason-contains", "")) == 5


def test_filters_are_combined(log: Machine) -> None:
    flags = ("--by", "desk", "--type", "User*", "--subject", "bob", "--since", "1h", "--outcome", "success")
    assert found(log, *flags) == [("UserUsernameChanged", "rob"), ("UserDeleted", "rob")]
    assert found(log, *flags, "--reason-contains", "LEFT") == [("UserDeleted", "rob")]
    for trace in (TRACE, TRACE.upper()):
        assert len(found(log, "--trace-id", trace, "--by", "billing", "--since", "2020-01-01")) == 4
    assert found(log, "--until", "1h") == []


def test_a_cursor_keeps_a_relative_time(log: Machine) -> None:
    query = ("audit", "list", "--since", "2h", "--by", "billing", "--sort", "-seq", "--limit", "3", "-o", "json")
    first = log.run(*query).succeeded().json
    second = log.run(*query, "--cursor", first["next_cursor"]).succeeded().json
    assert [event["subject_name"] for event in (*first["items"], *second["items"])][-2:] == ["rob", "ada"]
    assert second["next_cursor"] is None
    other = ("audit", "list", "--since", "3h", *query[4:])
    refused(log.run(*other, "--cursor", first["next_cursor"]), 2, "cursor.invalid")


@pytest.mark.parametrize(
    ("flags", "code", "hint"),
    [
        ("--actor x", "usage", "use --by to filter by actor"),
        ("--reason x", "usage", "use --reason-contains to filter by reason"),
        ("--type UserCreatd", "input.invalid", "did you mean 'UserCreated'?"),
        ("--type user*", "input.invalid", "did you mean"),
        ("--type LoginFailed --type Nothing*", "input.invalid", "known types: "),
        ("--type UserCreated --outcome failure", "input.invalid", "LoginFailed"),
        ("--outcome maybe", "usage", "--help"),
        ("--since 1h --until 2h", "input.invalid", "earlier"),
        ("--since 3d --until 3d", "input.invalid", "earlier"),
        ("--by=", "input.invalid", "USER@HOST"),
        (f"--trace-id 00-{TRACE}-00f067aa0ba902b7-01", "input.invalid", "32 hexadecimal digits"),
        ("--since 7x", "duration.invalid", ""),
    ],
)
def test_searches_that_can_never_match_are_rejected(log: Machine, flags: str, code: str, hint: str) -> None:
    error = refused(log.run("audit", "list", *flags.split(), "-o", "json"), 2, code)
    assert hint in (error["hint"] or "")


def test_a_filter_that_is_not_text_is_named(log: Machine) -> None:
    done = log.run("audit", "list", "--type", "caf\udce9")
    assert (done.code, done.out) == (2, "")
    assert "error: type 'caf" in done.err


# The table.


def test_the_table_shows_time_type_subject_actor_and_reason(log: Machine) -> None:
    for command in (("audit", "list", "--subject", "rob"), ("user", "history", "bob")):
        lines = log.run(*command, "-o", "table", env={"COLUMNS": "140"}).succeeded().out.splitlines()
        assert re.split(r" {2,}", lines[0]) == ["SEQ", "OCCURRED AT", "TYPE", "SUBJECT NAME", "ACTOR", "REASON"]
        assert not any(sign in "".join(lines) for sign in "{}")
    whole = log.run("audit", "list", "--subject", "rob", "-o", "table", env={"COLUMNS": "140"}).succeeded().out
    assert re.search(r"UserDeleted +rob +desk +left the team", whole)
    assert not re.search(r"[0-9a-f]{8}-", whole)


@pytest.mark.parametrize("columns", ["80", "140"])
def test_the_table_fits_a_terminal(log: Machine, columns: str) -> None:
    lines = log.run("audit", "list", "-o", "table", env={"COLUMNS": columns}).succeeded().out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert sum(line.startswith("SEQ") for line in lines) == 1
    for text in ("UserUsernameChanged", "rob", "desk", "billing"):
        assert any(text in line for line in lines), text


# One event.


def test_one_event_is_shown_with_all_members(log: Machine) -> None:
    events = log.run("audit", "list", "-o", "json").succeeded().json["items"]
    for event in (events[0], events[-1]):
        for name in (str(event["seq"]), event["id"], event["id"].upper()):
            assert log.run("audit", "show", name, "-o", "json").succeeded().json == event
    created = next(event for event in events if event["type"] == "UserCreated")
    assert list(created) == EVENT_KEYS
    assert re.fullmatch(TIME, created["occurred_at"])
    shown = log.run("audit", "show", str(created["seq"]), "-o", "table").succeeded().out
    for line in ("type: +UserCreated", "subject_name: +ada", "actor: +billing", "data: .*", " +username: ada"):
        assert re.search(f"^{line}$", shown, re.MULTILINE), line
    assert "{" not in shown
    assert log.run("audit", "show", str(created["seq"]), "-o", "id").succeeded().out == f"{created['id']}\n"


@pytest.mark.parametrize("name", ["0", "4711", "9" * 30, "01a22184-7705-7083-a63e-721801959106"])
def test_an_event_that_does_not_exist_is_not_found(log: Machine, name: str) -> None:
    refused(log.run("audit", "show", name, "-o", "json"), 3, "event.not_found")


@pytest.mark.parametrize("name", ["ada", "", "1.5", "0x1"])
def test_a_text_that_cannot_name_an_event_is_rejected(log: Machine, name: str) -> None:
    refused(log.run("audit", "show", name, "-o", "json"), 2, "input.invalid")

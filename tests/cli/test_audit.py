"""`audit list|verify`: how events are shown, and that a changed event is detected."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import EVENT_KEYS, MORE, TIME, UUID7, refused
from tests.cli.files import contents

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), *(Person(f"user{n}", active=n % 2 > 0) for n in range(6))]
CHAIN_KEYS = ["ok", "events", "erased", "unverified", "broken_seq", "problem"]


@dataclass(frozen=True)
class Log:
    """An installation whose event log is only read."""

    machine: Machine
    events: list[dict[str, Any]]


@pytest.fixture(scope="module")
def log(prepared: Machine) -> Log:
    lines = prepared.run("audit", "list", "--all", "-o", "jsonl").succeeded().out.splitlines()
    return Log(prepared, [json.loads(line) for line in lines])


def test_events_are_told_in_their_order_with_exactly_these_members(log: Log) -> None:
    page = log.machine.run("audit", "list", "-o", "json").succeeded()
    assert page.json == {"items": log.events, "next_cursor": None}
    assert page.err == ""
    assert [event["seq"] for event in log.events] == list(range(1, 12))
    for event in log.events:
        assert list(event) == EVENT_KEYS
        assert re.fullmatch(UUID7, event["id"])
        assert re.fullmatch(TIME, event["occurred_at"])
    assert log.events[0]["type"] == "InstallationCreated"
    assert {event["actor"] for event in log.events[1:]} == {"seed"}


def test_the_log_in_every_form(log: Log) -> None:
    arguments = ("audit", "list", "--type", "UserDeactivated", "--limit", "2")
    chosen = [event for event in log.events if event["type"] == "UserDeactivated"][:2]
    tab = log.machine.run(*arguments).succeeded()
    assert tab.out.splitlines()[0] == "\t".join(EVENT_KEYS)
    assert tab.err.startswith(f"{MORE} --cursor ")
    assert log.machine.run(*arguments, "-o", "id", "-q").succeeded().out == "".join(f"{e['id']}\n" for e in chosen)
    comma = log.machine.run(*arguments, "-o", "csv", "--fields", "seq,data", "--no-header", "-q").succeeded()
    assert comma.out == "".join(f'{event["seq"]},"{{""version"": 2}}"\n' for event in chosen)
    table = log.machine.run(*arguments, "-o", "table", "--fields", "seq,type").succeeded()
    assert table.out.splitlines()[0] == "SEQ  TYPE"


def test_filters_of_the_log(log: Log) -> None:
    def found(*arguments: str) -> list[int]:
        answer = log.machine.run("audit", "list", *arguments, "--all", "--fields", "seq", "--no-header").succeeded()
        return [int(line) for line in answer.out.split()]

    sixth = log.events[5]
    assert found("--type", "UserCreated") == [e["seq"] for e in log.events if e["type"] == "UserCreated"]
    assert found("--subject", sixth["subject"]) == [e["seq"] for e in log.events if e["subject"] == sixth["subject"]]
    assert found("--since", sixth["occurred_at"]) == list(range(6, 12))
    assert found("--until", sixth["occurred_at"]) == list(range(1, 6))


def test_cursors_lead_through_the_log(log: Log) -> None:
    found: list[dict[str, Any]] = []
    cursor: tuple[str, ...] = ()
    while True:
        page = log.machine.run("audit", "list", "--limit", "4", *cursor, "-o", "json").succeeded().json
        found += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = ("--cursor", page["next_cursor"])
    assert found == log.events


def test_the_newest_events_come_first_when_asked_for(log: Log) -> None:
    newest = log.machine.run("audit", "list", "--sort", "-seq", "--limit", "4", "-o", "json").succeeded().json
    assert newest["items"] == log.events[:-5:-1]
    onward = log.machine.run(
        "audit", "list", "--sort", "-seq", "--limit", "4", "--cursor", newest["next_cursor"], "-o", "json"
    )
    assert onward.succeeded().json["items"] == log.events[-5:-9:-1]
    whole = log.machine.run("audit", "list", "--sort", "-seq", "--all", "--fields", "seq", "--no-header").succeeded()
    assert [int(line) for line in whole.out.split()] == list(range(11, 0, -1))


@pytest.mark.embedded
def test_events_of_a_job_are_found_by_its_trace(machine: Machine) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    create = ("user", "create", "ada@example.org", "--username", "ada", "--no-password")
    machine.run(*create, env={"TRACEPARENT": f"00-{trace}-00f067aa0ba902b7-01"}).succeeded()
    machine.run("user", "deactivate", "ada", env={"TRACEPARENT": "no trace"}).succeeded()
    found = machine.run("audit", "list", "--trace-id", trace, "-o", "json").succeeded().json["items"]
    assert [(event["type"], event["trace_id"]) for event in found] == [
        ("InstallationCreated", trace),
        ("UserCreated", trace),
    ]


MEANINGLESS = {
    "usage": ["--all --limit 5", "--fields mac"],
    "input.invalid": ["--sort occurred_at", "--limit 0", "--since noon"],
    "cursor.invalid": ["--cursor ?"],
}


@pytest.mark.parametrize(
    ("question", "code"), [(question, code) for code, questions in MEANINGLESS.items() for question in questions]
)
def test_questions_about_the_log_that_mean_nothing(log: Log, question: str, code: str) -> None:
    refused(log.machine.run("audit", "list", *question.split(), "-o", "json"), 2, code)


def test_a_whole_log_verifies(log: Log) -> None:
    before = contents(log.machine.home)
    whole = log.machine.run("audit", "verify", "-o", "json").succeeded()
    assert list(whole.json) == CHAIN_KEYS
    assert whole.json == {"ok": True, "events": 11, "erased": 0, "unverified": 0, "broken_seq": None, "problem": None}
    assert whole.err == ""
    quiet = log.machine.run("audit", "verify", "-q").succeeded()
    assert (quiet.out, quiet.err) == ("", "")
    assert contents(log.machine.home) == before


# Tampering.


def found_broken(machine: Machine, broken: int) -> None:
    found = machine.run("audit", "verify", "-o", "json")
    assert (found.code, found.err) == (6, "")
    assert list(found.json) == CHAIN_KEYS
    assert (found.json["ok"], found.json["broken_seq"], found.json["events"]) == (False, broken, broken - 1)
    assert found.json["problem"]
    quiet = machine.run("audit", "verify", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (6, "", "")


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE events SET data = replace(data, 'user0', 'user9') WHERE seq = 3", 3),
        ("UPDATE events SET type = 'UserActivated' WHERE seq = 4", 4),
        ("UPDATE events SET reason = 'ok' WHERE seq = 11", 11),
        ("DELETE FROM events WHERE seq = 5", 5),
        ("DELETE FROM events WHERE seq = 11", 11),
        ("UPDATE events SET audit_kid = 'mine' WHERE seq = 2", 2),
    ],
    ids=["data", "type", "reason", "a row", "the last row", "another key"],
)
def test_a_changed_log_is_found_out(installed: Machine, statement: str, broken: int) -> None:
    installed.rows(statement)
    found_broken(installed, broken)


@pytest.mark.embedded
def test_a_flipped_byte_of_the_file_is_found_out(installed: Machine) -> None:
    path = installed.data / "backctl.db"
    raw = bytearray(path.read_bytes())
    at = raw.index(b'"username":"user3"')
    raw[at + len(b'"username":"user')] ^= 1
    path.write_bytes(raw)
    found_broken(installed, 8)


@pytest.mark.embedded
def test_an_event_that_is_no_text_any_more_is_found_out(installed: Machine) -> None:
    installed.rows("UPDATE events SET data = CAST(x'ff' AS TEXT) WHERE seq = 2")
    found_broken(installed, 2)


def test_without_the_keyring_nothing_is_proved(machine: Machine) -> None:
    machine.create_user("ada")
    (machine.data / "keyring.json").unlink()
    refused(machine.run("audit", "verify", "-o", "json"), 9, "keyring.missing")


def test_events_never_steer_a_terminal(machine: Machine) -> None:
    machine.create_user("ada")
    machine.rows("UPDATE events SET reason = ?, data = ?", "\x1b[2J\u202e", '{"a":"\\u001b[2J"}')
    for form in ("table", "json", "jsonl", "csv", "tsv"):
        screen = machine.at_terminal("audit", "list", "-o", form, env={"NO_COLOR": "1"})
        assert screen.code == 0
        assert not {"\x1b", "\u202e"} & set(screen.out), form

"""`backctl ratelimit …` on the embedded store."""

import re
import secrets
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Machine
from tests.cli.documents import ROOT, run_document
from tests.cli.expected import refused
from tests.servers import Servers

DOCUMENT = "docs/ratelimit.md"
POLICIES = """
[ratelimit.policies.login]
limit = 2
window = "1h"

[ratelimit.policies.api]
algorithm = "gcra"
limit = 100
window = "1m"
burst = 20
on_error = "allow"

[ratelimit.policies.guest]
algorithm = "sliding-counter"
limit = 5
window = "1h"
on_error = "deny"
"""
CHECK = ("ratelimit", "check")
KEYS = ["ok", "policy", "ident", "limit", "remaining", "retry_after", "reset_after", "degraded", "window"]


@pytest.fixture
def limited(machine: Machine) -> Machine:
    machine.configure(POLICIES)
    return machine


def store(machine: Machine) -> Path:
    return machine.data / "limits.db"


def test_the_fourth_of_three_is_refused_with_no_server_and_no_installation(machine: Machine) -> None:
    done = [machine.run(*CHECK, "-q", "demo", "ada", "--rate", "3/1m") for _ in range(4)]
    assert [(each.code, each.out, each.err) for each in done] == [(0, "", "")] * 3 + [(6, "", "")]
    assert [path.name for path in machine.data.iterdir() if not path.name.startswith("limits.db-")] == ["limits.db"]
    assert store(machine).stat().st_mode & 0o777 == 0o600
    machine.run("user", "list").code == 9  # noqa: B015
    assert machine.run("user", "create", "ada@example.org", "--username", "ada", "--no-password").code == 0


def test_the_answer_has_the_same_members_for_yes_and_no(limited: Machine) -> None:
    yes = limited.run(*CHECK, "login", "ada", "--cost", "2", "-o", "json").succeeded().json
    no = limited.run(*CHECK, "login", "ada", "-o", "json")
    assert (list(yes), list(no.json), no.code) == (KEYS, KEYS, 6)
    assert (yes["ok"], yes["remaining"], yes["retry_after"], yes["reset_after"]) == (True, 0, 0, 3600)
    assert (no.json["ok"], no.json["limit"], no.json["degraded"]) == (False, 2, False)
    assert 3500 < no.json["retry_after"] <= 3600
    never = limited.run(*CHECK, "login", "bob", "--cost", "3", "-o", "json")
    assert (never.code, never.json["retry_after"], never.json["remaining"]) == (6, -1, 2)


def test_a_peek_consumes_nothing_and_creates_nothing(limited: Machine) -> None:
    for _ in range(3):
        assert limited.run("ratelimit", "peek", "login", "ada", "-o", "json").succeeded().json["remaining"] == 2
    assert not limited.data.exists()
    limited.run(*CHECK, "login", "ada", "--cost", "2").succeeded()
    assert limited.run("ratelimit", "peek", "login", "ada").code == 6


def test_the_list_shows_who_has_consumed_something(limited: Machine) -> None:
    assert limited.run("ratelimit", "list", "-o", "json").succeeded().json == {"items": [], "next_cursor": None}
    limited.run(*CHECK, "login", "ada", "--cost", "2").succeeded()
    limited.run(*CHECK, "api", "bob").succeeded()
    limited.run(*CHECK, "demo", "eve", "--rate", "1/1h").succeeded()
    items = limited.run("ratelimit", "list", "-o", "json").succeeded().json["items"]
    assert [(item["policy"], item["ident"], item["ok"]) for item in items] == [
        ("login", "ada", False),
        ("api", "bob", True),
    ]
    only = ("ratelimit", "list", "--no-header", "--fields", "ident")
    assert limited.run(*only, "--limited").succeeded().out == "ada\n"
    assert limited.run(*only, "api").succeeded().out == "bob\n"
    refused(limited.run("ratelimit", "list", "nothing", "-o", "json"), 3, "ratelimit.policy_not_found")


def test_a_reset_is_recorded_where_there_is_an_installation(limited: Machine) -> None:
    reset = ("ratelimit", "reset", "login", "ada", "--reason", "case 4711", "-o", "json")
    assert limited.run(*reset).succeeded().json == {"policy": "login", "ident": "ada", "changed": False}
    limited.run(*CHECK, "login", "ada", "--cost", "2").succeeded()
    assert limited.run(*reset, "--dry-run").succeeded().json["dry_run"] is True
    assert limited.run(*CHECK, "login", "ada").code == 6
    assert limited.run(*reset).succeeded().json["changed"] is True
    limited.run("init").succeeded()
    limited.run(*CHECK, "login", "ada", "--cost", "2").succeeded()
    limited.run(*reset, "--dry-run").succeeded()
    assert limited.run(*reset).succeeded().json["changed"] is True
    assert limited.run(*reset).succeeded().json["changed"] is False
    limited.run(*CHECK, "login", "ada").succeeded()
    events = limited.run("audit", "list", "--type", "RateLimitReset", "-o", "json").succeeded().json["items"]
    assert [(event["subject"], event["data"], event["reason"]) for event in events] == [
        ("login", {"ident": "ada"}, "case 4711")
    ]


def test_waiting_ends_when_the_request_is_allowed_or_would_take_too_long(machine: Machine) -> None:
    check = (*CHECK, "-q", "demo", "ada", "--rate", "1/200ms")
    machine.run(*check).succeeded()
    machine.run(*check, "--wait", "5s").succeeded()
    once = (*CHECK, "-q", "demo", "ada", "--rate", "1/1h")
    machine.run(*once).succeeded()
    assert machine.run(*once, "--wait", "1s").code == 6
    assert machine.run(*once, "--wait", "1s", "--cost", "2").code == 6


def test_policies_are_shown_with_their_bounds(limited: Machine) -> None:
    items = limited.run("ratelimit", "policy", "list", "-o", "json").succeeded().json["items"]
    bounds = {item["name"]: (item["worst_burst"], item["bytes_per_ident"]) for item in items}
    assert bounds == {"api": (119, 24), "guest": (9, 24), "login": (2, 38)}
    shown = limited.run("ratelimit", "policy", "show", "api", "-o", "json").succeeded().json
    assert (shown["window"], shown["burst"], shown["on_error"]) == (60, 20, "allow")
    assert "up to 20 at once" in shown["summary"]
    error = refused(limited.run("ratelimit", "policy", "show", "log", "-o", "json"), 3, "ratelimit.policy_not_found")
    assert "'api', 'guest', 'login'" in error["hint"]


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("demo", "ada"), 3, "ratelimit.policy_not_found"),
        (("demo", "", "--rate", "3/1m"), 2, "ratelimit.invalid"),
        (("demo", "x" * 1025, "--rate", "3/1m"), 2, "ratelimit.invalid"),
        (("demo", "ä" * 513, "--rate", "3/1m"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/"), 2, "duration.invalid"),
        (("demo", "ada", "--rate", "/1m"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "-3/1m"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "1.5/1m"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "٣/1m"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "0/1m"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/0s"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/367d"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "100001/1m"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", f"{'9' * 5000}/1m"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/1m", "--burst", "3"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/1m", "--algorithm", "gcra", "--burst", "0"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/1m", "--algorithm", "bucket"), 2, "usage"),
        (("demo", "ada", "--rate", "3/1m", "--cost", "0"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/1m", "--cost", "-1"), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/1m", "--cost", "1.5"), 2, "usage"),
        (("demo", "ada", "--rate", "3/1m", "--cost", "9" * 30), 2, "ratelimit.invalid"),
        (("demo", "ada", "--rate", "3/1m", "--wait", "soon"), 2, "duration.invalid"),
        (("login", "ada", "--rate", "3/1m"), 2, "usage"),
        (("login", "ada", "--burst", "3"), 2, "usage"),
        (("login", "ada", "--algorithm", "gcra"), 2, "usage"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_created(
    limited: Machine, words: tuple[str, ...], exit_code: int, code: str
) -> None:
    error = refused(limited.run(*CHECK, *words, "-o", "json"), exit_code, code)
    assert error["hint"]
    assert not store(limited).exists()


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("limit = 0", "limit is 0"),
        ("limit = -1", "limit is -1"),
        ("limit = 1.5", "limit is a number with a fraction"),
        ('limit = "5"', "limit is '5'"),
        ("window = '1m'", "has no limit"),
        ("limit = 5\nwindow = '0s'", "window is '0s'"),
        ("limit = 5\nalgorithm = 'bucket'", "one of sliding-window, sliding-counter, gcra"),
        ("limit = 5\non_error = 'ignore'", "one of fail, allow, deny"),
        ("limit = 5\nburst = 5", "has a burst, which sliding-window cannot have"),
        ("limit = 100001", "the limit of the policy 'p' is 100001"),
        ("limit = 5\nper = '1m'", "unknown key 'ratelimit.policies.p.per'"),
    ],
)
def test_an_impossible_policy_is_found_by_validate_and_by_use(machine: Machine, toml: str, words: str) -> None:
    machine.configure(f"[ratelimit.policies.p]\n{toml}\n")
    validated = machine.run("config", "validate")
    assert (validated.code, words in validated.out) == (9, True), validated
    used = machine.run(*CHECK, "p", "ada")
    assert (used.code, words in used.err) == (9, True), used
    assert not store(machine).exists()


def test_identifiers_of_any_bytes_are_shown_safely(limited: Machine) -> None:
    for ident in (b"\xff\xfe", b"\x1b[31m", "\u202e".encode(), b"-x", b"a\tb"):
        arguments: list[str | bytes] = [sys.executable, "-m", "backctl", *CHECK, "login", "-o", "json", "--", ident]
        done = subprocess.run(arguments, env=limited.environment, capture_output=True, stdin=subprocess.DEVNULL)
        assert (done.returncode, done.stderr) == (0, b"")
    shown = limited.run("ratelimit", "list", "--no-header", "--fields", "ident").succeeded().out
    assert set(shown.splitlines()) == {
        "\\\\xff\\\\xfe",
        "\x1b[31m",
        "\u202e",
        "-x",
        "a\\tb",
    }  # escaped only on a terminal


# The store.


def damage(machine: Machine, statement: str) -> None:
    with closing(sqlite3.connect(store(machine))) as database:
        database.execute(statement)
        database.commit()


def test_on_error_answers_while_the_store_is_unusable(limited: Machine) -> None:
    limited.data.mkdir(parents=True, mode=0o700)
    store(limited).write_bytes(b"not a database, but long enough to look like one" * 100)
    before = store(limited).read_bytes()
    failed = refused(limited.run(*CHECK, "login", "ada", "-o", "json"), 9, "database.unusable")
    assert "limits.db" in failed["message"]
    allowed = limited.run(*CHECK, "api", "ada", "-o", "json").succeeded().json
    assert (allowed["ok"], allowed["degraded"], allowed["retry_after"]) == (True, True, 0)
    denied = limited.run(*CHECK, "guest", "ada", "-o", "json")
    assert (denied.code, denied.json["degraded"], denied.json["retry_after"]) == (6, True, 1)
    assert store(limited).read_bytes() == before


@pytest.mark.parametrize("state", ["x'ff'", "'text'", "5", "zeroblob(9)"])
def test_a_damaged_state_is_an_error_with_a_hint(limited: Machine, state: str) -> None:
    limited.run(*CHECK, "login", "ada").succeeded()
    damage(limited, f"UPDATE limits SET state = {state}")
    for command in (CHECK, ("ratelimit", "peek"), ("ratelimit", "reset")):
        error = refused(limited.run(*command, "login", "ada", "-o", "json"), 9, "ratelimit.damaged")
        assert "move the file" in error["hint"]
    refused(limited.run("ratelimit", "list", "-o", "json"), 9, "ratelimit.damaged")


def test_a_file_of_another_program_is_left_alone(limited: Machine) -> None:
    limited.data.mkdir(parents=True, mode=0o700)
    with closing(sqlite3.connect(store(limited))) as database:
        database.execute("CREATE TABLE customers (id INTEGER)")
    before = store(limited).read_bytes()
    error = refused(limited.run(*CHECK, "login", "ada", "-o", "json"), 9, "database.unusable")
    assert "does not contain rate limits" in error["message"]
    assert store(limited).read_bytes() == before


def test_a_newer_file_is_left_alone(limited: Machine) -> None:
    limited.run(*CHECK, "login", "ada").succeeded()
    damage(limited, "PRAGMA user_version = 2")
    refused(limited.run(*CHECK, "login", "ada", "-o", "json"), 9, "database.unusable")


def test_a_locked_file_is_an_error_after_the_timeout(limited: Machine) -> None:
    limited.run(*CHECK, "login", "ada").succeeded()
    with closing(sqlite3.connect(store(limited))) as database:
        database.execute("BEGIN IMMEDIATE")
        refused(limited.run(*CHECK, "login", "ada", "--timeout", "100ms", "-o", "json"), 5, "database.locked")
        assert limited.run(*CHECK, "api", "ada", "--timeout", "100ms", "-o", "json").succeeded().json["degraded"]


def test_expired_states_are_deleted_by_later_requests(machine: Machine) -> None:
    for number in range(20):
        machine.run(*CHECK, "-q", "demo", f"user{number}", "--rate", "1/1ms").succeeded()
    with closing(sqlite3.connect(store(machine))) as database:
        assert database.execute("SELECT count(*) FROM limits").fetchone()[0] <= 2


# What is shown.


@pytest.mark.parametrize("kind", ["embedded", "redis"])
def test_every_command_of_the_document_runs(machine: Machine, servers: Servers, kind: str) -> None:
    if kind == "redis":
        machine.environment |= {
            "BACKCTL_REDIS_URL": servers.redis().url(),
            "BACKCTL_REDIS_NAMESPACE": secrets.token_hex(8),
        }
    *commands, program = (ran for ran in run_document(machine, DOCUMENT) if ran.block.language != "toml")
    assert [ran.block for ran in commands if ran.err or not ran.out] == []
    assert program.out == "True 4\n"


def test_the_members_in_the_document_are_those_of_the_answer(machine: Machine) -> None:
    table = (ROOT / DOCUMENT).read_text(encoding="utf-8").partition("| member | meaning |")[2].partition("\n\n")[0]
    first_cells = "".join(line.split("|")[1] for line in table.splitlines()[2:])
    assert re.findall("`([a-z_]+)`", first_cells) == KEYS

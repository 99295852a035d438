"""`user activate|deactivate`, with one and with many accounts: confirmation, reports, and the effects of a failure."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from tests.cli.accounts import Person, populate
from tests.cli.conftest import Machine, ServerMachine
from tests.cli.expected import USER_KEYS, refused
from tests.cli.processes import run_without_reader

pytestmark = pytest.mark.every_database

NAMES = ("ada", "bob", "cleo", "dan", "eve")
PEOPLE = [Person("root", role="admin"), *map(Person, NAMES)]


def closed(machine: Machine) -> set[str]:
    return set(machine.run("user", "list", "--inactive", "--fields", "username", "--no-header").succeeded().out.split())


def events(machine: Machine, type_: str = "UserDeactivated") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = machine.run("audit", "list", "--type", type_, "-o", "json").succeeded().json["items"]
    return items


# One account.


def test_deactivating_twice_changes_once_and_is_recorded_once(installed: Machine) -> None:
    first = installed.run("user", "deactivate", "ada", "--reason", "left", "-o", "json").succeeded().json
    assert list(first) == [*USER_KEYS, "changed"]
    assert (first["is_active"], first["changed"], first["version"]) == (False, True, 2)
    second = installed.run("user", "deactivate", "ada", "-o", "json").succeeded().json
    assert second == {**first, "changed": False}
    history = installed.run("user", "history", "ada", "-o", "json").succeeded().json["items"]
    assert [event["type"] for event in history] == ["UserCreated", "UserDeactivated"]
    assert history[1]["reason"] == "left"
    again = installed.run("user", "activate", "ADA@example.org", "-o", "json").succeeded().json
    assert (again["is_active"], again["changed"], again["version"]) == (True, True, 3)
    assert installed.run("user", "activate", "ada", "-o", "json").succeeded().json == {**again, "changed": False}
    assert installed.run("user", "activate", "ada", "-q").succeeded().out == ""
    installed.run("audit", "verify").succeeded()


def test_one_unknown_account_is_not_found(untouched: Machine) -> None:
    refused(untouched.run("user", "deactivate", "nobody", "-o", "json"), 3, "user.not_found")


def test_the_last_administrator_stays(untouched: Machine) -> None:
    error = refused(untouched.run("user", "deactivate", "root", "-o", "json"), 8, "user.last_administrator")
    assert "'root'" in error["message"]
    dry = untouched.run("user", "deactivate", "root", "--dry-run", "-o", "json")
    refused(dry, 8, "user.last_administrator")


def test_a_dry_run_says_what_it_would_do_and_does_nothing(untouched: Machine) -> None:
    one = untouched.run("user", "deactivate", "ada", "--dry-run", "-o", "json").succeeded().json
    assert list(one) == [*USER_KEYS, "changed", "dry_run"]
    assert (one["is_active"], one["changed"], one["dry_run"]) == (False, True, True)
    many = untouched.run("user", "deactivate", "ada", "bob", "-n", "-o", "json").succeeded().json
    assert [(item["ident"], item["changed"], item["dry_run"]) for item in many["items"]] == [
        ("ada", True, True),
        ("bob", True, True),
    ]


# Many accounts.


def test_many_from_arguments(installed: Machine) -> None:
    installed.run("user", "deactivate", "cleo").succeeded()
    ended = installed.run("user", "deactivate", "ada", "bob@example.org", "cleo", "--yes", "-o", "json").succeeded()
    assert list(ended.json) == ["items", "summary"]
    assert ended.json["summary"] == {
        "total": 3,
        "changed": 2,
        "unchanged": 1,
        "failed": 0,
    }
    for item, ident, changed in zip(
        ended.json["items"], ("ada", "bob@example.org", "cleo"), (True, True, False), strict=True
    ):
        assert list(item) == ["ident", *USER_KEYS, "changed"]
        assert (item["ident"], item["changed"], item["is_active"]) == (ident, changed, False)
    assert ended.err == ""
    assert closed(installed) == {"ada", "bob", "cleo"}
    assert len(events(installed)) == 3


@contextmanager
def transactions(installed: Machine) -> Iterator[Callable[[str], int]]:
    """Count the transactions that recorded events of a type, from the server or from the WAL."""
    if isinstance(installed, ServerMachine):
        yield lambda event: len(installed.rows("SELECT DISTINCT CAST(xmin AS TEXT) FROM events WHERE type = ?", event))
        return
    database = installed.data / "backctl.db"
    log = database.with_name("backctl.db-wal")

    def committing_frames() -> int:
        # https://www.sqlite.org/fileformat2.html#walformat: a header of 32 bytes, then frames of 24 bytes and a page.
        content = log.read_bytes()
        page = int.from_bytes(content[8:12], "big") if content else 4096
        heads = [content[at : at + 24] for at in range(32, len(content), 24 + page)]
        return sum(head[4:8] != bytes(4) and head[8:16] == content[16:24] for head in heads)

    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()  # its snapshot prevents SQLite from restarting the WAL
        before = committing_frames()
        yield lambda _: committing_frames() - before


def test_many_share_transactions_whatever_becomes_of_each(installed: Machine) -> None:
    crowd = [Person(f"user{number:03}") for number in range(120)]
    populate(installed, crowd)
    lines = "".join(f"{person.username}\nno-{person.username}\n" for person in crowd)
    commands: list[tuple[str, list[str], str]] = [
        ("UserDeactivated", ["user", "deactivate", "--yes"], lines),
        ("UserActivated", ["user", "activate", "--yes", "--max-changes", "120"], lines),
        ("UserRoleChanged", ["role", "assign", "moderator", "--yes"], lines),
        ("UserDeleted", ["user", "delete", "--erase", "--confirm", "240"], lines),
    ]
    for event, command, stdin in commands:
        with transactions(installed) as count:
            ended = installed.run(*command, "--from-file", "-", "-o", "json", stdin=stdin)
            assert (ended.code, ended.json["summary"]["changed"], ended.json["summary"]["failed"]) == (7, 120, 120), (
                ended.err
            )
            assert count(event) == 5  # of 50 identifiers each
        assert [item["ident"] for item in ended.json["items"]] == stdin.split()
        found = installed.rows("SELECT subject FROM events WHERE type = ? ORDER BY seq", event)
        assert [subject for (subject,) in found] == [item["id"] for item in ended.json["items"] if "id" in item]
    installed.run("audit", "verify").succeeded()


def test_a_dry_run_and_a_bound_of_many_change_nothing(untouched: Machine) -> None:
    lines = "".join(f"{name}\nno-{name}\n" * 30 for name in NAMES)
    dry = untouched.run("user", "deactivate", "-", "-n", "-o", "json", stdin=lines)
    assert (dry.code, dry.json["summary"]["total"], dry.json["summary"]["failed"]) == (7, 300, 150)
    error = refused(
        untouched.run("user", "deactivate", "-", "--yes", "--max-changes", "4", "-o", "json", stdin=lines),
        8,
        "changes.too_many",
    )
    assert "more than 4 would change" in error["message"]
    within = untouched.run("user", "deactivate", "-", "-n", "--max-changes", "5", "-o", "json", stdin=lines)
    assert (within.code, within.json["summary"]["failed"]) == (7, 150)


def test_many_from_a_file_and_from_standard_input(installed: Machine) -> None:
    file = installed.home / "leavers.txt"
    file.write_text("\ufeffada\r\n\n  bob@example.org \n", encoding="utf-8")
    installed.run("user", "deactivate", "--from-file", str(file), "-y").succeeded()
    assert closed(installed) == {"ada", "bob"}
    listed = installed.run("user", "list", "--search", "cleo", "-o", "jsonl").succeeded().out
    lines = f'{listed}{{"username": "dan", "role": "user"}}\n{{"email": "eve@example.org"}}\n'
    ended = installed.run("user", "deactivate", "-", "-y", "-o", "jsonl", stdin=lines).succeeded()
    assert [json.loads(line)["username"] for line in ended.out.splitlines()] == ["cleo", "dan", "eve"]
    assert closed(installed) == set(NAMES)
    opened = installed.run("user", "activate", "--from-file", "-", "--yes", "-o", "id", stdin="eve\ndan\n").succeeded()
    assert len(opened.out.splitlines()) == 2
    assert closed(installed) == {"ada", "bob", "cleo"}


def test_a_partial_failure_says_which_and_does_the_rest(installed: Machine) -> None:
    ended = installed.run("user", "deactivate", "nobody", "ada", "root", "bob", "-y", "-o", "json")
    assert ended.code == 7
    assert ended.json["summary"] == {"total": 4, "changed": 2, "unchanged": 0, "failed": 2}
    by_ident = {item["ident"]: item for item in ended.json["items"]}
    assert list(by_ident["nobody"]) == ["ident", "error"]
    assert (by_ident["nobody"]["error"]["code"], by_ident["nobody"]["error"]["exit"]) == ("user.not_found", 3)
    assert by_ident["root"]["error"]["code"] == "user.last_administrator"
    assert by_ident["bob"]["changed"] is True
    assert (ended.error["code"], ended.error["exit"]) == ("batch.partial", 7)
    assert "'nobody', 'root'" in ended.error["message"]
    assert closed(installed) == {"ada", "bob"}
    text = installed.run("user", "activate", "ada", "nobody", "--yes", "--fields", "ident,changed,error", "--no-header")
    assert text.code == 7
    assert text.out == "ada\ttrue\t\nnobody\t\tthere is no account 'nobody'\n"
    said = f"error: 1 of 2 failed: 'nobody'{installed.named}"
    assert text.err == f"backctl: 2 done, 1 changed, 1 failed\nbackctl: {said}\n"
    quiet = installed.run("user", "activate", "bob", "nobody", "-y", "-q")
    assert (quiet.code, quiet.out) == (7, "")


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ((), b"", "IDENT is missing"),
        (("ada", "--from-file", "x.txt"), b"", "not both"),
        (("ada", "-"), b"bob", "stands alone"),
        (("--from-file", "nowhere.txt"), b"", "cannot be read"),
        (("-",), b"ada\nbob\xff\ncleo\n", "line 2 of standard input is not UTF-8"),
        (("-",), b"ada\nbob bob\n", "line 2 of standard input"),
        (("-",), b"ada\n\xe2\x80\xaebob\n", "line 2 of standard input"),
        (("-",), b"ada\n" + b"x" * 1_000_000 + b"\n", "line 2 of standard input"),
        (("-",), b'ada\n{"name": "bob"}\n', "line 2 of standard input"),
        (("-",), b'{"username": bob}\n', "is not JSON"),
        (("-",), b"[" * 100_000, "line 1 of standard input"),
        (("ada", "a\x1b[2Jb"), b"", "cannot be an account"),
        (tuple("x" * 100_000 for _ in range(10)), b"", "cannot be an account"),
    ],
)
def test_bad_identities_are_found_before_the_first_change(
    untouched: Machine, arguments: tuple[str, ...], stdin: bytes, words: str
) -> None:
    ended = untouched.run("user", "deactivate", "--yes", *arguments, stdin=stdin)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert ended.err.startswith("backctl: error: ")
    assert words in ended.err
    assert "\x1b" not in ended.err
    assert len(ended.err) < 1000


def test_nobody_is_no_failure(untouched: Machine) -> None:
    ended = untouched.run("user", "deactivate", "-", "--yes", "-o", "json", stdin="\n").succeeded()
    assert ended.json == {"items": [], "summary": {"total": 0, "changed": 0, "unchanged": 0, "failed": 0}}


def test_a_reader_that_leaves_does_not_stop_a_batch_half_way(installed: Machine) -> None:
    assert run_without_reader(installed, "user", "deactivate", *NAMES, "--yes", "-o", "jsonl") == (0, b"")
    assert closed(installed) == set(NAMES)


# Timeouts on the number of changes.


@pytest.mark.parametrize(
    "command",
    [
        ("user", "deactivate", "--yes"),
        ("user", "delete", "--confirm", "3"),
        ("role", "assign", "moderator"),
    ],
)
def test_more_changes_than_allowed_are_refused_before_the_first(untouched: Machine, command: tuple[str, ...]) -> None:
    for bound in ("2", "0", "49%", "0%"):  # six accounts
        error = refused(
            untouched.run(*command, "ada", "bob", "cleo", "--max-changes", bound, "-o", "json"), 8, "changes.too_many"
        )
        assert f"--max-changes {bound}" in error["message"]
    dry = untouched.run(*command, "ada", "bob", "cleo", "--max-changes", "2", "-n", "-o", "json")
    refused(dry, 8, "changes.too_many")


def test_only_real_changes_count_against_the_bound(installed: Machine) -> None:
    installed.run("user", "deactivate", "ada").succeeded()
    names = ("ada", "bob", "BOB@example.org", "bob", "cleo", "nobody", "root")
    ended = installed.run("user", "deactivate", *names, "--yes", "--max-changes", "2", "-o", "json")
    assert (ended.code, ended.json["summary"]["changed"], ended.json["summary"]["failed"]) == (7, 2, 2)
    assert closed(installed) == {"ada", "bob", "cleo"}
    installed.run("user", "activate", "bob", "cleo", "--yes", "--max-changes", "34%").succeeded()
    refused(installed.run("user", "activate", "ada", "--max-changes", "0", "-o", "json"), 8, "changes.too_many")
    assert closed(installed) == {"ada"}


@pytest.mark.parametrize("bound", ["", "-1", "101%", "5 %", "%", "1.5", "all", "1e3", "٣", "9" * 10])
def test_a_bound_that_is_none_is_a_usage_error(untouched: Machine, bound: str) -> None:
    refused(untouched.run("user", "activate", "ada", f"--max-changes={bound}", "-o", "json"), 2, "usage")


# A protected profile.


def test_a_protected_profile_demands_a_reason_and_a_confirmation(installed: Machine) -> None:
    installed.configure("protected = true\n")
    change = ("user", "deactivate", "ada", "-o", "json")
    assert "--reason" in refused(installed.run(*change), 8, "confirmation.required")["hint"]
    assert "--yes" in refused(installed.run(*change, "--reason", "left"), 8, "confirmation.required")["hint"]
    assert installed.run(*change, "--dry-run").succeeded().json["dry_run"] is True
    assert installed.run(*change, "--reason", "left", "--yes").succeeded().json["changed"] is True
    assert installed.run("user", "list").code == 0

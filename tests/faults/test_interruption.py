"""Commands that are killed, interrupted or run concurrently: state and events agree, and a rerun completes the work."""

import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.accounts import Person, fresh, populate
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.processes import stop_when, together

CROWD = 600  # several transactions, so that a signal can arrive between two of them


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return fresh(tmp_path)


@pytest.fixture
def crowded(machine: Machine) -> Machine:
    """Return an installation with many active accounts and a file with their names."""
    people = [Person(f"user{number:03}") for number in range(CROWD)]
    populate(machine, people)
    (machine.home / "leavers.txt").write_text("".join(f"{person.username}\n" for person in people))
    return machine


def count(machine: Machine, statement: str) -> int:
    with closing(sqlite3.connect(machine.data / "backctl.db", timeout=60)) as database:
        return int(database.execute(f"SELECT count(*) FROM {statement}").fetchone()[0])


def closed(machine: Machine) -> int:
    return count(machine, "users WHERE NOT is_active")


def recorded(machine: Machine) -> int:
    return count(machine, "events WHERE type = 'UserDeactivated'")


def closing_everybody(machine: Machine) -> "subprocess.Popen[bytes]":
    return machine.start(
        *("user", "deactivate", "--from-file", "leavers.txt", "--yes", "-o", "jsonl"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(machine: Machine) -> None:
    """Run the same command again to completion."""
    rest = CROWD - closed(machine)
    again = machine.run("user", "deactivate", "--from-file", "leavers.txt", "--yes", "-o", "json").succeeded()
    summary = {"total": CROWD, "changed": rest, "unchanged": CROWD - rest, "failed": 0}
    assert again.json["summary"] == summary
    assert (closed(machine), recorded(machine)) == (CROWD, CROWD)
    machine.run("audit", "verify").succeeded()


def test_a_batch_that_was_killed_left_whole_changes_and_a_rerun_completes_it(crowded: Machine) -> None:
    process = closing_everybody(crowded)
    stop_when(process, lambda: closed(crowded) >= 10)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert 10 <= closed(crowded) < CROWD
    assert closed(crowded) == recorded(crowded)
    crowded.run("audit", "verify").succeeded()
    finish(crowded)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_batch_that_was_interrupted_says_how_far_it_came(crowded: Machine, number: signal.Signals, code: int) -> None:
    process = closing_everybody(crowded)
    stop_when(process, lambda: closed(crowded) >= 10, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    said = re.search(
        rf"^backctl: stopped: (\d+) of {CROWD} done; run the same command again to finish the rest$", err.decode(), re.M
    )
    assert said is not None, err
    done = int(said[1])
    assert 10 <= done < CROWD
    assert len(out.splitlines()) == done
    assert (closed(crowded), recorded(crowded)) == (done, done)
    finish(crowded)


def test_a_command_killed_before_it_began_changed_nothing(machine: Machine) -> None:
    machine.create_user("ada")
    reading, writing = os.pipe()
    process = machine.start(
        *("user", "create", "bob@example.org", "--username", "bob", "--password-stdin"),
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(reading)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    os.close(writing)
    assert process.returncode in (143, -signal.SIGTERM)  # SIGTERM if the interpreter was still starting
    assert count(machine, "users") == 1
    machine.create_user("bob")


def test_of_two_that_close_the_last_two_administrators_one_is_refused(machine: Machine) -> None:
    populate(machine, [Person("one", role="admin"), Person("two", role="admin")])
    for _ in range(2):
        ends = together(machine, [machine.command("user", "deactivate", name, "-o", "json") for name in ("one", "two")])
        assert sorted(end.code for end in ends) == [0, 8]
        refused(next(end for end in ends if end.code == 8), 8, "user.last_administrator")
        assert count(machine, "users WHERE is_active AND role = 'admin'") == 1
        machine.run("user", "activate", "one", "two", "--yes", "-q").succeeded()
    machine.run("audit", "verify").succeeded()


@pytest.mark.parametrize(
    "leave",
    [
        lambda name: ("role", "assign", "user", name),
        lambda name: ("user", "update", name, "--expires-in", "0s", "--yes"),
        lambda name: ("user", "delete", name, "--confirm", name, "--erase"),
    ],
    ids=["demoted", "expired", "deleted"],
)
def test_of_two_that_take_away_the_last_two_administrators_one_is_refused(
    machine: Machine, leave: Callable[[str], tuple[str, ...]]
) -> None:
    populate(machine, [Person("one", role="admin"), Person("two", role="admin")])
    ends = together(machine, [machine.command(*leave(name), "-o", "json") for name in ("one", "two")])
    assert sorted(end.code for end in ends) == [0, 8], [end.err for end in ends]
    refused(next(end for end in ends if end.code == 8), 8, "user.last_administrator")
    assert count(machine, "users WHERE is_active AND role = 'admin' AND expires_at IS NULL") == 1
    machine.run("audit", "verify").succeeded()


@pytest.mark.parametrize("flag", ["--if-not-exists", "--upsert"])
def test_of_eight_that_want_one_account_to_exist_one_makes_it_and_none_fails(machine: Machine, flag: str) -> None:
    machine.run("init").succeeded()
    ends = together(
        machine,
        [
            machine.command(
                *("user", "create", "ada@example.org", "--username", "ada", flag, "-o", "json"),
                *("--generate-password", "--secret-file", f"secret{n}"),
            )
            for n in range(8)
        ],
    )
    assert [end.code for end in ends] == [0] * 8, [end.err for end in ends]
    assert sorted(end.json["changed"] for end in ends) == [False] * 7 + [True]
    maker = next(end for end in ends if end.json["changed"])
    assert [path.name for path in machine.home.glob("secret*")] == [maker.json["secret_file"]]
    assert count(machine, "users") == count(machine, "events WHERE type = 'UserCreated'") == 1


def test_of_two_that_update_one_account_from_the_same_version_one_is_told(machine: Machine) -> None:
    machine.create_user("ada")
    ends = together(
        machine,
        [
            machine.command("user", "update", "ada", "--username", name, "--if-version", "1", "-o", "json")
            for name in ("eve", "bea")
        ],
    )
    codes = sorted(end.code for end in ends)
    assert codes in ([0, 3], [0, 4]), [end.err for end in ends]  # 3: the account was already renamed
    assert count(machine, "events WHERE type = 'UserUsernameChanged'") == 1


def test_of_twelve_that_create_one_address_exactly_one_wins(machine: Machine) -> None:
    machine.run("init").succeeded()
    spellings = ("ada@example.org", "ADA@example.org", "Ada@EXAMPLE.org")
    ends = together(
        machine,
        [
            machine.command(
                "user", "create", spellings[n % 3], "--username", f"ada{n:02}", "--no-password", "-o", "json"
            )
            for n in range(12)
        ],
    )
    assert sorted(end.code for end in ends) == [0, *[4] * 11], [end.err for end in ends]
    for end in ends:
        if end.code == 4:
            refused(end, 4, "user.email_taken")
    assert count(machine, "users") == count(machine, "events WHERE type = 'UserCreated'") == 1
    machine.run("audit", "verify").succeeded()


def test_eight_first_commands_at_once_make_one_installation(machine: Machine) -> None:
    ends = together(
        machine,
        [
            machine.command("user", "create", f"u{n}@example.org", "--username", f"user{n}", "--no-password")
            for n in range(8)
        ],
    )
    assert [end.code for end in ends] == [0] * 8, [end.err for end in ends]
    assert [end.err.startswith("backctl: created ") for end in ends].count(True) == 1
    assert count(machine, "users") == 8
    assert count(machine, "events WHERE type = 'InstallationCreated'") == 1
    verified = machine.run("audit", "verify", "-o", "json").succeeded().json
    assert (verified["ok"], verified["events"]) == (True, 9)
    assert {path.name for path in machine.data.iterdir()} == {"backctl.db", "backctl.lock", "keyring.json"}

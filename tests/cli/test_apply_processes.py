"""`apply` beside other processes, signals, servers and on a terminal."""

import os
import pty
import signal
import subprocess

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.processes import together
from tests.cli.seeds import PEOPLE, apply, counts, events, saved, seed, shown, users, with_seeded

__all__ = ["PEOPLE"]

pytestmark = pytest.mark.every_database


def test_two_processes_change_each_account_once(installed: Machine) -> None:
    seed(installed)
    done = together(installed, [installed.command("apply", "seed.yaml", "-o", "json")] * 2)
    assert [each.code for each in done] == [0, 0], [each.err for each in done]
    assert sum(each.json["created"] for each in done) == 1
    for name in ("ada", "bob", "eve"):
        before = 3 if name == "eve" else 2  # eve was closed after she was created
        assert len(events(installed, name)) == before
    installed.run("audit", "verify").succeeded()


def test_one_of_two_processes_applies_a_saved_plan(installed: Machine) -> None:
    seed(installed)
    saved(installed)
    done = together(installed, [installed.command("apply", "saved", "-o", "json")] * 2)
    assert sorted(each.code for each in done) == [0, 4], [each.err for each in done]


def while_asked(machine: Machine, *changes: tuple[str, ...], flags: tuple[str, ...] = ()) -> int:
    """Run other commands while a person is asked whether to delete the account `new`. Return the exit code."""
    question, shown = b"type '1' to confirm: ", b""
    master, slave = pty.openpty()
    process = machine.start("apply", "seed.yaml", "--prune=delete", *flags, stdin=slave, stdout=slave, stderr=slave)
    while question not in shown:
        shown += os.read(master, 1024)
    for words in changes:
        machine.run(*words).succeeded()
    os.write(master, b"1\n")
    code = process.wait(timeout=60)
    for end in (master, slave):
        os.close(end)
    return code


def test_what_others_change_meanwhile_is_planned_again(installed: Machine) -> None:
    with_seeded(installed, "new")
    assert while_asked(installed, ("user", "update", "new", "--username", "renamed")) == 0
    assert installed.run("user", "exists", "renamed").code == 3


def test_no_password_is_generated_without_a_place(installed: Machine) -> None:
    with_seeded(installed, "new")
    users(installed, "email: ada@example.org, username: ada, password: {generate: true}")
    renamed = ("user", "update", "new", "--username", "renamed")
    assert while_asked(installed, renamed, ("user", "delete", "ada", "--confirm", "ada")) == 4
    assert installed.run("user", "exists", "ada").code == 3
    assert installed.run("user", "exists", "renamed").code == 0


def test_no_more_is_changed_than_allowed(installed: Machine) -> None:
    with_seeded(installed, "new")
    users(installed, "email: ada@example.org, role: user")
    renamed = ("user", "update", "new", "--username", "renamed")
    changes = (renamed, ("role", "assign", "moderator", "ada"))
    assert while_asked(installed, *changes, flags=("--max-changes", "1")) == 4
    assert installed.run("user", "exists", "renamed").code == 0
    assert while_asked(installed, ("role", "assign", "admin", "ada"), flags=("--max-changes", "2")) == 0
    assert shown(installed, "ada")["role"] == "user"


def test_no_more_is_deleted_than_was_confirmed(installed: Machine) -> None:
    with_seeded(installed, "new")
    users(installed, "email: old@example.org, username: old", name="other.yaml")
    renamed = ("user", "update", "new", "--username", "renamed")
    assert while_asked(installed, renamed, ("apply", "other.yaml")) == 4
    for name in ("renamed", "old"):
        assert installed.run("user", "exists", name).code == 0


@pytest.mark.embedded
def test_a_signal_ends_it_between_transactions(installed: Machine) -> None:
    seed(
        installed,
        "version: 1\nname: ci\n"
        "generate: {count: 20000, email: 'user{n}@example.org', username: 'user{n}', password: none}\n",
    )
    process = installed.start("apply", "seed.yaml", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while installed.rows("SELECT count(*) FROM seeded_accounts") == [(0,)]:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    ((made,),) = installed.rows("SELECT count(*) FROM seeded_accounts")
    assert (process.returncode, out) == (130, b"")
    assert made % 1000 == 0
    assert f"stopped: {made} of 20000 accounts done; run the same command again to finish the rest" in err.decode()
    assert counts(apply(installed)) == {"created": 20000 - made, "unchanged": made}
    installed.run("audit", "verify").succeeded()


def test_it_waits_for_the_server(installed: Machine) -> None:
    users(installed, "email: ada@example.org, role: user")
    assert counts(apply(installed, "--wait-server", "30s")) == {"unchanged": 1}
    refused(apply(installed, "--wait-server", "soon"), 2, "duration.invalid")


@pytest.mark.embedded
def test_progress_is_shown_on_a_terminal(installed: Machine) -> None:
    crowd = "{count: 10000, email: 'user{n}@example.org', username: 'user{n}'}"
    seed(installed, f"version: 1\nname: ci\ngenerate: {crowd}\n")
    shown = installed.at_terminal("apply", "seed.yaml")
    assert shown.code == 0
    assert "applying: " in shown.out
    assert " of 10000" in shown.out

"""A change that is made and cannot be told: never called retryable, never passed over in silence."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import Machine

pytestmark = pytest.mark.every_database

CREATE = ("user", "create", "ada@example.org", "--username", "ada")


def run_onto(machine: Machine, stdout: int, *args: str) -> tuple[int, str]:
    with machine.start(*args, stdout=stdout, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        err = process.communicate(timeout=60)[1].decode()
    return process.returncode, err


def run_unread(machine: Machine, *args: str) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return run_onto(machine, writer, *args)
    finally:
        os.close(writer)


def run_closed(machine: Machine, *args: str) -> tuple[int, str]:
    command = ["/bin/sh", "-c", '"$@" >&-', "sh", *machine.command(*args)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=machine.environment, cwd=machine.home, timeout=60
    )
    return done.returncode, done.stderr.decode()


def test_a_full_output_after_a_change_says_that_the_change_was_made(machine: Machine) -> None:
    machine.run("init").succeeded()
    with Path("/dev/full").open("wb") as full:
        code, err = run_onto(machine, full.fileno(), *CREATE, "--no-password")
    assert code == 5
    assert "the change was made, but its result could not be written" in err
    assert "instead of repeating" in err
    machine.run("user", "exists", "ada").succeeded()


def test_a_full_output_after_a_change_is_not_worth_a_retry(machine: Machine) -> None:
    machine.run("init").succeeded()
    with Path("/dev/full").open("wb") as full:
        code, err = run_onto(machine, full.fileno(), *CREATE, "--no-password", "-o", "json")
    assert code == 5
    assert '"code": "output.lost"' in err
    assert '"retryable": false' in err


def test_a_password_that_nobody_read_is_said_to_be_lost(machine: Machine) -> None:
    machine.run("init").succeeded()
    code, err = run_unread(machine, *CREATE, "--generate-password")
    assert code == 5
    assert "the change was made, but its password could not be written" in err


def test_a_secret_that_nobody_read_is_said_to_be_lost(machine: Machine) -> None:
    machine.create_user("ada")
    code, err = run_unread(machine, "user", "mfa", "enroll", "ada")
    assert code == 5
    assert "the change was made, but its secret could not be written" in err


def test_a_reader_that_leaves_is_no_failure_where_no_secret_is_lost(machine: Machine) -> None:
    machine.run("init").succeeded()
    assert run_unread(machine, *CREATE, "--no-password") == (0, "")


def test_secrets_that_went_nowhere_are_said_to_be_lost(machine: Machine) -> None:
    machine.run("init").succeeded()
    code, err = run_closed(machine, *CREATE, "--generate-password")
    assert (code, "the change was made, but its password could not be written" in err) == (5, True)
    assert run_closed(machine, *CREATE, "--no-password", "--if-not-exists") == (0, "")
    for options in ((), ("-o", "json")):
        code, err = run_closed(machine, "token", "issue", "ada", *options)
        assert (code, "the change was made, but its result could not be written" in err) == (5, True)
    assert run_closed(machine, "token", "issue", "ada", "--dry-run", "-q") == (0, "")

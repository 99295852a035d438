"""A machine whose clock shows an impossible time gets a clear error, and nothing is changed."""

import pytest
from tests.cli.accounts import python
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.machines import Outcome

_AT = """
import sys, time

def time_ns():
    if {time_ns} >= 1 << 63:  # as Python does
        raise OverflowError("timestamp too large to convert to C _PyTime_t")
    return {time_ns}

time.time_ns = time_ns
from backctl.presentation.app import run
sys.exit(run(sys.argv[1:]))
"""
BEFORE, AFTER = -157_766_400 * 10**9, 10_413_792_000 * 10**9  # in 1965 and 2300

CREATE = ("user", "create", "bob@example.org", "--username", "bob")


def run_at(machine: Machine, time_ns: int, *arguments: str) -> Outcome:
    return python(machine, _AT.format(time_ns=time_ns), *arguments)


@pytest.mark.parametrize(("time_ns", "words"), [(BEFORE, "before 1970"), (AFTER, "after 2262")])
@pytest.mark.parametrize(
    "arguments",
    [
        (*CREATE, "--no-password"),
        (*CREATE, "--generate-password"),
        (*CREATE, "--generate-password", "--secret-file", "password"),
        ("user", "deactivate", "ada"),
        ("user", "mfa", "enroll", "ada"),
        ("token", "issue", "ada"),
        ("token", "gc"),
        ("token", "revoke", "--all", "--yes"),
        ("key", "add", "--purpose", "sign"),
        ("key", "rotate", "--if-older-than", "0d"),
        ("key", "due", "--if-older-than", "0d"),
    ],
    ids=" ".join,
)
def test_a_command_that_needs_the_time_names_the_clock(
    machine: Machine, arguments: tuple[str, ...], time_ns: int, words: str
) -> None:
    machine.create_user("ada")
    before = machine.rows("SELECT * FROM users"), machine.rows("SELECT * FROM events"), contents(machine.home).keys()
    error = refused(run_at(machine, time_ns, *arguments, "-o", "json"), 9, "clock.unusable")
    assert words in error["message"]
    assert error["hint"] == "set the clock of this machine"
    after = machine.rows("SELECT * FROM users"), machine.rows("SELECT * FROM events"), contents(machine.home).keys()
    assert after == before


@pytest.mark.parametrize("time_ns", [BEFORE, AFTER])
@pytest.mark.parametrize("arguments", [("init",), ("init", "--dry-run"), (*CREATE, "--no-password")], ids=" ".join)
def test_nothing_is_created_under_an_impossible_clock(
    machine: Machine, arguments: tuple[str, ...], time_ns: int
) -> None:
    refused(run_at(machine, time_ns, *arguments, "-o", "json"), 9, "clock.unusable")
    assert contents(machine.home) == {}


@pytest.mark.parametrize("time_ns", [BEFORE, AFTER])
def test_doctor_reports_an_impossible_clock(machine: Machine, time_ns: int) -> None:
    machine.run("init").succeeded()
    done = run_at(machine, time_ns, "doctor", "-o", "json")
    assert done.code == 9
    failed = {item["check"] for item in done.json["items"] if item["status"] == "fail"}
    assert "clock.sane" in failed


def test_a_module_that_cannot_read_the_clock_is_not_a_bug_in_backctl(machine: Machine) -> None:
    script = """
import sys
from backctl.backend import Backend
from backctl.presentation.app import run

def fail(_):
    raise OverflowError("timestamp too large to convert to C _PyTime_t")  # what `import logging` raises then

Backend.accounts = property(fail)
sys.exit(run(sys.argv[1:]))
"""
    refused(python(machine, script, "user", "list", "-o", "json"), 9, "clock.unusable")


def test_a_stolen_key_from_a_clock_that_was_ahead_is_replaced_at_once(machine: Machine) -> None:
    script = _AT.format(time_ns="1_900_000_000 * 10**9")  # in 2030
    python(machine, script, "init").succeeded()
    before = machine.run("key", "list", "-o", "json").succeeded().json["items"]
    stolen = next(key["id"] for key in before if (key["purpose"], key["state"]) == ("sign", "primary"))
    warned = machine.run("doctor", "-o", "json").json["items"]
    assert {"keyring.valid", "clock.sane"} <= {item["check"] for item in warned if item["status"] == "warn"}
    machine.run("key", "due", "--if-older-than", "30d").succeeded()
    rotated = machine.run("key", "rotate", "--if-older-than", "30d", "--reason", "laptop stolen", "-o", "json")
    assert stolen in rotated.succeeded().json["retired_key_ids"]
    assert machine.run("key", "due", "--if-older-than", "30d").code == 6

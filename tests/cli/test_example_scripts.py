"""The scripts of docs/scripts do what they say, under `env -i`, from a home folder or from a configuration file."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.documents import ROOT
from tests.cli.scripts import programs
from tests.shell_programs import write_program

PEOPLE = [Person("ada", role="admin"), Person("bob"), Person("cleo"), Person("dora")]
SCRIPTS = ROOT / "docs" / "scripts"
CHECK = """#!/bin/sh
read -r name kind token || exit 1
[ "$name $kind" = 'Authorization: Bearer' ] || exit 1
printf %s "$token" | backctl token verify --no-header --fields role
"""
"""A smoke test: it reads the token as the script passes it, and verifies it."""


class Shell:
    """Runs scripts with nothing in the environment but PATH and where the installation is."""

    def __init__(self, machine: Machine) -> None:
        self.home = machine.home
        self._programs = machine.home.with_name("scripts")
        self._programs.mkdir()
        # The variables of the interpreter belong to the program, not to the environment of the scripts.
        variables = (f"{name}={machine.environment[name]}" for name in ("PYTHONPATH", "LC_ALL"))
        write_program(self._programs / "backctl", ["env", *variables, str(programs(machine) / "backctl")])
        self._config = machine.home.with_name("config.toml")
        self._config.write_text(
            f'[database]\nurl = "sqlite:///{machine.data}/backctl.db"\n'
            f'[keyring]\npath = "{machine.data}/keyring.json"\n'
        )

    def run(self, script: str, *arguments: str, by_config: bool = False) -> tuple[int, str, str]:
        """Return the exit code, the standard output and the standard error of a script."""
        where = f"BACKCTL_CONFIG={self._config}" if by_config else f"HOME={self.home}"
        done = subprocess.run(
            ["env", "-i", f"PATH={self._programs}:/usr/bin:/bin", where, str(SCRIPTS / script), *arguments],
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def shell(installed: Machine) -> Shell:
    return Shell(installed)


def without_installation(shell: Shell, script: str, *arguments: str) -> None:
    """Check that a script ends as backctl does where there is no installation."""
    shutil.rmtree(shell.home / ".local")
    code, out, err = shell.run(script, *arguments)
    assert (code, out) == (9, "")
    assert "backctl: error: there is no installation" in err


def test_every_script_is_executable_documented_and_tested() -> None:
    scripts = sorted(SCRIPTS.iterdir())
    assert len(scripts) == 5
    document, tests = (ROOT / "docs" / "scripting.md").read_text(), Path(__file__).read_text()
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        assert os.access(script, os.X_OK)
        assert re.match(rf"#!/bin/sh\n# [A-Z].*\.?\n#\n#   {re.escape(script.name)} ", text)
        assert "\nset -eu\n" in text
        assert len(text.splitlines()) <= 45
        assert max(map(len, text.splitlines())) <= 120
        assert f"(scripts/{script.name})" in document
        assert f'"{script.name}"' in tests


def test_accounts_that_expire_soon_are_reported(installed: Machine, shell: Shell) -> None:
    assert shell.run("expiring-accounts.sh") == (0, "", "")
    for name, days in (("dora", 20), ("bob", 3), ("cleo", 2)):
        installed.run("user", "update", name, "--expires-in", f"{days}d").succeeded()
    code, out, err = shell.run("expiring-accounts.sh")
    day = r"\d{4}-\d\d-\d\d"
    assert (code, err) == (0, "")
    assert re.fullmatch(
        rf"These accounts expire in the next 14 days:\n{day}  cleo <cleo@example\.org>, user\n"
        rf"{day}  bob <bob@example\.org>, user\n",
        out,
    )
    assert shell.run("expiring-accounts.sh", by_config=True) == (0, out, "")
    code, out, err = shell.run("expiring-accounts.sh", "soon")
    assert (code, out) == (2, "")
    assert "'soond'" in err
    without_installation(shell, "expiring-accounts.sh")


def test_listed_users_exist_afterwards(installed: Machine, shell: Shell) -> None:
    (shell.home / "users.txt").write_text(
        "# name address role\n\nbob bob@example.org moderator\nkim  kim@example.org\tuser\nada ada@example.org admin"
    )
    wanted = "bob: created or updated\nkim: created or updated\n"
    assert shell.run("ensure-users.sh", "users.txt") == (0, wanted, "")
    assert shell.run("ensure-users.sh", "users.txt", by_config=True) == (0, "", "")
    listed = ("user", "list", "--no-header", "--fields", "username,role,has_password")
    accounts = installed.run(*listed).succeeded().out.splitlines()
    assert {"bob\tmoderator\tfalse", "kim\tuser\tfalse", "dora\tuser\tfalse"} < set(accounts)
    events = installed.run("audit", "list", "--by", "ensure-users", "--no-header", "--fields", "subject_name,reason")
    assert events.out == "bob\tlisted in users.txt\nkim\tlisted in users.txt\n"

    (shell.home / "users.txt").write_text(
        "lin lin@example.org king\neve eve@example.org user\nada ada@example.org user\n"
    )
    code, out, err = shell.run("ensure-users.sh", "users.txt")
    assert (code, out) == (7, "eve: created or updated\n")
    assert "'king'" in err
    assert "lin: failed with exit code 2\n" in err
    assert "ada: failed with exit code 8\n" in err
    assert shell.run("ensure-users.sh", "missing.txt") == (2, "", "usage: ensure-users.sh FILE\n")
    (shell.home / ".local/share/backctl/keyring.json").unlink()
    code, out, err = shell.run("ensure-users.sh", "users.txt")
    assert (code, out, err.count("error:")) == (9, "", 2)


def test_a_smoke_test_gets_a_token_that_ends_with_it(installed: Machine, shell: Shell) -> None:
    check = shell.home / "check.sh"
    check.write_text(CHECK)
    check.chmod(0o755)
    assert shell.run("smoke-test.sh", "bob", str(check)) == (0, "user\n", "")
    failing = ("sh", "-c", "cat >/dev/null; exit 22")
    assert shell.run("smoke-test.sh", "bob", *failing, by_config=True) == (22, "", "")
    sessions = installed.run("token", "list", "bob", "-o", "json").succeeded().json["items"]
    assert len(sessions) == 2
    assert all(session["revoked_at"] for session in sessions)
    installed.run("user", "deactivate", "bob").succeeded()
    code, out, err = shell.run("smoke-test.sh", "bob", str(check))
    assert (code, out) == (6, "")
    assert err.startswith("backctl: error: the account 'bob' is inactive\n")


def test_leavers_are_deactivated_up_to_a_limit(installed: Machine, shell: Shell) -> None:
    (shell.home / "leavers.txt").write_text("# since Monday\nbob@example.org\ncleo\n")
    code, out, err = shell.run("leavers.sh", "leavers.txt", "1")
    assert (code, out) == (8, "These accounts would be deactivated:\nbob@example.org\ncleo\n")
    assert "more than 1 would change, over --max-changes 1; nothing was changed" in err
    assert shell.run("leavers.sh", "leavers.txt", "50%") == (0, "", "")
    assert shell.run("leavers.sh", "leavers.txt", "0", by_config=True) == (0, "", "")
    events = installed.run("audit", "list", "--by", "leavers", "--no-header", "--fields", "type,subject_name,reason")
    assert events.out == "".join(f"UserDeactivated\t{name}\tleft the company\n" for name in ("bob", "cleo"))
    with (shell.home / "leavers.txt").open("a") as file:
        file.write("dora\nnobody\nada\n")
    code, out, err = shell.run("leavers.sh", "leavers.txt")
    assert (code, out) == (7, "")
    assert "2 of 5 failed: 'nobody', 'ada'" in err
    assert installed.run("user", "count", "--inactive").out == "3\n"
    without_installation(shell, "leavers.sh", "leavers.txt")


def test_the_events_of_a_week_are_exported_once_the_log_is_verified(installed: Machine, shell: Shell) -> None:
    folder = shell.home / "audit"
    folder.mkdir()
    code, out, err = shell.run("audit-export.sh", "audit")
    (file,) = folder.iterdir()
    assert re.fullmatch(r"audit-\d{4}-\d\d-\d\d\.jsonl", file.name)
    assert (code, out, err) == (0, f"saved {len(file.read_text().splitlines())} events in audit/{file.name}\n", "")
    saved = file.read_bytes()
    assert [event["seq"] for event in map(json.loads, saved.splitlines())] == list(range(1, len(PEOPLE) + 2))
    assert file.stat().st_mode & 0o777 == 0o600
    assert shell.run("audit-export.sh", "audit", by_config=True) == (0, "", "")
    assert [path.read_bytes() for path in folder.iterdir()] == [saved]

    file.unlink()
    installed.rows("UPDATE events SET reason = 'forged' WHERE seq = 3")
    message = "audit-export.sh: the event log is not intact from event 3 on; nothing was saved\n"
    assert shell.run("audit-export.sh", "audit") == (6, "", message)
    installed.rows("UPDATE events SET reason = NULL WHERE seq = 3")
    assert shell.run("audit-export.sh", "missing")[0] == 1
    assert list(folder.iterdir()) == []

    (shell.home / ".local/share/backctl/keyring.json").unlink()
    assert shell.run("audit-export.sh", "audit")[:2] == (9, "")
    (ident,) = installed.rows("SELECT installation_id FROM installation")[0]
    installed.run("key", "replace-lost", "--confirm", str(ident)).succeeded()
    assert shell.run("audit-export.sh", "audit")[0] == 0
    assert len(list(folder.iterdir())) == 1

"""Every command has two or three examples in its help, and they succeed in their order."""

import re
import shlex
import subprocess
import time
from base64 import b32decode

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.scripts import run_script
from tests.cli.test_every_command import LEAVES
from tests.cli.test_protection import (
    keep,
    run,
    unprepared,
    with_a_cached_value,
    with_a_locked_account,
    with_a_second_factor,
    with_a_used_limit,
)
from typer.testing import CliRunner

from backctl.domain.one_time_codes import totp
from backctl.domain.values import Instant
from backctl.presentation.app import app

PEOPLE = [Person("ada", role="admin"), *(Person(name) for name in ("bob", "cleo")), Person("eve", active=False)]
SEED = "version: 1\nname: ci\nusers:\n  - {email: new@example.org, username: new}\n"
CONFIGURATION = """
[profiles.staging]
database.url = "default"
[ratelimit.policies.login]
limit = 5
window = "1h"
[roles.auditor]
permissions = ["user:list"]
"""
FILES = {
    "accounts.jsonl": '{"email": "new@example.org", "username": "new"}\n',
    "accounts.txt": "bob\ncleo@example.org\n",
    "comments.json": '{"text": "<b>Hello</b>"}\n',
    "ids.txt": "ada\nbob\n",
    "new.csv": "email,username\nzoe@example.org,zoe\n",
    "new.toml": "[database]\ntimeout = '5s'\n",
    "notes.txt": "notes\n",
    "passphrase.txt": "correct horse battery staple\n",
    "password.txt": "correct horse battery\n",
    "phone.txt": "+49 30 901820",
    "redis.url": "redis://127.0.0.1:6379/0\n",
    "requests.log": "2026-01-01T00:00:00Z ada\n2026-01-01T00:00:01Z ada\n",
    "seed.yaml": SEED,
    "title.txt": "Sales\n",
    "users.csv": "id,phone\n1,+49 30 901820\n",
}


def with_tokens(machine: Machine) -> None:
    for name in ("refresh.txt", "other.txt"):
        access, refresh = run(machine, "token", "issue", "ada", "--pair").splitlines()
        keep(machine, name, refresh)
        keep(machine, "token.txt", access)


def with_encrypted_files(machine: Machine) -> None:
    run(machine, "encrypt", "--context", "backup", "--file", "notes.txt", "--out", "notes.enc")
    (machine.home / "notes.txt").unlink()
    keep(machine, "phone.enc", run(machine, "encrypt", "--context", "users.phone:1", stdin="+49 30 901820"))
    columns = ("encrypt", "--csv", "phone", "--context-template", "users.{}:{id}")
    keep(machine, "enc.csv", run(machine, *columns, stdin=FILES["users.csv"]))


def with_standby_keys(machine: Machine) -> None:
    for name in ("s-2026", "s-2027", "s-old"):
        run(machine, "key", "add", "--kid", name)


def with_a_copy(machine: Machine) -> None:
    run(machine, "db", "backup", "copy.db")
    run(machine, "user", "deactivate", "bob")


def with_a_lost_keyring(machine: Machine) -> None:
    machine.rows("UPDATE installation SET installation_id = '01997d9c-1d5f-7c4e-9d43-5b0d5c1f0a11'")
    (machine.data / "keyring.json").unlink()


def with_foreign_keys(machine: Machine) -> None:
    for name in ("signing", "other"):
        run(machine, "key", "add", "--kid", name)
        keep(machine, f"{name}.pem", run(machine, "key", "export", name, "--private", "--form", "pem"))
        run(machine, "key", "destroy", name, "--confirm", name)


def with_cached_values(machine: Machine) -> None:
    with_a_cached_value(machine)
    run(machine, "cache", "set", "report:title", '"Sales"')


def with_a_password(machine: Machine) -> None:
    run(machine, "user", "set-password", "ada", "--password-file", "password.txt")


def with_pending_factors(machine: Machine) -> None:
    for name, file in (("ada", "code.txt"), ("bob", "bob.txt")):
        secret = run(machine, "user", "mfa", "enroll", name, "--no-header", "--fields", "secret").strip()
        keep(machine, file, totp(b32decode(secret), Instant(time.time_ns() // 1000)))


def with_a_selected_profile(machine: Machine) -> None:
    run(machine, "profile", "use", "staging")


def with_folders(machine: Machine) -> None:
    for folder in (".local/share/bash-completion/completions", ".config/fish/completions", ".zfunc"):
        (machine.home / folder).mkdir(parents=True)


PREPARE = {
    ("decrypt",): with_encrypted_files,
    ("reencrypt",): with_encrypted_files,
    ("cache",): with_cached_values,
    ("completion",): with_folders,
    ("db", "restore"): with_a_copy,
    ("key",): with_standby_keys,
    ("key", "import"): with_foreign_keys,
    ("key", "replace-lost"): with_a_lost_keyring,
    ("profile", "current"): with_a_selected_profile,
    ("ratelimit",): with_a_used_limit,
    ("token",): with_tokens,
    ("user", "check-password"): with_a_password,
    ("user", "mfa"): with_a_second_factor,
    ("user", "mfa", "confirm"): with_pending_factors,
    ("user", "mfa", "enroll"): unprepared,
    ("user", "unlock"): with_a_locked_account,
}
"""What the examples need besides accounts and files; for a command, the entry with most of its words applies."""

CODES = {
    "backctl key due --if-older-than 90d": 6,
    "backctl key due --purpose sign -q": 6,
    "backctl plan seed.yaml --detailed-exitcode": 10,
}
"""The exit codes of the examples that do not return 0."""

OTHER_SHELLS = {"backctl completion fish | source", 'eval "$(backctl completion zsh)"'}
"""Examples for a shell that may not be installed."""


def examples(path: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Return the sentences in the help of a command, each with its lines of shell."""
    shown = CliRunner(env={"NO_COLOR": "1"}).invoke(app, [*path, "--help"]).stdout
    text = shown.partition("\nExamples:\n")[2].partition("\n\n")[0]
    found: list[tuple[str, list[str]]] = []
    for line in text.replace("\\\n", " ").replace("|\n", "| ").splitlines():
        if line.startswith("  # "):
            found.append((line.removeprefix("  # "), []))
        else:
            found[-1][1].append(" ".join(line.split()))
    return found


def prepared_for(path: tuple[str, ...], machine: Machine) -> Machine:
    machine.configure(CONFIGURATION)
    for name, text in FILES.items():
        keep(machine, name, text)
    beginnings = [path[:length] for length in range(len(path), 0, -1)]
    next((PREPARE[beginning] for beginning in beginnings if beginning in PREPARE), unprepared)(machine)
    return machine


def perform(machine: Machine, line: str) -> None:
    """Run a line of shell: a pipeline of commands, with files as its input and output."""
    if "$(" in line:
        run_script(machine, "bash", line)
        return
    line, _, target = line.partition(" > ")
    line, _, source = line.partition(" < ")
    data = (machine.home / source).read_bytes() if source else b""
    for command in line.split(" | "):
        name, *words = shlex.split(command)
        if name == "backctl":
            done = machine.run(*words, stdin=data)
            assert done.code == CODES.get(line, 0), f"{command}: {done}"
            data = done.out.encode()
        else:
            data = subprocess.run([name, *words], input=data, capture_output=True, check=True).stdout
    if target:
        (machine.home / target.removeprefix("~/")).write_bytes(data)
    elif "-q" not in line.split():
        assert data, line


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_examples_that_can_be_read(path: tuple[str, ...]) -> None:
    found = examples(path)
    assert len(found) in (2, 3)
    name = f"backctl {' '.join(path)}"
    for sentence, lines in found:
        assert re.fullmatch(r"[A-Z][^.]*[^.:]", sentence)
        assert any(re.search(rf"(?:^|\| |\$\(){re.escape(name)}(?: |$|\))", line) for line in lines), lines
    assert len({sentence for sentence, _ in found}) == len(found)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_examples_succeed_in_their_order(path: tuple[str, ...], installed: Machine) -> None:
    machine = prepared_for(path, installed)
    for _, lines in examples(path):
        for line in lines:
            if line not in OTHER_SHELLS:
                perform(machine, line)


@pytest.mark.parametrize("topic", ["formatting", "identities", "time"])
def test_the_commands_in_a_topic_succeed(topic: str, installed: Machine) -> None:
    machine = prepared_for(("user", "unlock"), installed)
    text = machine.run("help", topic).succeeded().out
    lines = [line.strip() for line in text.splitlines() if line.startswith("  backctl ")]
    assert lines
    for line in lines:
        perform(machine, line)


def test_the_tables_name_examples_that_exist() -> None:
    every = {line for path in LEAVES for _, lines in examples(path) for line in lines}
    assert set(CODES) | OTHER_SHELLS <= every

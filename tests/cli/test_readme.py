"""The README is correct: its commands succeed in order, its table of exit codes is current, and it can be installed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Machine
from tests.cli.documents import ROOT, Block, blocks, run_blocks, runnable
from tests.cli.scripts import write_program
from tests.servers import Servers

README = (ROOT / "README.md").read_text(encoding="utf-8")
SEPARATE = {
    "Install": "test_the_ways_to_install_work",
    "More": "the verbs of ./run, which tests/architecture/test_run.py runs",
}
"""The sections whose blocks do not run with the others."""


def shown() -> tuple[list[Block], list[Block]]:
    """Return the blocks before and after the table of tasks."""
    found = [block for block in blocks("README.md") if block.heading not in SEPARATE]
    after = next(number for number, block in enumerate(found) if block.heading == "Several databases")
    return found[:after], found[after:]


def tasks() -> list[list[str]]:
    """Return the words of the commands in the table of tasks."""
    return [shlex.split(command) for command in re.findall(r"^\| .+? \| `backctl (.+)` \|$", README, re.MULTILINE)]


def test_every_command_works_in_its_order(machine: Machine, servers: Servers) -> None:
    (machine.home / "phone.txt").write_text("+49 30 901820")
    write_program(machine.home / "run", ["sh", "-c", '"$@"', "run"])
    before, after = shown()
    run_blocks(machine, before)
    assert len(tasks()) > 20
    for words in tasks():
        done = machine.run(*words, stdin="correct horse battery\n")
        assert done.code == 0, f"backctl {shlex.join(words)}: {done.err}"
        assert done.out, f"backctl {shlex.join(words)} said nothing"
    assert (machine.home / "eve.txt").exists()
    server = servers.postgres(18)
    with server.database() as name:
        secret = machine.home / "production.url"
        secret.touch(mode=0o600)
        secret.write_text(server.url(name))
        ran = run_blocks(
            machine, after, replace={"/srv/backctl": f"{machine.home}/srv", "/etc/backctl": str(machine.home)}
        )
        listed = machine.run("-p", "production", "user", "list", "-o", "json").succeeded().json["items"]
    assert [(user["username"], user["role"]) for user in listed] == [("ada", "admin")]
    assert server.password not in "".join(block.out + block.err for block in ran)
    (applied,) = (done.out for done in ran if "backctl apply" in done.block.text)
    assert applied.splitlines()[-1].split("\t")[-1] == "false", "the second 'apply' changes something"
    closed = machine.run("user", "list", "--inactive", "--fields", "username", "--no-header").succeeded()
    assert set(closed.out.split()) == {"ci-runner", "eve"}


def test_no_block_is_left_out() -> None:
    before, after = shown()
    assert {block.heading for block in runnable("README.md") if block not in before + after} == set(SEPARATE)


def test_the_table_of_exit_codes_is_the_programs_own(machine: Machine) -> None:
    table = README.partition("| code | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
    rows: list[tuple[str, str]] = []
    for line in table.splitlines():
        codes, meaning = line.strip("| ").split(" | ")
        meanings = meaning.split(", ") if ", " in codes else [meaning]
        rows += zip(codes.split(", "), meanings, strict=True)
    listed = machine.run("help", "exit-codes", "-o", "json").succeeded()
    assert rows == [(str(item["code"]), item["meaning"]) for item in listed.json["items"]]
    assert machine.run("help", "exit-codes").succeeded().out.splitlines()[1:] == ["\t".join(row) for row in rows]


def test_the_first_command_creates_an_account_whose_password_is_shown_once(machine: Machine) -> None:
    first = blocks("README.md", "sh", heading="First five minutes")[0]
    words = shlex.split(first.text)
    assert words[:2] == ["./run", "backctl"]
    assert words[2:] == ["user", "create", "ada@example.org", "--username", "ada", "--generate-password"]
    created = machine.run(*words[2:]).succeeded()
    password = created.out.splitlines()[1].split("\t")[-1]
    assert len(password) == 20
    listed = machine.run("user", "list", "-o", "json").succeeded()
    assert [user["email"] for user in listed.json["items"]] == ["ada@example.org"]
    assert password not in listed.out
    assert machine.run("doctor").code == 0


@pytest.mark.long
def test_the_ways_to_install_work(tmp_path: Path) -> None:
    """Downloads pipx, uv and the dependencies of backctl, each tool into an environment of its own."""
    (block,) = blocks("README.md", "sh", heading="Install")
    for number, line in enumerate(block.text.splitlines()):
        home, tool = tmp_path / f"home{number}", line.split()[0]
        home.mkdir()
        settings = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], **settings}
        if "install" in line:
            tools = tmp_path / tool
            subprocess.run([sys.executable, "-m", "venv", tools], check=True)
            subprocess.run([tools / "bin" / "pip", "install", "--quiet", tool], check=True)
            environment["PATH"] = f"{tools}/bin:{os.environ['PATH']}"
        subprocess.run(["sh", "-euc", line], cwd=ROOT, env=environment, check=True)
        if "install" in line:
            program = home / ".local" / "bin" / "backctl"
            shown = subprocess.run([program, "version", "-o", "json"], env=environment, capture_output=True, check=True)
            assert b'"version"' in shown.stdout

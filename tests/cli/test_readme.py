"""The README is correct: its commands succeed in order, its table of exit codes is current, and its program runs."""

import re
import shlex
from pathlib import Path

import pytest
from tests.cli.accounts import python
from tests.cli.conftest import Machine
from tests.servers import POSTGRES_VERSIONS, PostgresVersion, Servers

from backctl.presentation.commands import NOUNS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BEFORE_SERVERS, _, _rest = README.partition("\n## On PostgreSQL\n")
SERVERS, _, AFTER_SERVERS = _rest.partition("\n## ")


def shown() -> list[list[str] | str]:
    """Return every TOML block and the words of every `backctl …` (lines of fenced blocks, code spans), in order.

    Omits the section on servers, which has a separate test.
    """
    pattern = r"```toml\n(.+?)```|^(?:\./run )?backctl ([^\n]+)$|`(?:\./run )?backctl ([^`\n]+)`"
    found = re.findall(pattern, BEFORE_SERVERS + AFTER_SERVERS, re.MULTILINE | re.DOTALL)
    # Redirections of the shell are ignored.
    return [toml or shlex.split((fenced or span).partition(" > ")[0], comments=True) for toml, fenced, span in found]


def shown_commands() -> list[list[str]]:
    return [words for words in shown() if isinstance(words, list)]


def configure(machine: Machine, toml: str) -> None:
    """Append a TOML block of the README to the configuration file, with folders of the machine."""
    machine.config_file.parent.mkdir(parents=True, exist_ok=True)
    with machine.config_file.open("a") as file:
        file.write("\n" + toml.replace("/srv/backctl", f"{machine.home}/srv"))
    machine.config_file.chmod(0o600)


def test_every_command_of_the_readme_succeeds_in_its_order(machine: Machine) -> None:
    assert len(shown_commands()) >= 20
    assert {words[2] if words[0] == "-p" else words[0] for words in shown_commands()} <= set(NOUNS)
    (machine.home / "leavers.txt").write_text("ci-runner\neve@example.org\n")
    (seed,) = re.findall(r"```yaml\n(version: 1\n.+?)```", README, re.DOTALL)
    (machine.home / "seed.yaml").write_text(seed)
    (machine.home / "phone.txt").write_text("+49 30 901820")
    (machine.home / "users.csv").write_text("id,phone\n1,+49 30 901820\n")
    (machine.home / "kim.hash").write_text("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n")
    del machine.environment["BACKCTL_PASSWORDS_BCRYPT_COST"]
    for words in shown():
        if isinstance(words, str):
            configure(machine, words)
            continue
        done = machine.run(*words, stdin="correct horse battery\n")
        assert done.code == 0, f"backctl {shlex.join(words)}: {done.err}"
        if "-q" not in words:
            assert done.out, f"backctl {shlex.join(words)} said nothing"
    assert (machine.home / "eve.txt").exists()
    closed = machine.run("user", "list", "--inactive", "--fields", "username", "--no-header").succeeded()
    assert set(closed.out.split()) == {"ada", "ci-runner", "eve"}


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


def test_the_example_for_services_runs(machine: Machine) -> None:
    (program,) = re.findall(r"```python\n(.+?)```", README.partition("\n## From Python\n")[2], re.DOTALL)
    done = python(machine, program).succeeded()
    created, listed = done.out.splitlines()
    assert created.endswith(" True")
    assert listed == "grace user"
    assert machine.run("user", "show", "grace", "--fields", "role", "--no-header").succeeded().out == "user\n"


def test_the_start_page_holds_what_a_newcomer_is_promised(machine: Machine) -> None:
    """The first command, `user list` and `doctor`, which a new user runs first."""
    words = shown_commands()[0]
    assert words == ["user", "create", "ada@example.org", "--username", "ada", "--generate-password"]
    created = machine.run(*words).succeeded()
    password = created.out.splitlines()[1].split("\t")[-1]
    assert len(password) == 20
    listed = machine.run("user", "list", "-o", "json").succeeded()
    assert [user["email"] for user in listed.json["items"]] == ["ada@example.org"]
    assert password not in listed.out
    assert machine.run("doctor").code == 0


@pytest.mark.parametrize("version", POSTGRES_VERSIONS)
def test_the_section_on_servers_leads_from_nothing_to_a_profile(
    machine: Machine, servers: Servers, version: PostgresVersion
) -> None:
    (configuration,) = re.findall(r"```toml\n(.+?)```", SERVERS, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.+?)```", SERVERS, re.DOTALL)
    machine.config_file.parent.mkdir(parents=True)
    machine.config_file.write_text(configuration.replace("/etc/backctl/", f"{machine.home}/"))
    server = servers.postgres(version)
    with server.database() as name:
        (machine.home / "production.url").touch(mode=0o600)
        (machine.home / "production.url").write_text(server.url(name) + "\n")
        for line in commands.splitlines():
            done = machine.run(*shlex.split(line)[1:])
            assert done.code == 0, f"{line}: {done.err}"
            assert done.out
            assert server.password not in done.out + done.err
        listed = machine.run("--profile", "production", "user", "list", "-o", "json").succeeded()
        assert [(user["username"], user["role"]) for user in listed.json["items"]] == [("ada", "admin")]
    assert (machine.home / "production.keyring.json").exists()
    assert not machine.data.exists()

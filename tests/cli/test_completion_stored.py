"""Completion of stored names: the output of the program, and that a shell never executes a stored name."""

import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.accounts import fresh
from tests.cli.conftest import Machine, Outcome
from tests.cli.shell_completion import InteractiveShell, shells

from backctl.presentation.app import app
from backctl.presentation.completion.scripts import Shell
from backctl.presentation.completion.tree import read_tree
from backctl.suggestions.answers import KINDS, is_plain

_COPY = """
INSERT INTO users SELECT ?, ?, ?, email_domain, ?, ?, password_hash, role, is_active, expires_at, must_change_password,
    mfa_state, created_at, updated_at, version, password_imported, last_login_at FROM users WHERE username_key = 'ada'
"""

HOSTILE = [
    "$(:>ran)",
    "`:>ran`",
    ";:>ran;",
    "&&:>ran",
    "|:>ran",
    ">ran",
    "\n:>ran\n",
    "\t:>ran",
    "\r:>ran",
    " :>ran",
    "':>ran'",
    '":>ran"',
    "\\$(:>ran)",
    "'$(:>ran)'",
    "';:>ran;'",
    "(e):>ran",
    "=(:>ran)",
    "<(:>ran)",
    "${(e)$(:>ran)}",
    "$'\\x24(:>ran)'",
    ":$(:>ran)",
    ":description",
    "\x1b]0;title\x07",
    "\x1b[31m",
    "abc\x00:>ran",
    "~root",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "!!",
    "!:>ran",
    "#",
    "%n",
    "^a^b",
    "a=b",
    "a/b",
    "a,b",
    "e\u0301",
    "\u00a0",
    "\u2028",
    "\u202e",
    "\u200b",
    "\x9b31m",
    "\uff04(",
]


def insert(database: Path, username: str, email: str | None = None, key: str | None = None) -> None:
    """Insert a row that only SQL can create."""
    email = email if email is not None else f"{username}@example.org"
    with closing(sqlite3.connect(database)) as connection, connection:
        values = (os.urandom(18).hex(), email, email.lower(), username, username.lower() if key is None else key)
        connection.execute(_COPY, values)


@pytest.fixture
def neighbour(tmp_path: Path) -> Machine:
    """Return a second machine, with an empty folder for its database."""
    machine = fresh(tmp_path)
    machine.data.mkdir(parents=True)
    return machine


def install(machine: Machine, folder: Path) -> Path:
    """Return a folder for PATH with a `backctl` that uses the machine's home."""
    folder.mkdir()
    program = folder / "backctl"
    exports = " ".join(f"{name}={shlex.quote(machine.environment[name])}" for name in ("HOME", "PYTHONPATH"))
    program.write_text(f'#!/bin/sh\n{exports} exec {shlex.quote(sys.executable)} -m backctl "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """ada, adam and bob are in the embedded database, eve is in the database of the profile `staging`."""
    home = tmp_path_factory.mktemp("installed") / "home"
    home.mkdir()
    machine = Machine(home)
    machine.create_user("ada")
    staging = home / "staging.db"
    shutil.copy(machine.data / "backctl.db", staging)
    for name in ("adam", "bob"):
        insert(machine.data / "backctl.db", name)
    insert(staging, "eve")
    machine.config_file.parent.mkdir(parents=True)
    machine.config_file.write_text(
        f'[roles.auditor]\npermissions = ["user:show"]\n\n[profiles.staging]\nprotected = true\n'
        f'database.url = "sqlite:///{staging}"\n'
    )
    other = home / "other place.toml"
    other.write_text(f'database.url = "sqlite:///{staging}"\n')
    shutil.copy(other, home / "other.toml")
    for file in (machine.config_file, other, home / "other.toml"):
        file.chmod(0o600)
    install(machine, home / "bin")
    return machine


@pytest.fixture(scope="module")
def seat(installed: Machine, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Shell], InteractiveShell]:
    made: dict[Shell, InteractiveShell] = {}

    def interactive_shell(shell: Shell) -> InteractiveShell:
        if shell not in made:
            folder = tmp_path_factory.mktemp(shell)
            for name in ("other.toml", "other place.toml"):
                shutil.copy(installed.home / name, folder)
            made[shell] = InteractiveShell(shell, folder, programs=installed.home / "bin")
        return made[shell]

    return interactive_shell


# What is offered where.


@shells
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("backctl user show ad", ["ada", "adam"]),
        ("backctl user show -q -- ad", ["ada", "adam"]),
        ("backctl user show ada@", ["ada@example.org"]),
        ("backctl user show ada ad", []),
        ("backctl user deactivate ada bob ad", ["ada", "adam"]),
        ("backctl user deactivate ada@example.org ad", ["ada", "adam"]),
        ("backctl user deactivate --reason 'left -p staging' ad", ["ada", "adam"]),
        ("backctl user deactivate --reason '' -p staging e", ["eve"]),
        ("backctl role assign ", ["admin", "auditor", "moderator", "user"]),
        ("backctl role assign admin ad", ["ada", "adam"]),
        ("backctl user list --role a", ["admin", "auditor"]),
        ("backctl user list --role=a", ["admin", "auditor"]),
        ("backctl audit list --subject bo", ["bob"]),
        ("backctl audit list --type UserDea", ["UserDeactivated"]),
        ("backctl config get database.t", ["database.timeout"]),
        ("backctl -p st", ["staging"]),
        ("backctl profile use st", ["staging"]),
        ("backctl user list --profile=st", ["staging"]),
        ("backctl -p staging user show e", ["eve"]),
        ("backctl -vpstaging user show e", ["eve"]),
        ("backctl user show --profile=staging e", ["eve"]),
        ("backctl user show -qp staging e", ["eve"]),
        ("backctl user show --config=./other.toml e", ["eve"]),
    ],
)
def test_a_tab_offers_what_is_stored(
    shell: Shell, seat: Callable[[Shell], InteractiveShell], line: str, offered: list[str]
) -> None:
    assert seat(shell).offers(line) == offered
    assert not (seat(shell).home / "ran").exists()


@shells
def test_the_program_that_is_completed_is_the_one_that_is_asked(
    shell: Shell, installed: Machine, neighbour: Machine, tmp_path: Path
) -> None:
    shutil.copy(installed.home / "staging.db", neighbour.data / "backctl.db")
    install(neighbour, tmp_path / "near-by")
    interactive_shell = InteractiveShell(shell, tmp_path, programs=installed.home / "bin")
    assert interactive_shell.offers("backctl user show e") == []
    assert interactive_shell.offers("./near-by/backctl user show e") == ["eve"]
    assert interactive_shell.offers("~/near-by/backctl user show e") == ["eve"]
    assert interactive_shell.offers(f"{installed.home}/bin/backctl user show b") == ["bob"]
    assert InteractiveShell(shell, installed.home, programs=tmp_path / "home").offers("backctl user show a") == []


@shells
def test_names_beyond_ascii_are_offered_where_the_shell_reads_utf_8(
    shell: Shell, neighbour: Machine, tmp_path: Path
) -> None:
    for name in ("straße", "日本語", "ада"):
        neighbour.create_user(name, email=f"{len(name)}{name}@example.org")
    at = InteractiveShell(shell, tmp_path, programs=install(neighbour, tmp_path / "bin"))
    assert at.offers("backctl user show ") == ["straße", "ада", "日本語"]
    assert at.offers("backctl user show straß") == ["straße"]
    assert at.offers("backctl user show 日") == ["日本語"]
    assert at.offers("backctl user show 3а") == ["3ада@example.org"]
    if shell is not Shell.FISH:  # it reads UTF-8 in every locale
        at = InteractiveShell(shell, tmp_path, programs=tmp_path / "bin", environment={"LC_ALL": "C"})
        assert at.offers("backctl user show ") == ["strasse"]


@shells
def test_a_tab_offers_the_names_of_keys(
    shell: Shell, installed: Machine, seat: Callable[[Shell], InteractiveShell]
) -> None:
    names = installed.run("key", "list", "-o", "id").succeeded().out.split()
    assert seat(shell).offers("backctl key show ") == sorted(names)
    assert seat(shell).offers(f"backctl key destroy {names[0][:-1]}") == names[:1]


def test_names_of_keys_come_from_a_private_file_that_needs_no_passphrase(installed: Machine, tmp_path: Path) -> None:
    keyring = Path(shutil.copy(installed.data / "keyring.json", tmp_path))
    keyring.chmod(0o600)
    before = keyring.read_bytes()
    path = {"BACKCTL_KEYRING_PATH": str(keyring)}
    names = installed.run("key", "list", "-o", "id").succeeded().out.split()
    assert asked(installed, "key", "", **path).out.split() == names
    assert asked(installed, "key", names[1][:-1], **path).out.split() == names[1:2]
    for document in (b"", b"[]", b"{}", b'{"keys": [1]}', b'{"format": 1, "wrapped": {"salt": "x"}}', b"\xff"):
        keyring.write_bytes(document)
        assert asked(installed, "key", "", **path).out == ""
    keyring.write_bytes(before)
    keyring.chmod(0o604)
    assert asked(installed, "key", "", **path).out == ""
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert asked(installed, "key", "", BACKCTL_KEYRING_PATH=str(tmp_path / "pipe")).out == ""
    assert asked(installed, "key", "", BACKCTL_KEYRING_DOCUMENT=before.decode()).out == ""
    command = f'keyring.passphrase_command = ["/bin/touch", "{tmp_path}/ran"]\n'
    (tmp_path / "config.toml").touch(mode=0o600)
    (tmp_path / "config.toml").write_text(command)
    assert asked(installed, "key", "", BACKCTL_CONFIG=str(tmp_path / "config.toml")).out.split() == names
    assert not (tmp_path / "ran").exists()


# Attacks.


@shells
def test_nothing_that_a_shell_could_evaluate_is_offered_or_run(
    shell: Shell, installed: Machine, neighbour: Machine, tmp_path: Path
) -> None:
    database = Path(shutil.copy(installed.data / "backctl.db", neighbour.data / "backctl.db"))
    insert(database, "evidence")
    for number, text in enumerate(HOSTILE):
        insert(database, f"ev{text}"[:50])
        insert(database, f"{text}{number:03}", f"{text}@x", key=f"ev{number:03}{text}")
    assert neighbour.rows("SELECT count(*) FROM users WHERE username_key LIKE 'ev%'") == [(2 * len(HOSTILE) + 1,)]
    interactive_shell = InteractiveShell(shell, tmp_path, programs=install(neighbour, tmp_path / "bin"))
    assert interactive_shell.offers("backctl user show ev") == ["evidence"]
    assert interactive_shell.offers("backctl user show ev@") == []
    assert interactive_shell.offers("backctl user show ") == ["ada", "adam", "bob", "evidence"]
    assert not list(tmp_path.rglob("ran"))


@shells
def test_a_script_trusts_no_program(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    words = ["evidence", *(f"ev{text}" for text in HOSTILE), *HOSTILE, "-rf", "--help", "ev\\"]
    (tmp_path / "words").write_text("\n".join(words).replace("\0", ""))
    program = folder / "backctl"
    # PATH contains nothing but this folder.
    loop = f"while IFS= read -r word; do printf '%s\\n' \"$word\"; done <'{tmp_path}/words'"
    program.write_text(f"#!/bin/sh\necho oops >&2\n{loop}\nexit 9\n")
    program.chmod(0o755)
    interactive_shell = InteractiveShell(shell, tmp_path, programs=folder)
    # "ev" is the text before the first line break of a hostile word.
    assert interactive_shell.offers("backctl user show ev") == ["ev", "evidence"]
    assert [word for word in interactive_shell.offers("backctl user list --role ") if not is_plain(word.encode())] == []
    assert not (tmp_path / "ran").exists()


def test_accounts_as_hostile_as_the_program_admits_are_not_offered(machine: Machine) -> None:
    for name, email in (
        ("straße", "it's@example.org"),
        ("q-e.r_y", "a$b@example.org"),
        ("日本語", "q`id`@example.org"),
    ):
        machine.create_user(name, email=email)
    assert asked(machine, "account", "").out.split() == ["q-e.r_y", "straße", "日本語"]
    for prefix in ("stra", "straß"):
        assert asked(machine, "account", prefix).out.split() == ["straße"]
    # Without UTF-8, one account is offered by its key, which also identifies it.
    for locale in ("C", "POSIX", "de_DE.ISO-8859-1", ""):
        assert asked(machine, "account", "", LC_ALL=locale).out.split() == ["q-e.r_y", "strasse"]
    assert asked(machine, "account", "straß", LC_ALL="C").out == ""
    machine.run("user", "show", "strasse").succeeded()
    for prefix in ("a", "it", "q`"):
        assert asked(machine, "account", prefix).out == ""


# The request itself.


def asked(machine: Machine, *arguments: str, **changes: str) -> Outcome:
    outcome = machine.run("__complete", *arguments, env=changes).succeeded()
    assert outcome.err == ""
    return outcome


def test_every_kind_in_the_scripts_is_one_that_the_program_answers() -> None:
    from typer.main import get_command

    tree = read_tree(get_command(app))
    values = [flag.value for node in tree.walk() for flag in node.flags if flag.value]
    values += [operand for node in tree.walk() for operand in node.operands]
    assert {value.stored for value in values} - {""} == set(KINDS)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("account",),
        ("nonsense", "a"),
        ("account", "a", "--profile"),
        ("account", "-a"),
        ("account", "a b"),
        ("account", "$(:>ran)"),
        ("account", "\udcff"),
        ("account", "a" * 10_000),
        ("account", "a", "--config", "missing.toml"),
        ("account", "a", "--profile", "nobody"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_nothing(
    installed: Machine, arguments: tuple[str, ...]
) -> None:
    assert asked(installed, *arguments).out == ""
    assert not (installed.home / "ran").exists()


def test_of_too_many_names_those_are_offered_that_keep_all_within_reach(installed: Machine, tmp_path: Path) -> None:
    database = Path(shutil.copy(installed.data / "backctl.db", tmp_path / "many.db"))
    for number in range(60):
        insert(database, f"o'{number}")  # none of these can be offered
        insert(database, f"oscar{number:02}")
    words = asked(installed, "account", "o", BACKCTL_DATABASE_URL=f"sqlite:///{database}").out.split()
    # The last name is included so that the shell inserts a prefix that all names share.
    assert words == [*(f"oscar{number:02}" for number in range(49)), "oscar59"]


def test_on_a_fresh_machine_nothing_is_offered_and_nothing_made(machine: Machine) -> None:
    for kind in KINDS:
        assert asked(machine, kind, "").out == ""
    assert not any(machine.home.iterdir())


def test_closed_streams_are_no_reason_to_complain(installed: Machine) -> None:
    assert asked(installed, "account", "a").out == "ada\nadam\n"
    reading, writing = os.pipe()
    os.close(reading)
    with installed.start("__complete", "account", "a", stdout=writing, stderr=-1) as process:
        os.close(writing)
        assert process.communicate()[1] == b""
        assert process.returncode == 0


_UNPRIVILEGED = """
import os, sys, tomllib
import platformdirs.unix  # nobody may not read what is loaded later
from backctl.infrastructure.sqlite import name_search
from backctl.suggestions.answers import answer
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(answer(["account", "a"], os.environ))
"""


@pytest.mark.parametrize(("mode", "offered"), [(0o644, "ada\nadam\n"), (0o000, "")])
def test_what_may_not_be_read_is_not_offered(installed: Machine, mode: int, offered: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # every user can reach this folder, unlike pytest's own
        Path(name).chmod(0o755)
        database = Path(shutil.copy(installed.data / "backctl.db", name))
        database.chmod(mode)
        environment = {**installed.environment, "HOME": name, "BACKCTL_DATABASE_URL": f"sqlite:///{database}"}
        command = [sys.executable, "-c", _UNPRIVILEGED]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, offered, "")


def test_a_server_is_not_asked(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"postgresql://ada@127.0.0.1:{server.getsockname()[1]}/backctl"
        assert asked(machine, "account", "a", BACKCTL_DATABASE_URL=url).out == ""
        with pytest.raises(BlockingIOError):  # there was no connection
            server.accept()


def test_a_secret_command_is_not_run(machine: Machine) -> None:
    machine.config_file.parent.mkdir(parents=True)
    machine.config_file.touch(mode=0o600)
    machine.config_file.write_text('[database]\nurl_command = ["touch", "ran"]\n')
    assert asked(machine, "account", "a").out == ""
    machine.config_file.write_text(f'database.url_command = ["/bin/touch", "{machine.home}/ran"]\n')
    assert asked(machine, "account", "a").out == ""
    assert not (machine.home / "ran").exists()

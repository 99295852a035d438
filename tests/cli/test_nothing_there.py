"""Without an installation: only `init` and `user create` create one; other commands that need one exit 9."""

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.test_every_command import LEAVES

NEED_ONE = {
    ("user", "list"): "",
    ("user", "show"): "ada",
    ("user", "exists"): "ada",
    ("user", "count"): "",
    ("user", "export"): "",
    ("user", "import"): "-",
    ("user", "set-password"): "ada --generate-password",
    ("user", "check-password"): "ada --password-stdin",
    ("user", "activate"): "ada bob",
    ("user", "deactivate"): "ada",
    ("user", "unlock"): "ada bob",
    ("user", "update"): "ada --username lovelace",
    ("user", "delete"): "ada --if-exists --confirm ada",
    ("user", "history"): "ada",
    ("user", "mfa", "enroll"): "ada",
    ("user", "mfa", "confirm"): "ada --code-stdin",
    ("user", "mfa", "status"): "ada",
    ("user", "mfa", "disable"): "ada --yes",
    ("user", "mfa", "recovery-codes"): "ada",
    ("user", "mfa", "reencrypt"): "",
    ("role", "assign"): "admin ada",
    ("access", "check"): "ada user:list",
    ("token", "issue"): "ada",
    ("token", "verify"): "--offline --token-stdin",
    ("token", "refresh"): "--token-stdin",
    ("token", "revoke"): "--token-stdin",
    ("token", "list"): "ada",
    ("token", "gc"): "",
    ("key", "list"): "",
    ("key", "show"): "s-1",
    ("key", "add"): "",
    ("key", "promote"): "s-1",
    ("key", "retire"): "s-1",
    ("key", "destroy"): "s-1 --confirm s-1",
    ("key", "rotate"): "",
    ("key", "due"): "",
    ("key", "jwks"): "",
    ("key", "wrap"): "--passphrase-stdin",
    ("key", "replace-lost"): "--confirm 01234567",
    ("key", "import"): "--key-stdin",
    ("key", "export"): "s-1 --private",
    ("encrypt",): "--context x --value-stdin",
    ("decrypt",): "--context x --value-stdin",
    ("reencrypt",): "--context x --value-stdin",
    ("cache", "warm", "users"): "",
    ("cache", "drain"): "",
    ("cache", "dead", "list"): "",
    ("cache", "dead", "requeue"): "--all",
    ("cache", "dead", "drop"): "--all --yes",
    ("plan",): "seed.yaml --prune",
    ("apply",): "seed.yaml --prune=delete --wait-server 1s",
    ("audit", "list"): "",
    ("audit", "show"): "1",
    ("audit", "verify"): "",
    ("db", "upgrade"): "",
    ("db", "status"): "",
    ("db", "check"): "",
    ("db", "backup"): "copy.db",
    ("db", "restore"): "copy.db --yes",
    ("db", "restored"): "--yes",
}
"""Arguments with which each command would work, or find nothing, if there were an installation."""

MAKE_ONE = {("init",), ("user", "create")}

NEED_NONE = {
    ("role", "list"): "",
    ("role", "show"): "admin",
    ("token", "inspect"): "--token-stdin",
    ("cache", "get"): "report:1",
    ("cache", "set"): "report:1 {}",
    ("cache", "delete"): "report:1 --if-exists",
    ("cache", "list"): "",
    ("cache", "explain"): "report:1",
    ("cache", "invalidate"): "report:1",
    ("cache", "stats"): "",
    ("ratelimit", "check"): "demo ada --rate 3/1h",
    ("ratelimit", "run"): "demo ada --rate 3/1h -- true",
    ("ratelimit", "peek"): "demo ada --rate 3/1h",
    ("ratelimit", "list"): "",
    ("ratelimit", "reset"): "demo ada --rate 3/1h",
    ("ratelimit", "simulate"): "--rate 3/1h --arrivals 1/1s",
    ("ratelimit", "policy", "list"): "",
    ("ratelimit", "policy", "show"): "demo",
    ("config", "show"): "",
    ("config", "path"): "",
    ("config", "get"): "database.timeout",
    ("config", "set"): "database.timeout 3s",
    ("config", "unset"): "database.timeout",
    ("config", "validate"): "",
    ("profile", "list"): "",
    ("profile", "show"): "here",
    ("profile", "use"): "here",
    ("profile", "current"): "",
    ("sanitize",): "",
    ("completion", "bash"): "",
    ("completion", "zsh"): "",
    ("completion", "fish"): "",
    ("help", "environment"): "",
    ("help", "exit-codes"): "",
    ("help", "formatting"): "",
    ("help", "identities"): "",
    ("help", "options"): "",
    ("help", "time"): "",
    ("version",): "",
    ("doctor",): "",
}
"""Commands that work without an installation."""

_TOKEN = "bkr_x"


def test_the_tables_name_every_command() -> None:
    assert {*NEED_ONE, *MAKE_ONE, *NEED_NONE} == set(LEAVES)


@pytest.mark.parametrize("path", NEED_ONE, ids=" ".join)
def test_a_command_that_needs_an_installation_creates_nothing_and_names_the_path(
    machine: Machine, path: tuple[str, ...]
) -> None:
    for dry in ((), ("--dry-run",)) if LEAVES[path].mutation else ((),):
        words = (*path, *NEED_ONE[path].split(), *dry, "-o", "json")
        error = refused(machine.run(*words, stdin=_TOKEN), 9, "installation.missing")
        assert error["message"] == (
            f"there is no installation in '{machine.data}': neither backctl.db nor keyring.json exists"
        )
        assert error["hint"] == "check HOME, --profile and --config, or run 'backctl init' to create one"
        assert error["retryable"] is False
        assert contents(machine.home) == {}


@pytest.mark.parametrize("path", NEED_NONE, ids=" ".join)
def test_a_command_that_needs_no_installation_works_and_creates_none(machine: Machine, path: tuple[str, ...]) -> None:
    machine.environment["BACKCTL_CONFIG"] = str(machine.home / "own.toml")
    (machine.home / "own.toml").write_text("[ratelimit.policies.demo]\nlimit = 3\nwindow = '1h'\n[profiles.here]\n")
    (machine.home / "own.toml").chmod(0o600)
    done = machine.run(*path, *NEED_NONE[path].split(), stdin=_TOKEN)
    assert "there is no installation" not in done.err
    assert not {"backctl.db", "keyring.json"} & {file.name for file in machine.home.rglob("*")}


@pytest.mark.parametrize(
    "command", [("init",), ("user", "create", "a@example.org", "--username", "ada", "--no-password")]
)
def test_only_two_commands_create_an_installation(machine: Machine, command: tuple[str, ...]) -> None:
    machine.run(*command).succeeded()
    machine.run("audit", "verify").succeeded()


def test_a_configured_database_that_does_not_exist_is_a_missing_installation(machine: Machine) -> None:
    database, keyring = machine.home / "own.db", machine.home / "keys" / "own.json"
    env = {"BACKCTL_DATABASE_URL": f"sqlite:///{database}", "BACKCTL_KEYRING_PATH": str(keyring)}
    create = ("user", "create", "a@example.org", "--username", "ada", "--no-password")
    for command in (("user", "list"), ("key", "rotate"), ("encrypt", "--context", "", "--value-stdin"), create):
        error = refused(machine.run(*command, "-o", "json", env=env, stdin="x"), 9, "installation.missing")
        assert error["message"] == (
            f"there is no installation: neither the database '{database}' nor the keyring '{keyring}' exists"
        )
        assert "database.url" in error["hint"]
    assert contents(machine.home) == {}


def test_a_lost_database_is_not_replaced_if_its_keyring_exists(machine: Machine) -> None:
    machine.run("init").succeeded()
    encrypted = machine.run("encrypt", "--context", "x", "--value-stdin", stdin="secret").succeeded().out
    (machine.data / "backctl.db").unlink()
    keys = [path for path in NEED_ONE if path[0] == "key"]
    for command in (("user", "list"), ("audit", "verify"), *((*path, *NEED_ONE[path].split()) for path in keys)):
        error = refused(machine.run(*command, "-o", "json"), 9, "installation.missing")
        assert f"'{machine.data}/backctl.db' does not exist" in error["message"]
        assert error["hint"].startswith("restore the database from a backup")
    # The keyring is enough to decrypt, to encrypt and to verify.
    machine.run("encrypt", "--context", "x", "--value-stdin", stdin="secret").succeeded()
    machine.run("reencrypt", "--context", "x", "--value-stdin", stdin=encrypted).succeeded()
    assert machine.run("token", "verify", "--offline", "--token-stdin", stdin="x").code == 6
    assert machine.run("decrypt", "--context", "x", "--value-stdin", stdin=encrypted).succeeded().out == "secret"
    assert [path.name for path in machine.data.iterdir() if path.suffix != ".lock"] == ["keyring.json"]


def test_a_login_that_is_limited_by_its_source_stores_no_limit(machine: Machine) -> None:
    machine.environment["BACKCTL_CONFIG"] = str(machine.home / "own.toml")
    (machine.home / "own.toml").write_text(
        "[authentication]\nsource_policy = 'login'\n[ratelimit.policies.login]\nlimit = 3\nwindow = '1h'\n"
    )
    (machine.home / "own.toml").chmod(0o600)
    before = contents(machine.home)
    command = ("user", "check-password", "ada", "--source", "192.0.2.1", "--password-stdin", "-o", "json")
    refused(machine.run(*command, stdin="x"), 9, "installation.missing")
    assert contents(machine.home) == before

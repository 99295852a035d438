"""A secret in the arguments is refused without being repeated, and the error says that it must be changed."""

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.test_every_command import LEAVES

CREATE = ("user", "create", "a@example.org", "--username", "ada")
READING = [(path, secret) for path, spec in LEAVES.items() for secret in spec.secrets]


@pytest.mark.parametrize(("path", "secret"), READING, ids=str)
def test_every_secret_in_an_argument_is_rejected_and_not_repeated(
    machine: Machine, path: tuple[str, ...], secret: str
) -> None:
    for words in ((f"--{secret}", "hunter2"), (f"--{secret}=hunter2",), (f"--{secret}-stdin=hunter2",)):
        done = machine.run(*path, *words, "-o", "json")
        error = refused(done, 2, "usage")
        assert "hunter2" not in done.err
        assert "is now in the history of the shell" in error["message"]
        assert f"--{secret}-stdin, --{secret}-file, --{secret}-fd or --{secret}-env" in error["hint"]
    assert list(machine.home.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ((*CREATE, "--password", "hunter2"), "password"),
        ((*CREATE, "-password", "hunter2"), "password"),
        ((*CREATE, "-password=hunter2"), "password"),
        ((*CREATE, "--passwd", "hunter2"), "password"),
        ((*CREATE, "--pass=hunter2"), "password"),
        (("user", "list", "--password", "hunter2"), "password"),
        (("user", "--password", "hunter2", "list"), "password"),
        (("--password", "hunter2", "user", "list"), "password"),
        (("-password", "hunter2", "user", "list"), "password"),
        (("-p", "x", "-password", "hunter2", "user", "list"), "password"),
        (("user", "check-password", "ada", "--mfa-code", "hunter2"), "code"),
        (("user", "check-password", "ada", "--code", "hunter2"), "code"),
        (("token", "verify", "--token", "hunter2"), "token"),
        (("token", "verify", "-token", "hunter2"), "token"),
        (("token", "issue", "ada", "--secret", "hunter2"), "secret"),
        (("key", "import", "--key", "hunter2"), "key"),
        (("key", "import", "--private-key", "hunter2"), "key"),
        (("encrypt", "--key", "hunter2"), "key"),
        (("config", "set", "keyring.passphrase", "--value", "hunter2"), "value"),
    ],
)
def test_a_secret_in_an_option_must_be_changed(machine: Machine, words: tuple[str, ...], label: str) -> None:
    done = machine.run(*words)
    assert (done.code, done.out) == (2, "")
    assert "hunter2" not in done.err
    error, hint = done.err.splitlines()
    assert f"and the {label} is now in the history of the shell" in error
    assert hint.startswith("backctl: hint: ")
    assert label in hint
    assert list(machine.home.iterdir()) == []


def test_an_option_without_a_value_exposed_no_secret(machine: Machine) -> None:
    for words in ((*CREATE, "--password"), ("user", "create", "--password", "--username", "ada")):
        done = machine.run(*words)
        assert done.code == 2
        assert done.err == (
            "backctl: error: there is no option '--password'\n"
            "backctl: hint: use --password-stdin, --password-file, --password-fd or --password-env\n"
        )


@pytest.mark.parametrize(
    "words",
    [
        ("user", "set-password", "ada", "hunter2"),
        ("user", "check-password", "ada", "hunter2"),
        (*CREATE, "hunter2"),
        ("user", "mfa", "confirm", "ada", "hunter2"),
        ("token", "verify", "hunter2"),
        ("token", "revoke", "hunter2"),
        ("key", "import", "hunter2"),
        ("key", "wrap", "hunter2"),
        ("encrypt", "hunter2"),
        ("decrypt", "hunter2"),
    ],
)
def test_an_argument_that_may_be_a_secret_is_not_repeated(machine: Machine, words: tuple[str, ...]) -> None:
    done = machine.run(*words, "-o", "json")
    error = refused(done, 2, "usage")
    assert "hunter2" not in done.err
    assert "do not pass a" in error["hint"]
    assert list(machine.home.iterdir()) == []


def test_options_that_only_look_like_secrets_are_ordinary_typing_errors(machine: Machine) -> None:
    for words in (
        ("key", "show", "--key", "k1"),
        ("cache", "get", "--key", "users:1"),
        ("audit", "list", "--code", "1"),
    ):
        assert "history" not in machine.run(*words).err
    assert "unexpected argument 'c'" in machine.run("config", "set", "a", "b", "c").err
    machine.run("config", "get", "database.timeout", "-ojson").succeeded()

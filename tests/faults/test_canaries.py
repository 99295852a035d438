"""Secrets appear only in the intended output: not with -v, not in error messages, not after an unexpected error."""

import base64
import copy
import dataclasses
import json
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from tests.cli.accounts import Person, fresh, populate
from tests.cli.conftest import Machine, Outcome
from tests.cli.files import contents
from tests.cli.test_every_command import LEAVES
from tests.servers import Servers
from tests.starter import STARTER

from backctl.domain.values import PasswordHash, Secret
from backctl.presentation.crash_log import unexpected
from backctl.settings.secrets import SecretValue

DRIVER = str(Path(__file__).with_name("canary_driver.py"))
CANARY = "cAn4ry/0f:th3@m1ne"
"""Contains characters that a URL or a shell escapes."""
HASH = "$2b$04$abcdefghijklmnopqrstuuPk/4F1dnYZ0Kxk6GnlrJCYXbHkLIbFy"
TOTP_SECRET = "GEZDGNBVGY3TQOJQMFRGGZDFMZTWQ2LK"
FAILURES = 9
"""The number of calls to fail, spread evenly over the calls that can read the secret."""


def forms(secret: str) -> set[str]:
    """Return the forms in which a secret could be written by accident."""
    raw = secret.encode()
    encoded = [base64.b64encode(raw), base64.urlsafe_b64encode(raw)]
    return {secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1], json.dumps(secret)[1:-1]} | {
        text.decode().rstrip("=") for text in encoded
    }


def assert_hidden(secret: str, outcome: Outcome, machine: Machine, *, kept: set[str], shown: bool = False) -> None:
    """Check that the secret is in no output, no log and no file of the machine except those in `kept`."""
    places = {"stderr": outcome.err} | ({} if shown else {"stdout": outcome.out})
    for name, content in contents(machine.home).items():
        if name not in kept:
            places[name] = (content or b"").decode("utf-8", "replace")
    for place, text in places.items():
        for form in forms(secret):
            assert form not in text, (place, form)


def canary_of(secret: str) -> str:
    return secret[-24:]


@dataclass(frozen=True)
class Exposure:
    """A command that handles a secret. `kept` are the files that may contain it; `shown` means that stdout may, too."""

    words: tuple[str, ...]
    secret: str = CANARY
    stdin: str = ""
    kept: frozenset[str] = frozenset()
    shown: bool = False
    codes: tuple[int, ...] = (0,)
    environment: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = fresh(tmp_path_factory.mktemp("template"))
    populate(machine, [Person("ada"), Person("root", role="admin")])
    machine.run("user", "set-password", "ada", "--password-stdin", stdin="another long password").succeeded()
    return machine


def exposures(machine: Machine) -> Iterator[Exposure]:
    password = ("--password-stdin",)
    create = ("user", "create", "eve@example.org", "--username", "eve")
    yield Exposure((*create, *password), stdin=CANARY)
    yield Exposure((*create, "--password-env", "PASSWORD"), environment={"PASSWORD": CANARY})
    yield Exposure(("user", "create", "no address", "--username", "eve", *password), stdin=CANARY, codes=(2,))
    yield Exposure((*create, *password), secret="eve@example.org1", stdin="eve@example.org1", codes=(2, 0))
    yield Exposure((*create, "--password-hash-stdin"), stdin=f"$2b$12${CANARY}", codes=(2,))
    hashed = HASH
    yield Exposure((*create, "--password-hash-stdin"), secret=hashed[-30:], stdin=hashed, kept=DATABASE)
    taken = ("user", "create", "ada@example.org", "--username", "eve")
    yield Exposure((*taken, "--password-hash-stdin"), secret=hashed[-30:], stdin=hashed, codes=(4,))
    yield Exposure(("user", "set-password", "ada", *password), stdin=CANARY)
    yield Exposure(("user", "set-password", "nobody", *password), stdin=CANARY, codes=(3,))
    yield Exposure(("user", "check-password", "ada", *password), stdin=CANARY, codes=(6,))
    yield Exposure(("user", "check-password", "nobody", *password), stdin=CANARY, codes=(6,))
    yield Exposure(("encrypt", "--context", "x"), stdin=CANARY)
    yield Exposure(("encrypt", "--context", "x", "--lines"), stdin=f"{CANARY}\n")
    yield Exposure(("key", "wrap", "--passphrase-stdin"), stdin=CANARY)
    yield Exposure(("key", "import"), stdin=f'{{"kty": "OKP", "crv": "Ed25519", "d": "{CANARY}"}}', codes=(2,))
    tokens = json.loads(machine.run("token", "issue", "ada", "--pair", "-o", "json").succeeded().out)
    for kind in ("access_token", "refresh_token"):
        token = tokens[kind]
        for verb, codes in (("verify", (0, 6)), ("inspect", (0,)), ("revoke", (0,)), ("refresh", (0, 6))):
            yield Exposure(("token", verb), canary_of(token), token, codes=codes)
        misplaced = (("token", "verify"), ("user", "show"), ("audit", "list", "--actor"), ("key", "show"))
        for words in misplaced:
            yield Exposure((*words, token), canary_of(token), codes=(0, 2, 3))
        yield Exposure(("token", "verify", "--token-file", token), canary_of(token), codes=(2,))
    sealed = machine.run("encrypt", "--context", "x", stdin=CANARY).succeeded().out
    yield Exposure(("decrypt", "--context", "x"), stdin=sealed, shown=True)
    yield Exposure(("decrypt", "--context", "y"), stdin=sealed, codes=(6,))
    keyring = json.loads((machine.data / "keyring.json").read_text())
    signing = next(key for key in keyring["keys"] if key["purpose"] == "sign")
    export = ("key", "export", signing["kid"], "--private")
    private = frozenset({KEYRING})
    yield Exposure(export, signing["d"], kept=private, shown=True)
    yield Exposure((*export, "--secret-file", "key.jwk"), signing["d"], kept=private | {"key.jwk"})
    queries: tuple[tuple[str, ...], ...] = (("key", "list"), ("key", "jwks"), ("key", "rotate"), ("doctor",))
    for query in queries:
        yield Exposure(query, signing["d"], kept=private)
    hashed = machine.rows("SELECT password_hash FROM users WHERE username = 'ada'")[0][0][-30:]
    accounts = ("user", "export", "--include-hashes")
    yield Exposure(accounts, hashed, kept=DATABASE, codes=(8,))
    yield Exposure((*accounts, "--yes"), hashed, kept=DATABASE, shown=True)
    yield Exposure((*accounts, "--yes", "--dry-run"), hashed, kept=DATABASE)
    yield Exposure((*accounts, "--yes", "--out", "made"), hashed, kept=DATABASE | {"made"})
    factor = machine.run("user", "mfa", "enroll", "root", "-o", "json").succeeded().json["secret"]
    yield Exposure(("user", "export", "--include-mfa", "--yes"), factor, shown=True)
    yield Exposure(("user", "export", "--include-mfa", "--yes", "--out", "made"), factor, kept=frozenset({"made"}))
    eve: dict[str, object] = {"email": "eve@example.org", "username": "eve"}
    for members, secret, kept in (
        ({"password": CANARY}, CANARY, frozenset()),
        ({"password_hash": HASH}, HASH[-30:], DATABASE),
        ({"totp_secret": TOTP_SECRET}, TOTP_SECRET, frozenset()),
    ):
        rows = json.dumps(eve | members)
        yield Exposure(("user", "import", "-", "--results", "made"), secret, rows, kept=kept)
        known = json.dumps({"email": "ada@example.org"} | members)
        yield Exposure(("user", "import", "-", "--mode", "upsert", "--update-secrets"), secret, known, kept=kept)
        yield Exposure(("user", "import", "-"), secret, json.dumps(eve | members | {"role": "king"}), codes=(7,))
    given = {"BACKCTL_KEYRING_DOCUMENT": (machine.data / "keyring.json").read_text()}
    yield Exposure(("key", "list"), signing["d"], kept=private, environment=given)
    yield Exposure(("token", "issue", "ada"), signing["d"], kept=private, environment=given)


KEYRING = ".local/share/backctl/keyring.json"
DATABASE = frozenset(f".local/share/backctl/backctl.db{suffix}" for suffix in ("", "-wal"))


@pytest.fixture
def copied(template: Machine, tmp_path: Path) -> Callable[[str], Machine]:
    def copy_to(name: str) -> Machine:
        home = tmp_path / name
        shutil.copytree(template.home, home)
        return Machine(home)

    return copy_to


SCENES = 58
every_scene = pytest.mark.parametrize("number", range(SCENES))


@pytest.fixture(scope="module")
def all_exposures(template: Machine) -> list[Exposure]:
    found = list(exposures(template))
    assert len(found) == SCENES
    return found


@every_scene
def test_a_secret_is_shown_nowhere(
    all_exposures: list[Exposure], copied: Callable[[str], Machine], number: int
) -> None:
    exposure = all_exposures[number]
    for place, flags in enumerate(((), ("-v",), ("-v", "-o", "json"))):
        machine = copied(str(place))
        done = machine.run(*exposure.words, *flags, stdin=exposure.stdin, env=exposure.environment)
        assert done.code in exposure.codes, done
        kept = exposure.kept if KEYRING in exposure.kept else exposure.kept | {KEYRING}
        assert_hidden(exposure.secret, done, machine, kept=set(kept), shown=exposure.shown)


@every_scene
@pytest.mark.parametrize("form", ["plain", "words"])
def test_a_secret_is_shown_nowhere_when_something_breaks(
    all_exposures: list[Exposure], copied: Callable[[str], Machine], number: int, form: str
) -> None:
    exposure = all_exposures[number]

    def drive(machine: Machine, at: int) -> Outcome:
        command = [sys.executable, DRIVER, exposure.secret, str(at), form, str(machine.home), *exposure.words]
        environment = {**machine.environment, **exposure.environment}
        done = STARTER.run(command, stdin=exposure.stdin.encode(), env=environment, cwd=machine.home, timeout_s=120)
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    whole = copied("whole")
    drive(whole, 0)
    calls = int((whole.home / "calls").read_text())
    for at in range(1, calls + 1, max(1, calls // FAILURES)):
        machine = copied(str(at))
        done = drive(machine, at)
        kept = {*exposure.kept, KEYRING, "calls", *DATABASE}
        assert_hidden(exposure.secret, done, machine, kept=kept, shown=exposure.shown)


# Configured secrets.


@pytest.fixture
def named(servers: Servers, tmp_path: Path) -> Iterator[tuple[Machine, str]]:
    """Return a machine that uses a server's database, and the database URL, whose password is a canary."""
    server = servers.postgres(16)
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE canary SUPERUSER LOGIN PASSWORD '{CANARY}'")
        try:
            with server.database() as name:
                yield fresh(tmp_path), server.url(name, user="canary", password=quote(CANARY, safe=""))
        finally:
            admin.execute("DROP ROLE canary")


def test_every_command_hides_the_password_of_its_database(named: tuple[Machine, str]) -> None:
    machine, url = named
    (machine.home / "url").write_text(url)
    (machine.home / "url").chmod(0o600)
    machine.config_file.parent.mkdir(parents=True)
    sources = {
        "value": f'url = "{url}"',
        "file": f'url_file = "{machine.home}/url"',
        "command": f'url_command = ["cat", "{machine.home}/url"]',
    }
    kept = {"url", ".config/backctl/config.toml"}
    for source, line in sources.items():
        machine.config_file.write_text(f"[database]\n{line}\n")
        if source == "value":
            machine.run("init").succeeded()
        for path in LEAVES:
            done = machine.run(*path, "-v")  # commands without a required argument show an error, which is also checked
            assert done.code in range(10), done
            assert_hidden(CANARY, done, machine, kept=kept)
        create = ("user", "create", f"ada@{source}.org", "--username", f"ada-{source}", "--no-password")
        for words in (create, ("doctor",)):
            assert_hidden(CANARY, machine.run(*words, "-v", "-o", "json"), machine, kept=kept)


BROKEN: list[Callable[[str], str]] = [
    lambda url: url.replace("@127", "wrong@127"),
    lambda url: url.rpartition(":")[0] + ":1/nothing",
    lambda url: url.replace("127.0.0.1", "no-such-host.invalid"),
    lambda url: url.rpartition("/")[0] + "/missing",
    lambda url: f"{url}?no_such_parameter=1",
    lambda url: f"{url}?password={quote(CANARY, safe='')}&connect_timeout=x",
    lambda url: url.replace(quote(CANARY, safe=""), CANARY),
    lambda url: url.replace(quote(CANARY, safe=""), f"{CANARY}#"),
    lambda url: url.replace("postgresql:", "mysql:"),
    lambda url: url.replace("postgresql://", ""),
    lambda url: url.replace("127.0.0.1:", "127.0.0.1:x"),
]


@pytest.mark.parametrize("number_of", range(len(BROKEN)))
def test_a_url_that_does_not_work_is_told_without_its_password(named: tuple[Machine, str], number_of: int) -> None:
    machine, url = named
    machine.environment["BACKCTL_DATABASE_CONNECT_TIMEOUT"] = "2s"
    for words in (("user", "list"), ("doctor",), ("init",), ("config", "show"), ("config", "validate")):
        for flags in (("-v",), ("-o", "json")):
            done = machine.run(*words, *flags, env={"BACKCTL_DATABASE_URL": BROKEN[number_of](url)})
            assert_hidden(CANARY, done, machine, kept=set())


@pytest.mark.parametrize("source", ["passphrase", "passphrase_file", "passphrase_command"])
def test_every_command_hides_the_passphrase_of_its_keyring(copied: Callable[[str], Machine], source: str) -> None:
    machine = copied("wrapped")
    machine.run("key", "wrap", "--passphrase-stdin", stdin=CANARY).succeeded()
    (machine.home / "passphrase").write_text(CANARY)
    (machine.home / "passphrase").chmod(0o600)
    machine.config_file.parent.mkdir(parents=True)
    for given in (CANARY, f"{CANARY}x"):
        (machine.home / "passphrase").write_text(given)
        value = {
            "passphrase": json.dumps(given),
            "passphrase_file": f'"{machine.home}/passphrase"',
            "passphrase_command": f'["cat", "{machine.home}/passphrase"]',
        }[source]
        machine.config_file.write_text(f"[keyring]\n{source} = {value}\n")
        machine.config_file.chmod(0o600)
        for words in (("user", "deactivate", "ada"), ("key", "list"), ("doctor",), ("config", "show"), ("key", "wrap")):
            done = machine.run(*words, "-v")
            assert_hidden(CANARY, done, machine, kept={"passphrase", ".config/backctl/config.toml"})


def test_a_child_inherits_no_secret(copied: Callable[[str], Machine]) -> None:
    machine = copied("child")
    script, seen = machine.home / "show", machine.home / "environment"
    lines = ["#!/bin/sh", f"env > {seen}", f"cat /proc/$PPID/cmdline >> {seen}", "echo x"]
    script.write_text("\n".join(lines))
    script.chmod(0o700)
    machine.config_file.parent.mkdir(parents=True)
    machine.config_file.write_text(f'[keyring]\npassphrase_command = ["{script}"]\n')
    environment = {"BACKCTL_DATABASE_URL": f"sqlite:////nowhere/{quote(CANARY)}", "PASSWORD": CANARY}
    words = ("user", "create", "eve@example.org", "--username", "eve", "--password-env", "PASSWORD")
    machine.run("key", "wrap", "--passphrase-stdin", stdin="x").succeeded()
    machine.run(*words, env=environment)
    machine.run("key", "list").succeeded()
    assert CANARY not in seen.read_text()


# Types that hold secrets.


@pytest.mark.parametrize("kind", [Secret, SecretValue, PasswordHash])
def test_a_value_that_is_secret_does_not_show_itself(kind: Callable[[str], object]) -> None:
    secret = kind(CANARY)
    holder = dataclasses.make_dataclass("Holder", ["secret"])(secret)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        repr([secret]),
        repr({"a": secret}),
        repr(holder),
    ]
    assert not [text for text in shown if CANARY in text]
    if kind is not SecretValue:
        for leak in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                leak(secret)


def test_the_log_of_a_bug_repeats_no_words_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    def broken() -> None:
        try:
            raise ValueError(f"invalid: {CANARY}")
        except ValueError as error:
            error.add_note(CANARY)
            group = ExceptionGroup(CANARY, [KeyError(CANARY), TypeError(CANARY)])
            raise RuntimeError(CANARY) from group

    try:
        broken()
    except RuntimeError as error:
        told = unexpected(error)
    logged = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert CANARY not in logged + told.message + str(told.hint)
    for name in ("RuntimeError", "ExceptionGroup", "KeyError", "TypeError", "in broken"):
        assert name in logged

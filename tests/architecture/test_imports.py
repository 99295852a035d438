"""Which modules a command may load, because startup must be fast, and which imports the layers forbid."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.json_table import entries
from tests.servers import Servers

from backctl.presentation.commands import NOUNS, Entry

SOURCE = Path(__file__).parents[2] / "src"

# Each takes between 4 ms (tomllib) and 350 ms (sqlmodel) to import.
HEAVY = (
    "alembic",
    "asyncio",
    "bcrypt",
    "cryptography",
    "email_validator",
    "importlib.metadata",
    "logging",
    "pydantic",
    "redis",
    "rich",
    "sqlalchemy",
    "sqlmodel",
    "tomlkit",
    "tomllib",
)

# Writes the exit code of one run to the file in its first argument, and the modules that it loaded.
_PROGRAM = """
import sys
before = set(sys.modules)
report = sys.argv.pop(1)
from backctl.__main__ import main
code = main()
with open(report, "w") as file:
    file.write("\\n".join([str(code), *sorted(set(sys.modules) - before)]))
"""


class InstalledHome:
    """A home folder with an installation that contains one account."""

    def __init__(self, home: Path, **environment: str) -> None:
        self._home = home
        self._environment = {
            "HOME": str(home),
            "PYTHONPATH": str(SOURCE),
            "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
            **environment,
        }

    def write(self, name: str, text: str) -> None:
        """Write a file to the home folder, which is the working directory."""
        (self._home / name).touch(mode=0o600)
        (self._home / name).write_text(text)

    def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, set[str]]:
        """Run a command with pipes in a new interpreter. Return its exit code, its output and the modules it loaded."""
        report = self._home.parent / "report"
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(report), *arguments],
            input=stdin,
            capture_output=True,
            env=self._environment,
            cwd=self._home,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        code, *modules = report.read_text().split("\n")
        return int(code), (done.stdout + done.stderr).decode(errors="replace"), set(modules)

    @property
    def signing_kid(self) -> str:
        (keyring,) = self._home.rglob("keyring.json")
        keys = json.loads(keyring.read_text())["keys"]
        return next(str(key["kid"]) for key in keys if key["purpose"] == "sign")

    def python(self, program: str, *arguments: str) -> str:
        """Run a Python program. Return its output."""
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> InstalledHome:
    home = tmp_path_factory.mktemp("imports") / "home"
    home.mkdir()
    installed = InstalledHome(home)
    code, _, _ = installed.run("user", "create", "ada@example.org", "--username", "ada", "--no-password")
    assert code == 0
    return installed


def present(modules: set[str], names: tuple[str, ...]) -> set[str]:
    return modules & set(names)


def test_the_version_loads_nothing_but_itself(installed: InstalledHome) -> None:
    code, output, modules = installed.run("--version")
    assert (code, modules) == (0, {"backctl", "backctl.__main__"})
    assert re.fullmatch(r"backctl \d+\.\d+\.\d+\n", output)


_ANSWERS = {
    "account a": "ada\n",
    "account a --profile here --config here.toml": "ada\n",
    "role a --config here.toml": "auditor\n",
    "profile h --config here.toml": "here\n",
    "profile h": "",
    "account -": "",
}


@pytest.mark.parametrize(("question", "answer"), _ANSWERS.items())
def test_a_tab_loads_the_settings_and_sqlite_at_most(installed: InstalledHome, question: str, answer: str) -> None:
    searches = question.startswith("account a")  # only accounts are in the database, and none begins with a dash
    installed.write("here.toml", "[profiles.here]\ndatabase.url = 'default'\n\n[roles.auditor]\npermissions = []\n")
    code, output, modules = installed.run("__complete", *question.split())
    assert (code, output) == (0, answer)
    assert ("sqlite3" in modules) == searches
    assert not present(modules, (*(set(HEAVY) - {"tomllib"}), "dataclasses", "json", "typer", "subprocess"))
    layers = ("backctl.presentation", "backctl.backend", "backctl.wiring", "backctl.application")
    assert not present(modules, (*layers, "backctl.infrastructure.sqlite.installation"))


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(("--help",), 0), ((), 2), (("usr",), 2), (("--hlep",), 2), (("user", "--help"), 0), (("user", "lst"), 2)],
)
def test_help_and_typing_errors_open_nothing(
    installed: InstalledHome, arguments: tuple[str, ...], exit_code: int
) -> None:
    code, output, modules = installed.run(*arguments)
    assert code == exit_code
    assert output
    named = {NOUNS["user"].module} if arguments[:1] == ("user",) else set()
    assert {name for name in modules if name.startswith("backctl.presentation.commands.")} == named
    assert not present(
        modules, (*HEAVY, "sqlite3", "platformdirs", "backctl.backend", "backctl.wiring", "backctl.settings")
    )


READS = [
    "user list",
    "user list --all -o jsonl",
    "user list --sort email --search ada --active -o csv",
    "user show ada",
    "user show ada@example.org -o json",
    "user exists ada",
    "user count",
    "user history ada",
    "audit list",
    "audit verify",
    "db status",
    "token list ada",
]


# Libraries for databases and for signing.
_DATABASES = ("sqlite3", "_sqlite3", "sqlalchemy", "sqlmodel", "psycopg", "alembic", "pydantic")
TOKENS_ALONE = ["token verify --offline --token-file access", "token inspect --token-file access"]


def keep_a_token(installed: InstalledHome) -> None:
    code, output, _ = installed.run("token", "issue", "ada")
    assert code == 0
    installed.write("access", output)


@pytest.mark.parametrize("command", TOKENS_ALONE)
def test_a_token_is_read_and_verified_offline_without_a_database(installed: InstalledHome, command: str) -> None:
    keep_a_token(installed)
    code, output, modules = installed.run(*command.split())
    assert (code, "01" in output) == (0, True)
    assert not present(modules, (*_DATABASES, "jwt", "asyncio", "logging"))


def test_a_token_is_verified_by_the_driver_alone(installed: InstalledHome) -> None:
    keep_a_token(installed)
    code, output, modules = installed.run("token", "verify", "--token-file", "access")
    assert code == 0, output
    assert "sqlite3" in modules
    assert not present(modules, ("sqlalchemy", "sqlmodel", "pydantic", "psycopg", "jwt"))


def test_a_second_factor_is_looked_at_by_the_driver_alone_and_pictured_on_a_terminal_only(
    installed: InstalledHome,
) -> None:
    code, output, modules = installed.run("user", "mfa", "status", "ada")
    assert code == 0, output
    assert "sqlite3" in modules
    assert not present(modules, (*HEAVY, "psycopg", "segno", "cryptography", "bcrypt"))
    for command in ("user mfa enroll ada", "user check-password ada --password-file password"):
        installed.write("password", "correct horse battery")
        _, output, modules = installed.run(*command.split())
        assert ("otpauth://" in output) == ("cryptography" in modules) == ("enroll" in command)
        assert "segno" not in modules


@pytest.mark.parametrize("command", ["user list", "user show ada", "user list -o json"])
def test_looking_at_accounts_defines_nothing_of_other_subjects(installed: InstalledHome, command: str) -> None:
    _, _, modules = installed.run(*command.split())
    # A frozen dataclass takes half a millisecond to define, and each of these modules has dozens.
    others = ("backctl.domain.events", "backctl.domain.keyring", "backctl.domain.sessions", "backctl.domain.user")
    views = ("token_views", "database_views", "content_views", "key_views")
    assert not present(modules, (*others, *(f"backctl.application.{name}" for name in views)))


@pytest.mark.parametrize("command", [*READS, "db backup copy.db"])
def test_the_read_side_speaks_to_the_driver_alone(installed: InstalledHome, command: str) -> None:
    code, output, modules = installed.run(*command.split())
    assert code == 0, output
    assert "sqlite3" in modules
    assert not present(modules, (*HEAVY, "psycopg"))
    assert not {name for name in modules if name.startswith("backctl.presentation.commands.")} - {
        NOUNS[command.split(maxsplit=1)[0]].module
    }


@pytest.mark.parametrize(
    "command",
    [
        "role list",
        "role show admin",
        "config path",
        "profile list",
        "profile show",
        "help exit-codes",
        "key jwks",
        "key list",
        "key rotate",
    ],
)
def test_what_needs_no_database_loads_none(installed: InstalledHome, command: str) -> None:
    code, output, modules = installed.run(*command.split())
    assert code == 0, output
    assert not present(modules, (*HEAVY, "sqlite3", "_sqlite3"))


@pytest.mark.parametrize("command", ["check demo ada --rate 3/1m", "peek demo ada --rate 3/1m", "list", "policy list"])
def test_a_rate_limit_is_checked_by_the_driver_alone(installed: InstalledHome, command: str) -> None:
    code, output, modules = installed.run("ratelimit", *command.split())
    assert (code, bool(output)) == (0, True)
    assert not present(modules, ("backctl.domain.values", "backctl.domain.events", *HEAVY))


@pytest.mark.parametrize("command", ["check demo ada --rate 3/1m", "peek demo ada --rate 3/1m", "list"])
def test_a_rate_limit_on_redis_loads_no_client(
    tmp_path_factory: pytest.TempPathFactory, servers: Servers, command: str
) -> None:
    home = InstalledHome(tmp_path_factory.mktemp("home"), BACKCTL_REDIS_URL=servers.redis().url())
    code, output, modules = home.run("ratelimit", *command.split())
    assert code == 0, output
    clients = ("redis.client", "redis.cluster", "redis.sentinel", "redis.commands", "redis.asyncio")
    assert not present(modules, ("sqlalchemy", "sqlite3", *clients))


@pytest.mark.parametrize("command", ["sanitize", "sanitize --format json", "sanitize --format jsonl --explain"])
def test_cleaning_loads_no_database_and_html_is_parsed_only_where_there_may_be_some(
    installed: InstalledHome, command: str
) -> None:
    _, _, modules = installed.run(*command.split())
    assert "backctl.infrastructure.html" in modules
    assert not present(modules, (*HEAVY, "sqlite3", "_sqlite3", "nh3", "backctl.infrastructure.sqlite.installation"))


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("user create bob@example.org --username bob --no-password", 0),
        ("user deactivate ada --dry-run", 0),
        ("user deactivate nobody", 3),
    ],
)
def test_a_write_on_an_installation_loads_no_migrations(installed: InstalledHome, command: str, exit_code: int) -> None:
    code, output, modules = installed.run(*command.split())
    assert code == exit_code, output
    assert "sqlmodel" in modules
    assert not present(modules, ("alembic", "mako", "bcrypt", "cryptography", "psycopg", "rich", "tomllib", "tomlkit"))


@pytest.fixture(scope="module")
def installed_on_a_server(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[InstalledHome]:
    home = tmp_path_factory.mktemp("server") / "home"
    home.mkdir()
    server = servers.postgres(18)
    with server.database() as name:
        installed = InstalledHome(home, BACKCTL_DATABASE_URL=server.url(name))
        for command in ("init", "user create ada@example.org --username ada --no-password"):
            code, output, _ = installed.run(*command.split())
            assert code == 0, output
        yield installed


# Modules that psycopg itself loads.
_OF_PSYCOPG = ("asyncio", "importlib.metadata", "logging")


@pytest.mark.parametrize("command", READS)
def test_the_read_side_on_a_server_speaks_to_its_driver_alone(
    installed_on_a_server: InstalledHome, command: str
) -> None:
    code, output, modules = installed_on_a_server.run(*command.split())
    assert code == 0, output
    assert "psycopg" in modules
    assert not present(modules, ("sqlalchemy", *(name for name in HEAVY if name not in _OF_PSYCOPG)))


@pytest.mark.parametrize("command", TOKENS_ALONE)
def test_a_token_of_a_server_is_read_and_verified_offline_without_its_driver(
    installed_on_a_server: InstalledHome, command: str
) -> None:
    keep_a_token(installed_on_a_server)
    code, output, modules = installed_on_a_server.run(*command.split())
    assert code == 0, output
    assert not present(modules, (*_DATABASES, "jwt"))


def test_a_write_on_a_server_loads_no_migrations(installed_on_a_server: InstalledHome) -> None:
    code, output, modules = installed_on_a_server.run("user", "deactivate", "ada", "--dry-run")
    assert code == 0, output
    assert {"psycopg", "sqlmodel"} <= modules
    assert not present(modules, ("alembic", "mako", "bcrypt", "cryptography", "rich", "tomllib", "tomlkit"))


@pytest.mark.parametrize(
    "command", ["role list", "config path", "config show", "help exit-codes", "--help", "key jwks"]
)
def test_what_needs_no_database_loads_no_driver(installed_on_a_server: InstalledHome, command: str) -> None:
    code, output, modules = installed_on_a_server.run(*command.split())
    assert code == 0, output
    assert not present(modules, ("psycopg", "sqlalchemy"))


# All heavy libraries except the one that encrypts.
_BESIDE_CIPHERS = (
    "sqlite3",
    "_sqlite3",
    "psycopg",
    "redis",
    "jwt",
    *(name for name in HEAVY if name != "cryptography"),
)


@pytest.mark.parametrize("flags", [(), ("--lines",), ("--file", "-")])
def test_encryption_needs_no_database(installed: InstalledHome, flags: tuple[str, ...]) -> None:
    for verb, exit_code, stdin in (("encrypt", 0, b"secret"), ("decrypt", 7 if "--lines" in flags else 6, b"bk1.a.b")):
        code, output, modules = installed.run(verb, "--context", "c", *flags, stdin=stdin)
        assert code == exit_code, output
        assert not present(modules, _BESIDE_CIPHERS)
        assert ("cryptography" in modules) == (verb == "encrypt")
        if not flags:
            assert not present(modules, ("csv", "backctl.application.records.rewriting"))


def test_encryption_beside_a_server_asks_no_server(installed_on_a_server: InstalledHome) -> None:
    code, output, modules = installed_on_a_server.run("encrypt", "--context", "c", stdin=b"secret")
    assert code == 0, output
    assert not present(modules, _BESIDE_CIPHERS)


def test_a_refused_account_loads_no_database(installed: InstalledHome) -> None:
    for arguments in (("no-address", "--username", "bob"), ("b@example.org", "--username", "b")):
        code, _, modules = installed.run("user", "create", *arguments, "--no-password")
        assert code == 2
        assert not present(modules, ("sqlalchemy", "sqlmodel", "pydantic", "bcrypt", "sqlite3"))


# Inspects a token, then verifies it with the installation's own key. Prints what each of the two loaded.
_READING_TOKENS = """
import sys
from base64 import urlsafe_b64encode
from backctl import open_backend
from backctl.domain.errors import TokenInvalid
from backctl.domain.values import Instant

def token(kid):
    header = '{"alg":"EdDSA","kid":"%s","typ":"at+jwt"}' % kid
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header.encode(), b"{}", bytes(64)))

with open_backend() as backend:
    codec = backend._token_codec
    assert codec.inspect(token("any")).header["kid"] == "any"
    print(*sys.modules)
    try:
        codec.verify(token(sys.argv[1]), now=Instant(0))
    except TokenInvalid as error:
        print(*sys.modules)
        print(error)
"""


def test_reading_tokens_loads_no_database_and_no_issuer(installed: InstalledHome) -> None:
    looking, verifying, answer = installed.python(_READING_TOKENS, installed.signing_kid).splitlines()
    database = ("sqlite3", "_sqlite3", "psycopg", "sqlalchemy", "sqlmodel", "alembic")
    absent = {*database, *HEAVY, "jwt"} - {"cryptography"}
    assert not present({*looking.split()}, (*absent, "cryptography"))
    assert not present({*verifying.split()}, tuple(absent))
    assert "cryptography" in verifying.split()
    assert answer == "no key of this installation verifies the token"


def test_importing_the_package_for_a_service_is_cheap() -> None:
    program = "import sys; before = set(sys.modules); import backctl; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, check=True
    )
    assert done.stdout == "backctl\n"


# Layers. Import-linter checks which layers may import which.


def imported(module: Path) -> Iterator[str]:
    """Return every module that a file imports, at any place."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"), str(module))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield node.module or ""


def test_the_domain_reads_no_clock_no_file_and_no_chance() -> None:
    outside = {"os", "time", "random", "secrets", "pathlib", "socket", "subprocess", "sqlite3", "io", "tempfile"}
    for file in sorted((SOURCE / "backctl" / "domain").rglob("*.py")):
        assert not {name.partition(".")[0] for name in imported(file)} & outside, file.name


# The table of commands.


@pytest.mark.parametrize("entry", [entry for _, entry in entries() if entry.verb], ids=lambda entry: entry.module)
def test_the_help_of_a_verb_in_the_table_is_that_of_its_command(entry: Entry) -> None:
    (leaf,) = importlib.import_module(entry.module).app.leaves.values()
    own = (inspect.getdoc(leaf.function) or "").partition("\n")[0]
    assert entry.help == own

"""The benchmark cases: what is measured, what it is compared with, and the target of each ratio."""

import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from itertools import islice
from pathlib import Path
from statistics import median

from backctl.application.views import UserView
from backctl.domain.repositories import BY_CREATION, EVERY_USER, PAGE_SIZE, Cursor
from benchmarks import cache, encryption, exporting, importing, limits, seed_files, write_behind
from benchmarks.measure import Command, Output, Run, Timing, interleaved
from benchmarks.report import Comparison, Figure, section
from benchmarks.sandbox import CHECKOUT, DJANGO, Installation, Sandbox
from benchmarks.seeding import Account, accounts

MILLION = 1_000_000
DEEP = 10_000
"""This page must take about as long as the first."""

MEMORY_BOUND = 120_000_000

_MEMBERS = tuple(field.name for field in fields(UserView))
_SQL_PEERS = Path(__file__).resolve().parent / "sql_peers"
_SHOWN = Account(7)
_PASS = "python -c pass"
# What bash runs at a TAB: $0 is the program, $1 the word before the cursor, $2 the folder of the script.
_TAB = """
. "$2/backctl.bash"
COMP_WORDS=("$0" user show "$1") COMP_CWORD=3 COMP_LINE="$0 user show $1"
_backctl "$0" "$1" show
printf '%s\\n' "${COMPREPLY[@]}"
"""

CHAINED, PLAIN = "with the chain", "without"
"""The names of the two kinds of change that `benchmarks.chain` measures."""

Case = Callable[[Sandbox, int], str]
"""Takes a sandbox and a number of rounds. Returns a section of the report."""


def starting(sandbox: Sandbox, rounds: int) -> str:
    """The version, the root help and commands without a database, compared with a bare interpreter."""
    environment = sandbox.environment("empty")
    backctl = sandbox.backctl
    commands = [
        _bare(environment),
        Command("--version", (*backctl, "--version"), environment, _says(b"backctl ")),
        Command("--help", (*backctl, "--help"), environment, _says(b"Usage: ", b"doctor")),
        Command("help exit-codes", (*backctl, "help", "exit-codes"), environment, _says(b"130")),
        Command("config path", (*backctl, "config", "path"), environment, _says(b"config.toml")),
    ]
    comparisons = [
        Comparison("--version", _PASS, 1.5),
        Comparison("--help", _PASS, 7),
        Comparison("help exit-codes", _PASS, 7),
        Comparison("config path", _PASS, 7),
    ]
    if Path(sys.prefix).parent == CHECKOUT:  # elsewhere, ./run would first set up its own environment
        run = str(CHECKOUT / "run")
        commands.append(Command("./run … --version", (run, "backctl", "--version"), environment, _says(b"backctl ")))
        comparisons.append(Comparison("./run … --version", _PASS))
    return section("Starting", interleaved(commands, rounds), comparisons, ())


def completing(sandbox: Sandbox, rounds: int) -> str:
    """The wait after a TAB with 100,000 accounts: for the program, and for a complete completion in bash."""
    ours = sandbox.installation("completing", 100_000)
    file = sandbox.root / "profiles.toml"
    file.touch(mode=0o600)
    file.write_text(
        f'[profiles.here]\ndatabase.url = "sqlite:///{ours.database}"\n\n[roles.auditor]\npermissions = []\n'
    )
    ident = _SHOWN.username
    question = (*sandbox.backctl, "__complete", "account", ident)
    right = _says(f"{ident}\n".encode())
    asked, configured = "__complete", "with a configuration"
    commands = [
        _bare(ours.environment),
        Command(asked, question, ours.environment, right),
        Command(configured, (*question, "--profile", "here", "--config", str(file)), ours.environment, right),
        Command("roles", (*question[:-2], "role", "a", "--config", str(file)), ours.environment, _says(b"auditor")),
    ]
    comparisons = [Comparison(name, _PASS, 5) for name in (asked, configured, "roles")]
    bash = shutil.which("bash")
    if bash is not None and len(sandbox.backctl) == 1:
        tab = (bash, "--noprofile", "--norc", "-c", _TAB, *sandbox.backctl, ident, str(CHECKOUT / "completions"))
        commands.append(Command("TAB in bash", tab, ours.environment, right))
        comparisons.append(Comparison("TAB in bash", _PASS, 5.5))
    return section("Completion, 100,000 accounts", interleaved(commands, rounds), comparisons, ())


def show(sandbox: Sandbox, rounds: int) -> str:
    """One account of 50, as JSON."""
    ours, django = sandbox.installation("fifty", 50), sandbox.django(50)
    ident = _SHOWN.username
    commands = [
        _bare(ours.environment),
        Command(
            "user show", (*sandbox.backctl, "user", "show", ident, "-o", "json"), ours.environment, _is_shown_account
        ),
        Command("Django", _django("show_user", ident), django.environment, _is_shown_account),
        *_sql_peers(ours, "show", ident, check=_is_shown_account),
    ]
    return section("user show", interleaved(commands, rounds), _against_django("user show"), ())


def listing(sandbox: Sandbox, rounds: int) -> str:
    """50 accounts, as JSON and as TSV, the default in a pipe."""
    ours, django = sandbox.installation("fifty", 50), sandbox.django(50)
    right = _is_page(range(50))
    right_rows = _is_tsv(50)
    commands = [
        _bare(ours.environment),
        Command("user list", (*sandbox.backctl, "user", "list"), ours.environment, right_rows),
        Command("user list -o json", (*sandbox.backctl, "user", "list", "-o", "json"), ours.environment, right),
        Command("Django, tsv", _django("list_users", "--tsv"), django.environment, right_rows),
        Command("Django", _django("list_users"), django.environment, right),
        *_sql_peers(ours, "list", check=right),
    ]
    comparisons = [Comparison("user list", "Django, tsv", 0.5), *_against_django("user list -o json")]
    return section("user list, 50 accounts", interleaved(commands, rounds), comparisons, ())


def creating(sandbox: Sandbox, rounds: int) -> str:
    """A new account with a bcrypt hash of cost 12, in an existing installation."""
    ours, django = sandbox.installation("creating", 50), sandbox.django(50)
    password = "brown foxes jump over lazy dogs"
    password_file = sandbox.root / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n")
    create = ("user", "create", "new{turn}@example.org", "--username", "new{turn}", "-o", "json")
    superuser = ("--noinput", "--username", "new{turn}", "--email", "new{turn}@example.org")
    commands = [
        Command(
            "user create",
            (*sandbox.backctl, *create, "--password-file", str(password_file)),
            ours.environment,
            _says(b'"has_password": true', b'"changed": true'),
        ),
        Command(
            "Django createsuperuser",
            _django("createsuperuser", *superuser),
            django.environment | {"DJANGO_SUPERUSER_PASSWORD": password},
            _says(b"created successfully"),
        ),
        Command(
            "bcrypt alone",
            (sys.executable, "-c", f"import bcrypt; bcrypt.hashpw({password.encode()!r}, bcrypt.gensalt(12))"),
            ours.environment,
        ),
    ]
    timings = interleaved(commands, max(3, rounds // 2))
    comparisons = [
        Comparison("user create", "Django createsuperuser", 0.8),
        Comparison("user create", "bcrypt alone"),
    ]
    return section("user create, bcrypt cost 12", timings, comparisons, ())


def login(sandbox: Sandbox, rounds: int) -> str:
    """Refused passwords. The time must not reveal whether an account exists, or how its password is hashed.

    Every turn uses a different account, because ten failures would lock it.
    """
    password_file = sandbox.root / "password"
    password_file.touch(mode=0o600)
    password_file.write_text("a wrong password\n")
    ours = sandbox.installation("bcrypt", rounds + 1)
    check = (*sandbox.backctl, "user", "check-password", "-o", "json", "--password-file", str(password_file))
    refused = _says(b'"outcome": "refused"')
    commands = [
        Command(_UNKNOWN, (*check, "nobody{turn}"), ours.environment, refused, exit_code=6),
        Command("wrong", (*check, "person{turn}"), ours.environment, refused, exit_code=6),
    ]
    for name, encoded in _FOREIGN.items():
        theirs = sandbox.installation(name, rounds + 1)
        with closing(sqlite3.connect(theirs.database)) as connection, connection:
            connection.execute("UPDATE users SET password_hash = ?", (encoded,))
        commands.append(Command(f"wrong, {name}", (*check, "person{turn}"), theirs.environment, refused, exit_code=6))
    timings = interleaved(commands, rounds)
    comparisons = [Comparison(command.name, _UNKNOWN, 1.1) for command in commands[1:]]
    return section("user check-password, refused, bcrypt cost 12", timings, comparisons, _work_of_refusals(rounds))


def _work_of_refusals(rounds: int) -> list[Figure]:
    """Measure the processor time of the hashing alone, which does not depend on other load."""
    from backctl.domain.values import PasswordHash, Secret
    from backctl.infrastructure.crypto.password_hasher import BcryptHasher

    hasher, wrong = BcryptHasher(12), Secret("a wrong password")
    stored = {_UNKNOWN: None} | {name: PasswordHash(encoded) for name, encoded in _FOREIGN.items()}
    spent: dict[str, list[int]] = {name: [] for name in stored}
    for _ in range(rounds + 1):
        for name, encoded in stored.items():
            begun = time.thread_time_ns()
            hasher.verify(wrong, encoded)
            spent[name].append(time.thread_time_ns() - begun)
    medians = {name: median(runs[1:]) for name, runs in spent.items()}  # the first run loads the libraries
    ratios = {name: medians[name] / medians[_UNKNOWN] for name in _FOREIGN}
    return [
        Figure(
            f"wrong, {name} / {_UNKNOWN}: processor time of the hashes",
            f"{ratio:.3f}",
            "0.9 to 1.1",
            0.9 <= ratio <= 1.1,
        )
        for name, ratio in ratios.items()
    ]


def million(sandbox: Sandbox, rounds: int) -> str:
    """Pages at both ends of a million accounts, and all accounts at once."""
    ours = sandbox.installation("million", MILLION)
    pages = interleaved(_first_and_deep_page(sandbox, ours.environment), rounds)
    everything = "--all -o jsonl"
    whole = interleaved(
        [
            Command(
                everything, (*sandbox.backctl, "user", "list", *everything.split()), ours.environment, _is_everything
            ),
            *_sql_peers(ours, "all", check=_is_everything, only=("stdlib_sqlite3",)),
        ],
        max(1, rounds // 10),
    )
    deep = section(
        f"user list, {MILLION:,} accounts: one page by cursor", pages, [Comparison(_DEEP_PAGE, _FIRST_PAGE, 1.1)], ()
    )
    return (
        deep
        + "\n"
        + section(
            f"user list, {MILLION:,} accounts: all of them",
            whole,
            [Comparison(everything, "stdlib_sqlite3")],
            [_memory(everything, whole), _rate(everything, whole), _rate("stdlib_sqlite3", whole)],
        )
    )


def postgres(sandbox: Sandbox, rounds: int) -> str:
    """50 accounts on PostgreSQL, compared with Django on the same server, and a deep page of a million."""
    server = sandbox.server()
    ours, django = sandbox.installation_on(server, "fifty-on-server", 50), sandbox.django_on(server, 50)
    right, right_rows = _is_page(range(50)), _is_tsv(50)
    listing = (*sandbox.backctl, "user", "list")
    commands = [
        _bare(ours),
        Command("user list", listing, ours, right_rows),
        Command("user list -o json", (*listing, "-o", "json"), ours, right),
        Command("Django, tsv", _django("list_users", "--tsv"), django, right_rows),
        Command("Django", _django("list_users"), django, right),
        Command("import psycopg", (sys.executable, "-c", "import psycopg"), ours),
    ]
    comparisons = [
        Comparison("user list", "Django, tsv", 0.6),
        Comparison("user list -o json", "Django", 0.6),
        Comparison("user list", "import psycopg"),
        Comparison("user list", _PASS),
    ]
    fifty = section("user list, 50 accounts on PostgreSQL", interleaved(commands, rounds), comparisons, ())
    many = sandbox.installation_on(server, "million-on-server", MILLION)
    pages = interleaved(_first_and_deep_page(sandbox, many), rounds)
    deep = section(
        f"user list, {MILLION:,} accounts on PostgreSQL: one page by cursor",
        pages,
        [Comparison(_DEEP_PAGE, _FIRST_PAGE, 1.5)],
        (),
    )
    return f"{fifty}\n{deep}"


def chain(sandbox: Sandbox, rounds: int) -> str:
    """One change of an account in a running process, with the chained event log and with the same rows unchained."""
    server = sandbox.server()
    places = {
        "on the disk": sandbox.installation("chained", 50).environment,
        "on PostgreSQL": sandbox.installation_on(server, "chained-on-server", 50),
    }
    sections = []
    for place, environment in places.items():
        program = (sys.executable, "-m", "benchmarks.chain", str(rounds * 10))
        output = Command("chain", program, environment | {"PYTHONPATH": str(CHECKOUT)}).run(0).output
        timings = {
            name: Timing(tuple(Run(taken, 0, output) for taken in seconds))
            for name, seconds in json.loads(output.head).items()
        }
        comparison = Comparison(CHAINED, PLAIN, 1.25)
        sections.append(section(f"one change of an account {place}", timings, [comparison], (), what="change"))
    return "\n".join(sections)


def verifying_once(sandbox: Sandbox, rounds: int) -> str:
    """One access token, verified by a process: by its signature alone, and with the database."""
    ours, django = sandbox.installation("verifying", 50), sandbox.django(50)
    issued = Command("issue", (*sandbox.backctl, "token", "issue", _SHOWN.username), ours.environment).run(0)
    token, keys = sandbox.root / "token", sandbox.root / "jwks.json"
    token.write_bytes(issued.output.head)
    ring = json.loads((ours.database.parent / "keyring.json").read_bytes())["keys"]
    public = [{name: key[name] for name in ("kty", "crv", "x", "kid", "alg")} for key in ring if key["kty"] == "OKP"]
    keys.write_text(json.dumps({"keys": public}))
    right = _says(b"advanced-backend", b"api-users")
    verify = (*sandbox.backctl, "token", "verify", "-o", "json", "--token-file", str(token))
    offline, asking = "token verify --offline", "token verify"
    commands = [
        _bare(ours.environment),
        Command(offline, (*verify, "--offline"), ours.environment, right),
        Command(asking, verify, ours.environment, right),
        Command("Django", _django("verify_token", str(token), str(keys)), django.environment, right),
    ]
    comparisons = [Comparison(offline, "Django", 0.6), Comparison(asking, "Django"), Comparison(offline, _PASS)]
    return section("token verify", interleaved(commands, rounds), comparisons, ())


def verifying(sandbox: Sandbox, rounds: int) -> str:
    """Access tokens within one process, compared with PyJWT. Runs late, because its libraries enlarge this process."""
    from benchmarks.tokens import beside_pyjwt

    return beside_pyjwt(rounds)


CASES: Mapping[str, Case] = {
    "start": starting,
    "complete": completing,
    "show": show,
    "list": listing,
    "create": creating,
    "login": login,
    "million": million,
    "export": exporting.exporting,
    "import": importing.importing,
    "seed": seed_files.applying,
    "postgres": postgres,
    "chain": chain,
    "verify": verifying_once,
    "tokens": verifying,
    "values": encryption.values,
    "lines": encryption.lines,
    "files": encryption.files,
    "limits": limits.checking,
    "limit": limits.once,
    "cache": cache.reading,
    "invalidate": cache.invalidating,
    "queue": write_behind.queueing,
    "behind": write_behind.writing,
}


# Shared parts.


_UNKNOWN = "unknown"
# In the format of Django 4.2 and with OWASP’s minimum parameters, which need less work than bcrypt of cost 12. No
# matching password is known.
_FOREIGN = {
    "PBKDF2": f"pbkdf2_sha256$600000${'a' * 22}${'A' * 43}=",
    "argon2id": f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'A' * 43}",
}
_FIRST_PAGE, _DEEP_PAGE = "page 1", f"page {DEEP:,}"


def _first_and_deep_page(sandbox: Sandbox, environment: dict[str, str]) -> list[Command]:
    listing = (*sandbox.backctl, "user", "list", "-o", "json")
    last = Account((DEEP - 1) * PAGE_SIZE - 1)
    cursor = Cursor(str(BY_CREATION), (last.created_at, last.id)).encode(EVERY_USER)
    rest = range(last.number + 1, last.number + 1 + PAGE_SIZE)
    return [
        Command(_FIRST_PAGE, listing, environment, _is_page(range(PAGE_SIZE))),
        Command(_DEEP_PAGE, (*listing, "--cursor", cursor), environment, _is_page(rest)),
    ]


def _bare(environment: dict[str, str]) -> Command:
    return Command(_PASS, (sys.executable, "-c", "pass"), environment)


def _django(*words: str) -> tuple[str, ...]:
    """Return a Django command without system checks, which is its fastest way to run."""
    return (*DJANGO, words[0], "--skip-checks", *words[1:])


def _against_django(subject: str) -> list[Comparison]:
    return [
        Comparison(subject, "Django", 0.5),
        Comparison(subject, "stdlib_sqlite3"),
        Comparison(subject, "sqlalchemy_core"),
        Comparison(subject, "sqlmodel_session"),
        Comparison(subject, _PASS),
    ]


def _sql_peers(
    ours: Installation,
    *words: str,
    check: Callable[[Output], bool],
    only: Sequence[str] = ("stdlib_sqlite3", "sqlalchemy_core", "sqlmodel_session"),
) -> list[Command]:
    return [
        Command(
            name, (sys.executable, str(_SQL_PEERS / f"{name}.py"), str(ours.database), *words), ours.environment, check
        )
        for name in only
    ]


def _memory(name: str, timings: Mapping[str, Timing]) -> Figure:
    peak = timings[name].peak_rss
    return Figure(f"{name}: peak memory, MB", f"{peak / 1e6:.0f}", f"< {MEMORY_BOUND / 1e6:.0f}", peak < MEMORY_BOUND)


def _rate(name: str, timings: Mapping[str, Timing]) -> Figure:
    return Figure(f"{name}: accounts per second", f"{MILLION / timings[name].median:,.0f}")


# Checks of the output.


def _says(*texts: bytes) -> Callable[[Output], bool]:
    return lambda output: all(text in output.head for text in texts)


def _is_shown_account(output: Output) -> bool:
    return _is_account(json.loads(output.head), _SHOWN)


def _is_page(numbers: range) -> Callable[[Output], bool]:
    def check(output: Output) -> bool:
        items = json.loads(output.head)["items"]
        return len(items) == len(numbers) and all(map(_is_account, items, map(Account, numbers)))

    return check


def _is_tsv(count: int) -> Callable[[Output], bool]:
    def check(output: Output) -> bool:
        header, *rows = output.head.decode().splitlines()
        emails = [row.split("\t")[1] for row in rows]
        return tuple(header.split("\t")) == _MEMBERS and emails == [account.email for account in accounts(count)]

    return check


def _is_everything(output: Output) -> bool:
    """Count all lines, and check the first thousand."""
    lines = output.head.split(b"\n", 1000)[:-1]
    return output.lines == MILLION and all(map(_is_account, map(json.loads, lines), islice(accounts(MILLION), 1000)))


def _is_account(item: Mapping[str, object], account: Account) -> bool:
    return (
        tuple(item) == _MEMBERS
        and (item["email"], item["username"], item["role"]) == (account.email, account.username, account.role)
        and item["created_at"] == account.created
    )

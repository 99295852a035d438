"""The import of accounts, compared with Django: its `loaddata`, and a command that calls `bulk_create`.

Django's commands write rows and nothing else. backctl validates every account, hashes passwords, and records each
account in its chained event log.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.measure import Broken, Command, Output, Timing, interleaved
from benchmarks.report import Comparison, Figure, section
from benchmarks.sandbox import DJANGO, Installation, Sandbox
from benchmarks.seeding import HASH, Account, accounts

if TYPE_CHECKING:
    from tests.servers import PostgresServer

MEMORY_BOUND = 200_000_000
_COUNT = 100_000
_FEW, _MANY = 50_000, 200_000
"""How many accounts the memory is measured with, and how many with `--long`."""
_PASSWORDS = 100
_COST = 12

_OURS, _LOADDATA, _BULK_CREATE = "user import", "Django loaddata", "Django bulk_create"

# Hashes the passwords of a file in threads. bcrypt releases the interpreter's lock.
_THREADS = """
import json, sys, bcrypt
from concurrent.futures import ThreadPoolExecutor
path, threads, cost = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path) as lines, ThreadPoolExecutor(threads) as executor:
    passwords = [json.loads(line)["password"].encode() for line in lines]
    hashes = executor.map(lambda password: bcrypt.hashpw(password, bcrypt.gensalt(cost)), passwords)
    print(len(set(hashes)))
"""


def importing(sandbox: Sandbox, rounds: int) -> str:
    """Accounts with existing hashes on SQLite and on PostgreSQL, passwords that must be hashed, and the memory."""
    rounds = max(1, rounds // 10)
    on_disk = sandbox.installation("imported", 0)
    return "\n".join(
        (
            _existing_hashes(sandbox, on_disk, rounds),
            _existing_hashes_on_server(sandbox, rounds),
            _plain_passwords(sandbox, on_disk, rounds),
            _memory(sandbox, on_disk),
        )
    )


def _existing_hashes(sandbox: Sandbox, ours: Installation, rounds: int) -> str:
    django = sandbox.django(0)
    return _beside_django(
        sandbox,
        rounds,
        place="SQLite",
        ours=ours.environment,
        django=django.environment,
        empty_ours=restoring(ours.database),
        empty_django=restoring(django.database),
    )


def _existing_hashes_on_server(sandbox: Sandbox, rounds: int) -> str:
    server = sandbox.server(durable=True)
    ours, django = sandbox.installation_on(server, "imported-on-server", 0), sandbox.django_on(server, 0)
    return _beside_django(
        sandbox,
        rounds,
        place="PostgreSQL",
        ours=ours,
        django=django,
        empty_ours=_restoring_on(server, ours["BACKCTL_DATABASE_URL"]),
        empty_django=_restoring_on(server, django["DJANGO_PEER_DATABASE"]),
    )


def _beside_django(
    sandbox: Sandbox,
    rounds: int,
    *,
    place: str,
    ours: dict[str, str],
    django: dict[str, str],
    empty_ours: Callable[[], None],
    empty_django: Callable[[], None],
) -> str:
    lines, fixture = _lines(sandbox, _COUNT), _fixture(sandbox, _COUNT)
    commands = [
        Command(_OURS, _import(sandbox, lines), ours, _created(_COUNT), before=empty_ours),
        Command(
            _BULK_CREATE,
            (*DJANGO, "import_users", "--skip-checks", str(lines)),
            django,
            lambda output: output.head == b"%d\n" % _COUNT,
            before=empty_django,
        ),
    ]
    loaddata = Command(
        _LOADDATA,
        (*DJANGO, "loaddata", "--skip-checks", str(fixture)),
        django,
        lambda output: output.head == b"Installed %d object(s) from 1 fixture(s)\n" % _COUNT,
        before=empty_django,
    )
    timings = interleaved(commands, rounds)
    _check_events(sandbox, ours, _COUNT)
    timings[_LOADDATA] = Timing((loaddata.run(0),))  # only once, because it takes minutes
    # At least 3 times the rate of loaddata, and half that of bulk_create.
    comparisons = [Comparison(_OURS, _LOADDATA, 0.33), Comparison(_OURS, _BULK_CREATE, 2)]
    figures = [
        Figure(f"{name}: accounts per second", f"{_COUNT / timing.median:,.0f}") for name, timing in timings.items()
    ]
    figures.append(_peak(_COUNT, timings[_OURS].peak_rss))
    return section(f"user import, {_COUNT:,} accounts with existing hashes on {place}", timings, comparisons, figures)


def _plain_passwords(sandbox: Sandbox, ours: Installation, rounds: int) -> str:
    """Compare with threads on all processors that only hash the passwords."""
    source = _passwords(sandbox, _PASSWORDS)
    threads = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    environment = ours.environment | {"BACKCTL_PASSWORDS_BCRYPT_COST": str(_COST)}
    peer = f"bcrypt in {threads} threads"
    commands = [
        Command(_OURS, _import(sandbox, source), environment, _created(_PASSWORDS), before=restoring(ours.database)),
        Command(
            peer,
            (sys.executable, "-c", _THREADS, str(source), str(threads), str(_COST)),
            environment,
            lambda output: output.head == b"%d\n" % _PASSWORDS,
        ),
    ]
    timings = interleaved(commands, rounds)
    title = f"user import, {_PASSWORDS} plain passwords, bcrypt cost {_COST}"
    comparisons = [Comparison(_OURS, peer, 1.11)]  # at least 0.9 times the rate of the threads
    return section(title, timings, comparisons, ())


def _memory(sandbox: Sandbox, ours: Installation) -> str:
    count = _MANY if sandbox.long else _FEW
    source = _lines(sandbox, count)
    command = Command(
        _OURS, _import(sandbox, source), ours.environment, _created(count), before=restoring(ours.database)
    )
    timings = interleaved([command], 1)
    return section(f"user import, {count:,} accounts: memory", timings, (), [_peak(count, timings[_OURS].peak_rss)])


def _import(sandbox: Sandbox, source: Path) -> tuple[str, ...]:
    return (*sandbox.backctl, "user", "import", str(source), "-o", "json")


def _peak(count: int, peak: int) -> Figure:
    name = f"{_OURS}, {count:,} accounts: peak memory, MB"
    return Figure(name, f"{peak / 1e6:.0f}", f"< {MEMORY_BOUND / 1e6:.0f}", peak < MEMORY_BOUND)


# Checks.


def _created(count: int) -> Callable[[Output], bool]:
    def check(output: Output) -> bool:
        report = json.loads(output.head)
        return (report["total"], report["created"], report["failed"]) == (count, count, 0)

    return check


def _check_events(sandbox: Sandbox, environment: dict[str, str], accounts: int) -> None:
    """Check that the event chain of the last import is intact and has an event for each account."""
    verify = Command("audit verify", (*sandbox.backctl, "audit", "verify", "-o", "json"), environment)
    report = json.loads(verify.run(0).output.head)
    if not report["ok"] or report["events"] < accounts:
        raise Broken(f"audit verify: {report}")


# Empty databases. Every run of a command starts with one.


def restoring(database: Path) -> Callable[[], None]:
    """Return a function that restores the present content of an SQLite file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = database.read_bytes()

    def restore() -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        database.touch(mode=0o600)
        database.write_bytes(content)
        os.sync()  # otherwise the next command would wait for the writes of the last one

    return restore


def _restoring_on(server: "PostgresServer", url: str) -> Callable[[], None]:
    """Return a function that restores the present content of a database on the server."""
    name = urlsplit(url).path.removeprefix("/")
    template = server.create_database(template=name)

    def restore() -> None:
        server.restore_database(name, template)
        os.sync()

    return restore


# The files. Each is written once.


def _lines(sandbox: Sandbox, count: int) -> Path:
    """Return a file of JSON lines as `user export --include-hashes` writes them."""
    return _written(sandbox.root / f"accounts-{count}.jsonl", partial(_records, count))


def _records(count: int) -> Iterator[str]:
    for account in accounts(count):
        record = _names(account) | {
            "is_active": True,
            "expires_at": None,
            "must_change_password": False,
            "last_login_at": None,
            "created_at": account.created,
            "updated_at": account.created,
            "version": 1,
            "password_hash": HASH,
            "password_imported": False,
        }
        yield json.dumps(record, separators=(",", ":")) + "\n"


def _names(account: Account) -> dict[str, object]:
    return {"id": account.id, "email": account.email, "username": account.username, "role": account.role}


def _passwords(sandbox: Sandbox, count: int) -> Path:
    """Return a file of JSON lines with a plain password for each account."""
    return _written(
        sandbox.root / "passwords.jsonl",
        lambda: (
            json.dumps(_names(account) | {"password": f"brown foxes jump over {account.number} dogs"}) + "\n"
            for account in accounts(count)
        ),
    )


def _fixture(sandbox: Sandbox, count: int) -> Path:
    """Return a fixture with the same accounts as `manage.py dumpdata auth.User` writes it."""
    return _written(sandbox.root / f"accounts-{count}.json", partial(_objects, count))


def _objects(count: int) -> Iterator[str]:
    for account in accounts(count):
        fields: dict[str, object] = {
            "password": f"bcrypt${HASH}",
            "last_login": None,
            "is_superuser": account.role == "admin",
            "username": account.username,
            "first_name": "",
            "last_name": "",
            "email": account.email,
            "is_staff": account.role != "user",
            "is_active": True,
            "date_joined": account.created,
            "groups": [],
            "user_permissions": [],
        }
        opening = "[" if account.number == 0 else ""
        closing = "]" if account.number == count - 1 else ","
        yield opening + json.dumps({"model": "auth.user", "pk": account.number + 1, "fields": fields}) + closing + "\n"


def _written(file: Path, lines: Callable[[], Iterator[str]]) -> Path:
    if not file.exists():
        with file.open("x") as target:
            target.writelines(lines())
    return file

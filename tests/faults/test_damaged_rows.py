"""Rows with impossible values, which another program has put there: exit code 9 with table and id, never a crash."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import fresh, python
from tests.cli.machines import Machine

_RUN_ALL = """
import io, json, os, sys
from backctl.presentation.app import run

results = []
for words in json.load(sys.stdin):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        feeding, fed = os.pipe()
        os.write(fed, b"correct horse battery")
        os.close(fed)
        os.dup2(feeding, 0)
        os._exit(run([*words, "-o", "json"]))
    os.close(writing)
    with open(reading) as pipe:
        told = pipe.read()
    results.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told])
print(json.dumps(results))
"""
OTHERS = [
    ["user", "show", "bob"],
    ["user", "check-password", "bob", "--password-stdin"],
    ["token", "issue", "bob"],
    ["user", "update", "bob", "--email", "rob@example.org", "--dry-run"],
    ["user", "create", "new@example.org", "--username", "new", "--no-password", "--dry-run"],
]
"""What must still work when the row of another account is damaged."""
COMMANDS = [
    ["user", "list", "--all"],
    ["user", "export"],
    ["user", "export", "--include-hashes", "--include-mfa", "--yes"],
    ["user", "show", "ada"],
    ["user", "update", "ada", "--role", "user", "--dry-run"],
    ["user", "check-password", "ada", "--password-stdin"],
    ["user", "set-password", "ada", "--generate-password", "--dry-run"],
    ["user", "mfa", "status", "ada"],
    ["user", "mfa", "recovery-codes", "ada", "--dry-run"],
    ["user", "history", "ada"],
    ["token", "issue", "ada"],
    ["token", "list", "ada"],
    ["token", "revoke", "--user", "ada", "--yes", "--dry-run"],
    ["token", "revoke", "--all", "--yes", "--dry-run"],
    ["token", "gc"],
    ["audit", "list", "--all"],
    ["audit", "list", "--subject", "old", "--by", "root", "--reason-contains", "x", "--outcome", "success"],
    ["audit", "show", "1"],
    ["audit", "verify"],
    ["db", "status"],
    ["doctor"],
    ["plan", "seed.yaml", "--prune=delete"],
    ["apply", "seed.yaml", "--prune", "--yes", "--dry-run"],
]
VALUES = ["x'ff00'", "'zzz'", "9223372036854775807", "'------------------------------------'"]
ROWS_OF_ACCOUNTS = (
    "users",
    "sessions",
    "refresh_tokens",
    "mfa_secrets",
    "recovery_codes",
    "login_failures",
    "seeded_accounts",
    "seen_accounts",
    "seen_sessions",
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """An installation with a row in every table."""
    machine = fresh(tmp_path_factory.mktemp("damaged"))
    for name, role in (("ada", "user"), ("bob", "user"), ("eve", "admin")):
        create = ("user", "create", f"{name}@example.org", "--username", name, "--role", role, "--password-stdin")
        machine.run(*create, stdin="correct horse battery").succeeded()
    machine.run("user", "check-password", "ada", "--password-stdin", stdin="wrong horse battery")
    machine.run("user", "mfa", "enroll", "ada").succeeded()
    machine.run("user", "create", "old@example.org", "--username", "old", "--no-password").succeeded()
    machine.run("user", "delete", "old", "--confirm", "old").succeeded()
    machine.run("token", "revoke", "--all", "--yes").succeeded()
    machine.run("token", "issue", "ada", "--pair").succeeded()
    token = machine.run("token", "issue", "ada").succeeded().out
    machine.run("token", "revoke", "--token-stdin", stdin=token).succeeded()
    with closing(sqlite3.connect(machine.data / "backctl.db")) as database:
        database.execute("INSERT INTO seeded_accounts SELECT id, 'ci' FROM users WHERE username = 'ada'")
        database.execute("INSERT INTO seen_accounts SELECT id, created_at FROM users WHERE username = 'ada'")
        database.execute("INSERT INTO seen_sessions SELECT id, created_at FROM sessions")
        database.execute("INSERT INTO written_updates VALUES ('q', 'last_seen', x'00', 1, 1)")
        database.execute("INSERT INTO written_queues VALUES ('q', 1)")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (machine.home / "seed.yaml").write_text(
        "version: 1\nname: ci\nusers: [{email: ada@example.org, role: moderator}, {email: eve@example.org}]\n"
    )
    return machine


@pytest.fixture
def machine(prepared: Machine) -> Iterator[Machine]:
    content = (prepared.data / "backctl.db").read_bytes()
    yield prepared
    for suffix in ("-wal", "-shm"):
        Path(f"{prepared.data}/backctl.db{suffix}").unlink(missing_ok=True)
    (prepared.data / "backctl.db").write_bytes(content)


def columns() -> list[tuple[str, str]]:
    from backctl.infrastructure.sql.tables import Row

    tables = [table for table in Row.metadata.sorted_tables if table.name not in ("installation", "audit_keys")]
    return [(table.name, column.name) for table in tables for column in table.columns if column.computed is None]


def put(machine: Machine, table: str, column: str, value: str) -> bool:
    """Put a value into the oldest row of a table, whatever its rules. Return whether it stays as it is."""
    with closing(sqlite3.connect(machine.data / "backctl.db")) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("PRAGMA foreign_keys = OFF")
        try:
            database.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT min(rowid) FROM {table})")
        except sqlite3.IntegrityError:  # a rowid takes only integers
            return False
        database.commit()
    return True


def damages() -> Iterator[Any]:
    """Yield each column with one of the values in turn, and for long runs with the others."""
    for number, (table, column) in enumerate(columns()):
        turned = VALUES[number % len(VALUES) :] + VALUES[: number % len(VALUES)]
        yield pytest.param(table, column, turned[:1], id=f"{table}-{column}")
        yield pytest.param(table, column, turned[1:], id=f"{table}-{column}-others", marks=pytest.mark.long)


@pytest.mark.parametrize(("table", "column", "values"), list(damages()))
def test_no_value_of_a_row_is_a_bug_and_others_stay_usable(
    machine: Machine, table: str, column: str, values: list[str]
) -> None:
    before = (machine.data / "backctl.db").read_bytes()
    for value in values:
        (machine.data / "backctl.db").write_bytes(before)
        if not put(machine, table, column, value):
            continue
        done = python(machine, _RUN_ALL, stdin=json.dumps([*COMMANDS, *OTHERS])).succeeded()
        for words, (code, told) in zip([*COMMANDS, *OTHERS], done.json, strict=True):
            assert code in (0, 2, 3, 4, 6, 7, 8, 9), (value, words, code, told)
            if words in OTHERS and table in ROWS_OF_ACCOUNTS:
                assert code == 0, (value, words, code, told)
        for suffix in ("-wal", "-shm"):
            Path(f"{machine.data}/backctl.db{suffix}").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("column", "value"),
    [("username", "x'ff00'"), ("created_at", "1000000000000000000"), ("version", "9223372036854775808"), ("id", "1.5")],
)
def test_a_damaged_account_is_named(machine: Machine, column: str, value: str) -> None:
    key = machine.run("user", "show", "ada", "-o", "json").succeeded().json["id"]
    assert put(machine, "users", column, value)
    for words in (("user", "list"), ("user", "update", "ada", "--role", "admin")):
        done = machine.run(*words, "-o", "json")
        if column in ("username", "id") and words[1] == "update" and done.code == 3:
            continue  # the row is no longer found under that name
        assert (done.code, done.error["code"]) == (9, "database.damaged"), done
        assert f"table users, row '{key if column != 'id' else '1.5'}'" in done.error["message"]
        assert column in done.error["message"]
        assert "db check" in done.error["hint"]


def test_the_row_that_was_read_is_named_and_no_other(machine: Machine) -> None:
    people = {
        item["username"]: item["id"] for item in machine.run("user", "list", "-o", "json").succeeded().json["items"]
    }
    assert put(machine, "users", "role", "x'00'")
    with closing(sqlite3.connect(machine.data / "backctl.db")) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("UPDATE users SET role = x'00'")
        database.commit()
    for name, key in people.items():
        for words in (("user", "show", name), ("user", "deactivate", name, "--yes")):
            done = machine.run(*words, "-o", "json")
            assert (done.code, done.error["code"]) == (9, "database.damaged"), done
            assert f"table users, row '{key}': the column role" in done.error["message"]


@pytest.mark.parametrize("column", ["email", "email_key", "email_domain", "username", "role"])
def test_text_that_is_not_utf8_is_named(machine: Machine, column: str) -> None:
    key = machine.run("user", "show", "ada", "-o", "json").succeeded().json["id"]
    assert put(machine, "users", column, "CAST(x'73656372657480ff' AS TEXT)")
    for words in (("user", "list"), ("user", "update", key, "--role", "admin")):
        done = machine.run(*words, "-o", "json")
        if done.code != 0:
            assert (done.code, done.error["code"]) == (9, "database.damaged"), done
            assert f"table users, row '{key}': the column {column}" in done.error["message"]
            assert "secret" not in done.err
    checked = machine.run("db", "check", "-o", "json")
    assert checked.code == 6
    assert f"table users, row {key}: {column}" in checked.out
    assert "secret" not in checked.out


def test_db_check_finds_all_damaged_rows(machine: Machine) -> None:
    people = {
        item["username"]: item["id"] for item in machine.run("user", "list", "-o", "json").succeeded().json["items"]
    }
    with closing(sqlite3.connect(machine.data / "backctl.db")) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("UPDATE users SET role = x'00' WHERE username = 'ada'")
        database.execute("UPDATE users SET updated_at = 1000000000000000000 WHERE username = 'bob'")
        database.execute("UPDATE sessions SET issuer = 5.5")
        database.execute("UPDATE events SET data = '{' WHERE seq = 2")
        database.commit()
    done = machine.run("db", "check", "-o", "json")
    assert done.code == 6
    finding = next(item["finding"] for item in done.json["items"] if item["check"] == "contents.values")
    for damage in (f"row {people['ada']}: role", f"row {people['bob']}: updated_at", "table events, row 2: data"):
        assert damage in finding

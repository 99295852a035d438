"""The procedures of docs/operations.md work on installations that are in the state they are for."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
from tests.cli.accounts import Person, lock
from tests.cli.conftest import Machine
from tests.cli.documents import RUN, Block, blocks, run_blocks, runnable
from tests.cli.expected import refused
from tests.cli.machines import ServerStorage
from tests.servers import PostgresVersion, Servers

DOCUMENT = "docs/operations.md"
PEOPLE = [Person("ada", role="admin"), Person("bob")]
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()
"""
"""A process that changes the database and does not finish."""


def steps(heading: str) -> list[Block]:
    """Return the blocks that can be run of one section, without its subsections."""
    return [block for block in blocks(DOCUMENT, *RUN, heading=heading) if block.heading == heading]


def values(machine: Machine, *words: str) -> list[str]:
    """Return the lines that a command prints."""
    return machine.run(*words).succeeded().out.splitlines()


def users(machine: Machine, *fields: str) -> list[str]:
    return values(machine, "user", "list", "--all", "--no-header", "--fields", ",".join(fields))


def is_valid(machine: Machine, token: str) -> bool:
    done = machine.run("token", "verify", "-q", stdin=token)
    assert done.code in (0, 6), done.err
    return done.code == 0


def test_every_section_with_commands_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [block.heading for block in runnable(DOCUMENT) if f'steps("{block.heading}")' not in text] == []


def test_a_backup_replaces_the_database_and_its_accounts_can_be_merged(installed: Machine) -> None:
    run_blocks(installed, steps("Back up"))
    assert (installed.home / "keyring-monday.json").stat().st_mode & 0o777 == 0o600
    token = installed.run("token", "issue", "bob").succeeded().out
    installed.run("user", "deactivate", "bob").succeeded()
    created = ("user", "create", "new@example.org", "--username", "new", "--generate-password", "-o", "json")
    new = installed.run(*created).succeeded().json
    installed.run("user", "mfa", "enroll", "new").succeeded()

    run_blocks(installed, steps("Restore"))
    assert users(installed, "username", "status", "mfa") == [
        "ada\tactive\toff",
        "bob\tclosed\toff",
        "new\tactive\tpending",
    ]
    check = ("user", "check-password", new["id"], "-q", "--password-stdin")
    installed.run(*check, stdin=new["password"]).succeeded()
    assert not is_valid(installed, token)
    assert not (installed.home / "lost.jsonl").exists()

    (installed.data / "backctl.db").write_bytes(b"something else entirely" * 400)
    refused(installed.run("db", "restore", "backctl-monday.db", "--yes", "-o", "json"), 9, "database.unusable")
    run_blocks(installed, steps("A damaged database"))
    assert users(installed, "username") == ["ada", "bob"]


def test_after_pg_restore_all_sessions_end(
    tmp_path: Path, on_server: Callable[[PostgresVersion], ServerStorage]
) -> None:
    storage = on_server(18)
    machine = storage.machine(tmp_path)
    machine.create_user("bob")
    token = machine.run("token", "issue", "bob").succeeded().out
    assert is_valid(machine, token)
    run_blocks(machine, steps("On PostgreSQL"))
    assert not is_valid(machine, token)
    storage.forget(machine)


def test_an_installation_moves_to_another_machine(installed: Machine, tmp_path: Path) -> None:
    here, there = steps("Move to another machine")
    run_blocks(installed, [here])
    new = Machine(tmp_path / "new")
    new.home.mkdir()
    for name in ("move.db", "move-keyring.json"):
        (installed.home / name).rename(new.home / name)
    run_blocks(new, [there])
    assert users(new, "username") == ["ada", "bob"]
    new.run("audit", "verify").succeeded()
    assert (new.data / "keyring.json").stat().st_mode & 0o777 == 0o600


def test_the_process_that_locks_a_database_is_found_and_ended(installed: Machine) -> None:
    command = [sys.executable, "-c", HOLDER, str(installed.data / "backctl.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        shown = " 4711 python3         WRITE /srv/backctl/backctl.db-shm"
        run_blocks(
            installed,
            steps("A locked database"),
            replace={
                shown: f"…{holder.pid} python… WRITE {installed.data}/backctl.db-shm",
                "WRITE.*backctl'": f"WRITE.*{installed.data}'",
                "4711": str(holder.pid),
            },
        )
    assert users(installed, "username", "status") == ["ada\tactive", "bob\tclosed"]


def test_the_query_of_the_document_finds_who_blocks_whom_on_postgres(servers: Servers) -> None:
    (query,) = (block.text for block in blocks(DOCUMENT, "sql"))
    server = servers.postgres(18)
    with server.database() as name:

        def connected() -> closing[psycopg.Connection[tuple[Any, ...]]]:
            return closing(psycopg.connect(server.url(name), autocommit=True))

        with connected() as holder, connected() as waiter, connected() as observer:
            holder.execute("SELECT pg_advisory_lock(1)")
            waiting = Thread(target=waiter.execute, args=("SELECT pg_advisory_lock(1)",))
            waiting.start()
            found = None
            while found is None:
                found = observer.execute(query).fetchone()
            assert (found[0], found[2]) == (waiter.info.backend_pid, holder.info.backend_pid)
            observer.execute("SELECT pg_terminate_backend(%s)", (found[2],))
            waiting.join()


def test_a_lost_keyring_is_put_back_or_replaced(installed: Machine) -> None:
    installed.run("user", "mfa", "enroll", "ada").succeeded()
    keyring = installed.data / "keyring.json"
    (installed.home / "keyring-monday.json").write_bytes(keyring.read_bytes())
    keyring.unlink()
    put_back, *replace = steps("A lost keyring")
    run_blocks(installed, [put_back])
    installed.run("user", "activate", "bob", "ada", "--yes").succeeded()

    keyring.unlink()
    old = values(installed, "audit", "list", "--all", "-o", "id")
    run_blocks(installed, replace)
    verdict = installed.run("audit", "verify", "-o", "json")
    assert (verdict.code, verdict.json["unverified"], verdict.json["broken_seq"]) == (6, len(old), None)
    assert len(json.loads((installed.home / "jwks.json").read_text())["keys"]) == 1
    assert users(installed, "username", "mfa") == ["ada\tpending", "bob\toff"]
    installed.run("db", "restore", "backctl-new.db", "--dry-run").succeeded()


def test_a_copy_of_the_keyring_that_is_too_old_is_reported(installed: Machine) -> None:
    keyring = installed.data / "keyring.json"
    old = keyring.read_bytes()
    installed.run("key", "rotate", "--purpose", "encrypt", "--if-older-than", "0d").succeeded()
    installed.run("user", "mfa", "enroll", "bob").succeeded()
    keyring.write_bytes(old)
    done = installed.run("user", "mfa", "reencrypt")
    assert (done.code, "'bob'" in done.err) == (7, True)
    installed.run("user", "mfa", "disable", "bob", "--yes").succeeded()

    installed.run("key", "rotate", "--purpose", "audit", "--if-older-than", "0d").succeeded()
    installed.run("user", "deactivate", "bob").succeeded()
    keyring.write_bytes(old)
    refused(installed.run("user", "activate", "bob", "-o", "json"), 9, "keyring.mismatch")
    checks = {item["check"]: item for item in installed.run("doctor", "-o", "json").json["items"]}
    assert "it lacks the audit key" in checks["keyring.matches"]["finding"]


def test_an_administrator_can_log_in_again_and_be_succeeded(installed: Machine) -> None:
    installed.run("user", "mfa", "enroll", "ada").succeeded()
    lock(installed, "ada")
    refused(installed.run("user", "deactivate", "ada", "-o", "json"), 8, "user.last_administrator")
    run_blocks(installed, steps("No administrator can log in"))
    assert users(installed, "username", "role", "status", "mfa") == [
        "ada\tadmin\tclosed\toff",
        "bob\tuser\tactive\toff",
        "grace\tadmin\tactive\toff",
    ]


def test_tokens_under_a_leaked_key_are_rejected(installed: Machine) -> None:
    access, refresh = installed.run("token", "issue", "bob", "--pair").succeeded().out.splitlines()
    installed.run("key", "add", "--kid", "next").succeeded()
    run_blocks(installed, steps("A leaked signing key"))
    assert not is_valid(installed, access)
    (published,) = json.loads((installed.home / "jwks.json").read_text())["keys"]
    assert published["kid"] == "sign-after-leak"
    renewed = installed.run("token", "refresh", stdin=refresh).succeeded().out.splitlines()
    assert is_valid(installed, renewed[0])


def test_nothing_stays_encrypted_under_a_leaked_key(installed: Machine) -> None:
    installed.run("user", "mfa", "enroll", "bob").succeeded()
    ran = run_blocks(installed, steps("A leaked encryption key"))
    assert [line for block in ran for line in block.out.splitlines()].count(users(installed, "id")[1]) == 1
    assert values(installed, "key", "list", "--purpose", "encrypt", "-o", "id") == ["encrypt-after-leak"]
    assert installed.rows("SELECT kid FROM mfa_secrets") == [("encrypt-after-leak",)]


def test_after_a_leaked_backup_whoever_has_a_password_needs_a_new_one(installed: Machine) -> None:
    set_password = ("user", "set-password", "bob", "--password-stdin")
    installed.run(*set_password, stdin="correct horse battery").succeeded()
    installed.create_user("service")
    token = installed.run("token", "issue", "service").succeeded().out
    run_blocks(installed, steps("A leaked backup"))
    assert users(installed, "username", "must_change_password") == ["ada\ttrue", "bob\ttrue", "service\tfalse"]
    assert not is_valid(installed, token)


def test_an_upgrade_keeps_a_copy(newer: Machine) -> None:
    run_blocks(newer, steps("Upgrade backctl"))
    (copy,) = newer.data.glob("*.bak")
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("SELECT count(*) FROM users").fetchone() == (2,)

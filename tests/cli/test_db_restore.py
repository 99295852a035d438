"""`backctl db restore` with the real program: an older copy replaces a database, and what that undoes is listed."""

import os
import shutil
import sqlite3
import time
from base64 import b32decode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents, execute
from tests.cli.next_release import NEXT
from tests.cli.processes import as_ordinary_owner, run_command

from backctl.domain.one_time_codes import totp
from backctl.domain.values import Instant
from backctl.infrastructure.sql.schema import REVISION

PEOPLE = [Person("root", "admin"), Person("ada", "admin"), Person("bob"), Person("cleo"), Person("eve", active=False)]
PASSWORD, OTHER = "correct horse battery", "better horse battery"


def run(machine: Machine, *words: str, stdin: str = "") -> str:
    return machine.run(*words, stdin=stdin).succeeded().out


def backed_up(machine: Machine) -> Machine:
    run(machine, "db", "backup", "copy.db")
    return machine


def restored(machine: Machine, *flags: str) -> Any:
    return machine.run("db", "restore", "copy.db", "--yes", *flags, "-o", "json").succeeded().json


def asides(machine: Machine) -> list[str]:
    return [path.name for path in machine.data.glob("backctl.db.before-restore-*")]


def set_password(machine: Machine, name: str, password: str) -> None:
    run(machine, "user", "set-password", name, "--password-stdin", "-q", stdin=password)


def test_the_copy_replaces_the_database_and_its_undone_changes_are_listed(installed: Machine) -> None:
    set_password(installed, "cleo", PASSWORD)
    first = run(installed, "token", "issue", "bob", "--pair").splitlines()
    backed_up(installed)
    before = (installed.home / "copy.db").read_bytes()
    (installed.home / "copy.db").chmod(0o400)
    second = run(installed, "token", "issue", "cleo", "--pair").splitlines()
    run(installed, "user", "deactivate", "bob")
    run(installed, "role", "assign", "user", "ada")
    run(installed, "user", "delete", "eve", "--confirm", "eve")
    set_password(installed, "cleo", OTHER)
    installed.create_user("new")

    dry = restored(installed, "--dry-run")
    assert (dry["changed"], dry["dry_run"], dry["backup_file"], asides(installed)) == (True, True, None, [])
    done = restored(installed, "--reason", "bad import")
    assert done | {"backup_file": None, "dry_run": True} == dry
    assert done["backup_file"] == str(installed.data / asides(installed)[0])
    assert (done["revoked_sessions"], done["lost_accounts"], done["lost_usernames"]) == (1, 1, ["new"])
    undone = {account["username"]: account for account in done["accounts"]}
    assert {name: account["undone"] for name, account in undone.items()} == {
        "ada": ["role"],
        "bob": ["deactivated"],
        "cleo": ["password"],
        "eve": ["deleted"],
    }
    assert (undone["ada"]["role"], undone["ada"]["previous_role"]) == ("admin", "user")
    assert (undone["bob"]["is_active"], undone["bob"]["previously_active"]) == (True, False)
    assert (undone["eve"]["is_active"], undone["eve"]["previously_active"]) == (False, None)

    assert run(installed, "user", "list", "--all", "-o", "id").count("\n") == 5
    installed.run("user", "check-password", "cleo", "--password-stdin", stdin=PASSWORD).succeeded()
    for token, refresh in (first, second):
        assert installed.run("token", "verify", "--token-stdin", stdin=token).code == 6
        assert installed.run("token", "refresh", "--token-stdin", stdin=refresh).code == 6
    for command in ("audit verify", "db check", "doctor"):
        installed.run(*command.split()).succeeded()
    (event,) = installed.run("audit", "list", "--type", "DatabaseRestored", "-o", "json").succeeded().json["items"]
    aside = installed.data / asides(installed)[0]
    assert (event["reason"], event["data"]) == ("bad import", heads(installed.home / "copy.db", aside))
    assert (installed.home / "copy.db").read_bytes() == before
    assert aside.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in installed.home.iterdir()) == [".local", "copy.db"]


def heads(copy: Path, replaced: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, path in (("copy", copy), ("replaced", replaced)):
        with closing(sqlite3.connect(path)) as connection:
            seq, mac = connection.execute("SELECT seq, mac FROM event_head").fetchone()
        found |= {f"{name}_seq": seq, f"{name}_mac": mac.hex()}
    return found


def test_the_replaced_database_can_be_restored_too(installed: Machine) -> None:
    backed_up(installed)
    run(installed, "user", "deactivate", "bob")
    restored(installed)
    (aside,) = asides(installed)
    done = installed.run("db", "restore", str(installed.data / aside), "-y", "-o", "json").succeeded().json
    assert done["accounts"] == []
    assert run(installed, "user", "show", "bob", "--fields", "is_active", "--no-header") == "false\n"
    assert len(asides(installed)) == 2
    installed.run("audit", "verify").succeeded()


def test_a_login_that_stores_the_same_password_again_is_not_another_password(installed: Machine) -> None:
    set_password(installed, "cleo", PASSWORD)
    backed_up(installed)
    command = ("user", "check-password", "cleo", "--password-stdin")
    installed.run(*command, stdin=PASSWORD, env={"BACKCTL_PASSWORDS_BCRYPT_COST": "5"}).succeeded()
    assert restored(installed, "--dry-run")["accounts"] == []


def test_what_was_used_since_the_copy_stays_used(installed: Machine) -> None:
    set_password(installed, "cleo", PASSWORD)
    secret = b32decode(run(installed, "user", "mfa", "enroll", "cleo", "--no-header", "--fields", "secret").strip())
    now = Instant(time.time_ns() // 1000)
    confirm = ("user", "mfa", "confirm", "cleo", "--code-stdin", "-o", "json")
    recovery = installed.run(*confirm, stdin=totp(secret, now)).succeeded().json["recovery_codes"]
    (installed.home / "password").write_text(PASSWORD)
    (installed.home / "password").chmod(0o600)
    backed_up(installed)

    def check(code: str) -> int:
        command = ("user", "check-password", "cleo", "--password-file", "password", "--mfa-code-stdin")
        return installed.run(*command, stdin=code).code

    following = totp(secret, now.plus(30_000_000))
    assert (check(following), check(recovery[0])) == (0, 0)
    (account,) = restored(installed)["accounts"]
    assert (account["username"], account["undone"]) == ("cleo", ["recovery_codes"])
    assert [check(code) for code in (following, recovery[0])] == [6, 6]
    assert check(recovery[1]) == 0
    run(installed, "user", "mfa", "recovery-codes", "cleo")
    restored(installed)
    assert check(recovery[2]) == 6  # replaced since


def test_a_person_is_asked_once_and_sees_a_table(installed: Machine) -> None:
    backed_up(installed)
    run(installed, "user", "deactivate", "bob")
    question = "replace all accounts and events with those of copy.db? [y/N]"
    refused(installed.run("db", "restore", "copy.db", "-o", "json"), 8, "confirmation.required")
    before = contents(installed.home)
    assert installed.at_terminal("db", "restore", "copy.db", keys=[(question, "n\n")]).code == 8
    assert contents(installed.home) == before
    done = installed.at_terminal("db", "restore", "copy.db", keys=[(question, "y\n")], env={"NO_COLOR": "1"})
    shown = done.succeeded().out
    assert shown.count(question) == 1
    assert shown.endswith("USERNAME  UNDONE       PREVIOUS ROLE  ROLE\nbob       deactivated  user           user\n")
    assert "commands" not in shown


# What cannot be restored.


def is_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def is_cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def is_overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(20 * 4096))


def is_of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (name)")


def changed_by(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return change


UNFIT: dict[str, tuple[Callable[[Path], object], int, str, str]] = {
    "missing": (lambda path: path.unlink(), 2, "input.invalid", "cannot be read"),
    "a folder": (is_a_folder, 2, "input.invalid", "cannot be read"),
    "empty": (lambda path: os.truncate(path, 0), 9, "database.unusable", "copy.db"),
    "garbage": (lambda path: path.write_bytes(b"something else" * 999), 9, "database.unusable", "not an SQLite"),
    "cut off": (is_cut_off, 9, "database.unusable", "copy.db"),
    "overwritten": (is_overwritten, 9, "database.unusable", "copy.db"),
    "of another program": (is_of_another_program, 9, "database.unusable", "does not belong to backctl"),
    "without a head": (changed_by("DELETE FROM event_head"), 9, "database.unusable", "no head"),
    "with another head": (
        changed_by("UPDATE event_head SET seq = seq + 9"),
        9,
        "database.unusable",
        "does not match the last event",
    ),
    "older than its tables": (
        changed_by("UPDATE alembic_version SET version_num = '0008'"),
        9,
        "database.unusable",
        "already exists",
    ),
    "with an impossible value": (
        changed_by("INSERT INTO token_issuers VALUES (x'ff', 'soon')"),
        9,
        "database.unusable",
        "the copy",
    ),
    "of an unknown revision": (
        changed_by("UPDATE alembic_version SET version_num = '0000'"),
        9,
        "database.unusable",
        "unknown revision",
    ),
    "newer": (changed_by("UPDATE alembic_version SET version_num = '9999'"), 9, "database.schema_newer", "'9999'"),
    "without a table": (changed_by("DROP TABLE seen_accounts"), 9, "database.unusable", "seen_accounts is missing"),
    "of another installation": (
        changed_by("UPDATE installation SET installation_id = 'elsewhere'"),
        9,
        "database.mismatch",
        "'elsewhere'",
    ),
    "under another audit key": (
        changed_by("UPDATE audit_keys SET kid = 'a-lost'"),
        9,
        "keyring.mismatch",
        "there is no key 'a-lost'",
    ),
    "with a log": (lambda path: Path(f"{path}-wal").write_bytes(b"x"), 9, "database.unusable", "not a finished copy"),
}


def test_triggers_in_a_copy_cannot_keep_sessions_open(installed: Machine) -> None:
    token = run(installed, "token", "issue", "bob").strip()
    backed_up(installed)
    changed_by(
        'CREATE TRIGGER "a \'b" AFTER UPDATE ON sessions BEGIN '
        "UPDATE sessions SET revoked_at = NULL, revoked_because = NULL; END",
        "CREATE TRIGGER c AFTER INSERT ON token_issuers BEGIN DELETE FROM token_issuers; END",
        "CREATE TRIGGER d BEFORE INSERT ON events BEGIN SELECT raise(ABORT, 'no'); END",
    )(installed.home / "copy.db")
    restored(installed)
    assert installed.run("token", "verify", "--token-stdin", stdin=token).code == 6
    assert installed.rows("SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name") == [
        ("a 'b",),
        ("c",),
        ("d",),
    ]


def test_events_that_are_missing_in_a_copy_are_reported(installed: Machine) -> None:
    backed_up(installed)
    changed_by("DELETE FROM events WHERE seq = 2")(installed.home / "copy.db")
    done = installed.run("db", "restore", "copy.db", "-y", "-o", "json").succeeded()
    assert "the copy 'copy.db' was changed outside backctl" in done.err
    assert "but the head is at" in done.err


def test_an_unfit_copy_changes_nothing(installed: Machine) -> None:
    backed_up(installed)
    shutil.move(installed.home / "copy.db", installed.home / "good.db")
    before = contents(installed.data)
    for name, (spoil, code, error_code, words) in UNFIT.items():
        path = installed.home / f"{name}.copy.db".replace(" ", "-")
        shutil.copyfile(installed.home / "good.db", path)
        spoil(path)
        as_it_was = contents(installed.home)
        error = refused(installed.run("db", "restore", path.name, "-y", "-o", "json"), code, error_code)
        assert words in error["message"], name
        assert ".new/" not in error["message"], name
        assert "restore" not in (error["hint"] or "") or error_code != "database.unusable", name
        assert contents(installed.home) == as_it_was, name
    assert contents(installed.data) == before
    refused(installed.run("db", "restore", "-", "-y", "-o", "json"), 2, "usage")
    error = refused(
        installed.run("db", "restore", str(installed.data / "backctl.db"), "-o", "json"), 2, "input.invalid"
    )
    assert "the database itself" in error["message"]


def test_a_copy_whose_key_was_destroyed_is_refused_with_its_name(installed: Machine) -> None:
    run(installed, "user", "mfa", "enroll", "ada")
    backed_up(installed)
    old = run(installed, "key", "list", "--purpose", "encrypt", "-o", "id").strip()
    run(installed, "key", "rotate", "--purpose", "encrypt", "--if-older-than", "0d")
    restored(installed, "--dry-run")
    run(installed, "user", "mfa", "reencrypt")
    run(installed, "key", "destroy", old, "--confirm", old)
    before = contents(installed.home)
    error = refused(installed.run("db", "restore", "copy.db", "-y", "-o", "json"), 9, "keyring.mismatch")
    assert f"the key '{old}' was destroyed" in error["message"]
    assert contents(installed.home) == before


def test_a_folder_that_cannot_be_written_to_is_reported(installed: Machine) -> None:
    backed_up(installed)
    for path in (installed.data, installed.home / "copy.db"):
        path.chmod(0o500 if path.is_dir() else 0o444)
    command = as_ordinary_owner(installed.command("db", "restore", "copy.db", "-y", "-o", "json"))
    assert refused(run_command(installed, command), 9, "database.unusable")["hint"].startswith("check the owner")
    installed.data.chmod(0o700)
    installed.run("audit", "verify").succeeded()


# Other databases in its place.


def test_an_older_copy_is_upgraded(newer: Machine) -> None:
    backed_up(newer)
    run(newer, "db", "upgrade")
    done = restored(newer)
    assert (done["previous_revision"], done["revision"]) == (REVISION, NEXT)
    newer.run("audit", "verify").succeeded()
    assert run(newer, "audit", "list", "--type", "SchemaUpgraded", "-o", "id").count("\n") == 1
    assert sorted(path.name for path in newer.data.glob("*.bak")) == [f"backctl.db.{REVISION}.1.bak"]


def test_a_copy_made_before_an_upgrade_returns_to_the_previous_release(installed: Machine, next_release: Path) -> None:
    backed_up(installed)
    run(installed, "user", "deactivate", "bob")
    installed.run("db", "upgrade", env={"PYTHONPATH": str(next_release)}).succeeded()
    refused(installed.run("user", "list", "-o", "json"), 9, "database.schema_newer")
    assert [account["username"] for account in restored(installed)["accounts"]] == ["bob"]
    installed.run("user", "show", "bob").succeeded()


def test_another_page_size_does_not_matter(installed: Machine) -> None:
    backed_up(installed)
    with closing(sqlite3.connect(installed.home / "copy.db", isolation_level=None)) as connection:
        for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 8192", "VACUUM"):
            connection.execute(statement)
    with closing(sqlite3.connect(installed.data / "backctl.db")) as reader:  # keeps its log
        reader.execute("SELECT 1 FROM users").fetchone()
        restored(installed)
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    installed.run("db", "check").succeeded()


def test_on_another_machine_the_copy_becomes_the_database(installed: Machine, tmp_path: Path) -> None:
    token = run(installed, "token", "issue", "bob").strip()
    backed_up(installed)
    other = Machine(tmp_path / "other")
    other.data.mkdir(parents=True, mode=0o700)
    (other.home / "copy.db").symlink_to(installed.home / "copy.db")
    refused(other.run("db", "restore", "copy.db", "-y", "-o", "json"), 9, "installation.missing")
    shutil.copy(installed.data / "keyring.json", other.data)
    before = contents(other.home)
    assert restored(other, "--dry-run")["changed"]
    assert contents(other.home) == before
    done = restored(other)
    assert (done["backup_file"], done["accounts"], done["lost_accounts"]) == (None, [], 0)
    assert sorted(os.listdir(other.data)) == ["backctl.db", "backctl.lock", "keyring.json"]
    assert (other.data / "backctl.db").stat().st_mode & 0o777 == 0o600
    assert other.run("token", "verify", "--token-stdin", stdin=token).code == 6
    for command in ("audit verify", "db check", "doctor", "user show bob"):
        other.run(*command.split()).succeeded()


def test_a_log_without_its_database_is_not_replayed_into_the_copy(installed: Machine) -> None:
    backed_up(installed)
    (installed.data / "backctl.db").unlink()
    (installed.data / "backctl.db-wal").write_bytes(b"changes")
    for flag in ("--dry-run", "--yes"):
        error = refused(installed.run("db", "restore", "copy.db", flag, "-o", "json"), 9, "database.unusable")
        assert "backctl.db-wal" in error["message"]
    assert not (installed.data / "backctl.db").exists()


def test_a_damaged_database_is_replaced_if_it_can_be_opened_and_moved_away_otherwise(installed: Machine) -> None:
    backed_up(installed)
    run(installed, "user", "deactivate", "bob")
    execute(installed, "DROP TABLE mfa_secrets")
    done = installed.run("db", "restore", "copy.db", "-y", "-o", "json").succeeded()
    assert (done.json["accounts"], done.json["lost_accounts"]) == (None, None)
    assert "check all accounts" in done.err
    installed.run("db", "check").succeeded()

    (installed.data / "backctl.db").write_bytes(b"something else entirely" * 400)
    before = contents(installed.home)
    error = refused(installed.run("db", "restore", "copy.db", "-y", "-o", "json"), 9, "database.unusable")
    assert "to another folder" in error["hint"]
    assert contents(installed.home) == before
    (installed.data / "backctl.db").rename(installed.home / "damaged.db")
    restored(installed)
    installed.run("db", "check").succeeded()


# restored


def test_after_a_copy_by_hand_the_rest_of_a_restore_can_be_done(installed: Machine) -> None:
    token = run(installed, "token", "issue", "bob").strip()
    backed_up(installed)
    run(installed, "token", "revoke", "--user", "bob", "-y")
    shutil.copyfile(installed.home / "copy.db", installed.data / "backctl.db")
    installed.run("token", "verify", "--token-stdin", stdin=token).succeeded()
    refused(installed.run("db", "restored", "-o", "json"), 8, "confirmation.required")
    dry = installed.run("db", "restored", "-n", "-o", "json").succeeded().json
    done = installed.run("db", "restored", "-y", "-o", "json").succeeded().json
    assert dry == done | {"dry_run": True}
    assert (done["revoked_sessions"], done["changed"]) == (1, True)
    assert installed.run("token", "verify", "--token-stdin", stdin=token).code == 6
    (event,) = installed.run("audit", "list", "--type", "DatabaseRestored", "-o", "json").succeeded().json["items"]
    expected = heads(installed.home / "copy.db", installed.home / "copy.db") | {"replaced_seq": None}
    assert event["data"] == expected | {"replaced_mac": None}
    token = run(installed, "token", "issue", "bob").strip()
    installed.run("token", "verify", "--token-stdin", stdin=token).succeeded()


def test_a_cache_that_is_away_is_reported_and_does_not_prevent_a_restore(installed: Machine) -> None:
    backed_up(installed)
    away = {"BACKCTL_REDIS_URL": "redis://127.0.0.1:1"}
    for command in (("restore", "copy.db"), ("restored",)):
        done = installed.run("db", *command, "--yes", "-q", env=away).succeeded()
        assert (
            "services may use older cached data until it expires" in installed.run("db", *command, "-y", env=away).err
        )
        assert done.out == ""

"""A keyring that is lost and has no backup: what still works, and what `key replace-lost` does."""

import shutil
import time
from base64 import b32decode
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.accounts import Person, lock
from tests.cli.conftest import Machine
from tests.cli.expected import refused

from backctl.domain.one_time_codes import totp
from backctl.domain.values import Instant

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), Person("ada", role="admin"), Person("bob")]
GOOD = "correct horse battery"
MEMBERS = ["file", "installation_id", "replaced", "unverified", "lost_key_ids", "mfa_disabled", "changed"]


def keyring(machine: Machine) -> Path:
    return machine.data / "keyring.json"


def installation_of(machine: Machine) -> str:
    return str(machine.rows("SELECT installation_id FROM installation")[0][0])


def events(machine: Machine) -> int:
    return int(machine.rows("SELECT max(seq) FROM events")[0][0])


def confirmed(machine: Machine) -> tuple[str, ...]:
    return "key", "replace-lost", "--confirm", installation_of(machine), "-o", "json"


def test_without_the_keyring_accounts_can_be_read_and_the_error_names_the_command(installed: Machine) -> None:
    before = installed.run("user", "export").succeeded().out
    keyring(installed).unlink()
    assert installed.run("user", "export").succeeded().out == before
    assert installed.run("user", "count").succeeded().out == "3\n"
    installed.run("audit", "list").succeeded()
    error = refused(installed.run("user", "deactivate", "bob", "-o", "json"), 9, "keyring.missing")
    assert "key replace-lost'" in error["hint"]
    found = installed.run("doctor", "-o", "json")
    hint = next(check["hint"] for check in found.json["items"] if check["check"] == "keyring.valid")
    assert (found.code, "key replace-lost'" in hint) == (9, True)


def test_everything_that_depends_on_the_lost_keys_ends(installed: Machine) -> None:
    for name in ("ada", "bob"):
        installed.run("user", "set-password", name, "--password-stdin", stdin=GOOD).succeeded()
    secret = installed.run("user", "mfa", "enroll", "ada", "-o", "json").succeeded().json["secret"]
    code = totp(b32decode(secret), Instant(time.time_ns() // 1000))
    installed.run("user", "mfa", "confirm", "ada", "--code-stdin", "-q", stdin=code).succeeded()
    installed.run("user", "mfa", "enroll", "root", "-q").succeeded()
    lock(installed, "bob", "nobody")
    pairs = [
        installed.run("token", "issue", "root", "--pair", "-o", "json", env=issuer).succeeded().json
        for issuer in ({}, {"BACKCTL_TOKENS_ISSUER": "https://other.example"})
    ]
    old, count = keyring(installed).read_bytes(), events(installed)
    audit_key = installed.run("key", "list", "--purpose", "audit", "-o", "id").succeeded().out.strip()
    keyring(installed).unlink()

    dry = installed.run(*confirmed(installed), "--dry-run").succeeded().json
    assert not keyring(installed).exists()
    assert events(installed) == count
    done = installed.run(*confirmed(installed), "--reason", "the disk broke").succeeded()
    made = done.json
    assert list(made) == MEMBERS
    assert (made, True) == ({name: value for name, value in dry.items() if name != "dry_run"}, dry["dry_run"])
    assert made["file"] == str(keyring(installed))
    assert (made["replaced"], made["changed"], made["unverified"]) == (True, True, count)
    assert (made["lost_key_ids"], made["mfa_disabled"]) == ([audit_key], ["root", "ada"])
    assert "encrypted with the lost keys cannot be decrypted" in done.err
    assert f"back up the new keyring '{keyring(installed)}'" in done.err
    assert keyring(installed).stat().st_mode & 0o777 == 0o600

    for table in ("mfa_secrets", "recovery_codes"):
        assert installed.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    bob = installed.run("user", "show", "bob", "-o", "json").succeeded().json
    assert (bob["status"], installed.rows("SELECT key FROM login_failures")) == ("locked", [(bob["id"],)])
    installed.run("user", "check-password", "ada", "--password-stdin", stdin=GOOD).succeeded()  # without a code
    for pair, issuer in zip(pairs, ({}, {"BACKCTL_TOKENS_ISSUER": "https://other.example"}), strict=True):
        access = installed.run("token", "verify", "-o", "json", stdin=pair["access_token"], env=issuer)
        assert (access.code, access.json["ok"]) == (6, False)
        refused(
            installed.run("token", "refresh", "-o", "json", stdin=pair["refresh_token"], env=issuer), 6, "token.revoked"
        )
    installed.run("token", "issue", "root").succeeded()

    first = installed.run("audit", "show", str(count + 1), "-o", "json").succeeded().json
    assert (first["type"], first["subject"], first["reason"]) == ("KeyringReplaced", "keyring", "the disk broke")
    assert first["data"]["lost_keys"] == [audit_key]
    verdict = installed.run("audit", "verify", "-o", "json")
    assert (verdict.code, verdict.json["ok"], verdict.json["broken_seq"]) == (6, False, None)
    assert verdict.json["unverified"] == count
    assert verdict.json["events"] == events(installed) - count
    assert f"because their keys were lost: {count}" in installed.at_terminal("audit", "verify").out
    installed.run("db", "check").succeeded()
    installed.run("key", "rotate", "--purpose", "audit", "--if-older-than", "0d").succeeded()

    keyring(installed).write_bytes(old)  # found again: it does not belong to the new segment
    refused(installed.run("user", "deactivate", "bob", "-o", "json"), 9, "keyring.mismatch")


def test_a_changed_event_after_the_replacement_is_found_and_so_is_a_removed_one_before_it(installed: Machine) -> None:
    keyring(installed).unlink()
    installed.run(*confirmed(installed)).succeeded()
    installed.run("user", "deactivate", "bob").succeeded()
    last, old = events(installed), installed.rows("SELECT mac FROM events WHERE seq = 2")[0][0]
    installed.rows("UPDATE events SET reason = 'x' WHERE seq = ?", last)
    assert installed.run("audit", "verify", "-o", "json").json["broken_seq"] == last
    installed.rows("UPDATE events SET mac = ? WHERE type = 'KeyringReplaced'", old)
    assert installed.run("audit", "verify", "-o", "json").json["broken_seq"] == 5
    installed.rows("DELETE FROM events WHERE seq = 2")
    assert installed.run("audit", "verify", "-o", "json").json["broken_seq"] == 2


def test_the_id_of_the_installation_confirms_it(installed: Machine) -> None:
    keyring(installed).unlink()
    before = events(installed)
    ident = installation_of(installed)
    error = refused(installed.run("key", "replace-lost", "-o", "json"), 8, "confirmation.required")
    assert f"--confirm {ident}" in error["hint"]
    for wrong in (ident.upper(), ident[:8], "keyring.json"):
        refused(installed.run("key", "replace-lost", "--confirm", wrong, "-o", "json"), 8, "confirmation.required")
    refused(installed.run("key", "replace-lost", "--yes", "-o", "json"), 8, "confirmation.required")
    assert (keyring(installed).exists(), events(installed)) == (False, before)
    done = installed.at_terminal("key", "replace-lost", keys=[(ident, f"{ident}\n")])
    assert done.code == 0
    assert keyring(installed).exists()


def test_a_keyring_that_exists_is_never_replaced(installed: Machine) -> None:
    path = keyring(installed)
    sound = path.read_bytes()
    (installed.home / "other").mkdir()
    other = Machine(installed.home / "other")
    other.run("init").succeeded()
    done = installed.run(*confirmed(installed)).succeeded()
    assert (done.json["changed"], done.json["replaced"]) == (False, False)
    assert "exists, so it was not replaced" in done.err

    def wrapped() -> None:
        installed.run("key", "wrap", "--passphrase-stdin", stdin="sesame").succeeded()

    spoilt: dict[str, Callable[[], object]] = {
        "keyring.damaged": lambda: path.write_bytes(sound[:300]),
        "keyring.sealed": wrapped,
        "keyring.mismatch": lambda: path.write_bytes(keyring(other).read_bytes()),
        "keyring.exposed": lambda: path.chmod(0o644),
    }
    for code, spoil in spoilt.items():
        path.write_bytes(sound)
        spoil()
        before = path.read_bytes()
        error = refused(installed.run(*confirmed(installed)), 9, code)
        assert code == "keyring.exposed" or "move the file away and run" in error["hint"]
        assert path.read_bytes() == before
    path.unlink()
    path.symlink_to("nowhere")
    refused(installed.run(*confirmed(installed)), 9, "keyring.damaged")
    assert not list(installed.data.glob(".*.change"))


def test_a_keyring_of_the_configuration_and_a_missing_folder_are_left_alone(installed: Machine) -> None:
    document = keyring(installed).read_text()
    keyring(installed).unlink()
    given = {"BACKCTL_KEYRING_DOCUMENT": document}
    refused(installed.run(*confirmed(installed), env=given), 9, "keyring.read_only")
    installed.configure('[keyring]\ndocument_command = ["false"]\n')
    refused(installed.run(*confirmed(installed)), 9, "keyring.read_only")
    installed.configure("")
    elsewhere = {"BACKCTL_KEYRING_PATH": str(installed.home / "not-mounted" / "keyring.json")}
    refused(installed.run(*confirmed(installed), env=elsewhere), 9, "storage.folder_unusable")
    assert not keyring(installed).exists()
    assert not (installed.home / "not-mounted").exists()


def test_a_new_keyring_is_wrapped_with_the_configured_passphrase(installed: Machine) -> None:
    keyring(installed).unlink()
    known = {"BACKCTL_KEYRING_PASSPHRASE": "sesame"}
    installed.run(*confirmed(installed), env=known).succeeded()
    refused(installed.run("user", "deactivate", "bob", "-o", "json"), 9, "keyring.sealed")
    installed.run("user", "deactivate", "bob", env=known).succeeded()


def test_a_dry_run_asks_for_the_configured_passphrase_too(installed: Machine) -> None:
    keyring(installed).unlink()
    command = confirmed(installed)
    installed.configure('[keyring]\npassphrase_command = ["false"]\n')
    errors = [refused(installed.run(*command, *flag), 9, "config.invalid") for flag in ([], ["--dry-run"])]
    assert errors[0] == errors[1]
    assert not keyring(installed).exists()


def test_an_older_database_is_upgraded_first(newer: Machine) -> None:
    keyring(newer).unlink()
    count, command = events(newer), confirmed(newer)
    error = refused(newer.run(*command, "--dry-run"), 9, "database.schema_older")
    assert f"key replace-lost --confirm {installation_of(newer)}' upgrades it first" in error["hint"]
    assert newer.run(*command).succeeded().json["replaced"]
    types = [row[0] for row in newer.rows("SELECT type FROM events WHERE seq > ? ORDER BY seq", count)]
    assert types == ["KeyringReplaced", "IssuerTokensRevoked", "SchemaUpgraded"]
    assert newer.run("audit", "verify", "-o", "json").json["broken_seq"] is None


@pytest.mark.embedded
def test_without_a_database_nothing_is_replaced(installed: Machine) -> None:
    command = confirmed(installed)
    keyring(installed).unlink()
    for path in installed.data.glob("backctl.db*"):
        path.unlink()
    refused(installed.run(*command), 9, "installation.missing")
    shutil.rmtree(installed.data)
    refused(installed.run(*command), 9, "installation.missing")

"""`backctl key …`: rotation, import and export of keys, as far as only the real program can show them."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests import published_keys
from tests.cli.conftest import Machine
from tests.cli.expected import TIME, refused

pytestmark = pytest.mark.every_database

KEY_KEYS = ["id", "purpose", "state", "kty", "alg", "use", "created_at", "promoted_at", "expires_at"]
SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


def keys(machine: Machine, *flags: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = machine.run("key", "list", *flags, "-o", "json").succeeded().json["items"]
    return items


def states(machine: Machine, purpose: str = "sign") -> list[str]:
    return [key["state"] for key in keys(machine, "--purpose", purpose)]


def secrets_of(machine: Machine) -> list[str]:
    stored = json.loads((machine.data / "keyring.json").read_text())["keys"]
    return [key[member] for key in stored for member in SECRET_MEMBERS & key.keys()]


@pytest.fixture
def installed(machine: Machine) -> Machine:
    machine.run("init", "-q").succeeded()
    return machine


def test_a_rotation_at_once_replaces_keys_leaves_old_ones_verifying_and_is_told(installed: Machine) -> None:
    before = keys(installed)
    assert list(before[0]) == KEY_KEYS
    rotation = ("key", "rotate", "--if-older-than", "0d", "--overlap", "7d", "--reason", "leak", "--actor", "cron")
    tried = installed.run(*rotation, "--dry-run", "-o", "json").succeeded().json
    assert (tried["changed"], tried["dry_run"]) == (True, True)
    assert keys(installed) == before
    done = installed.run(*rotation, "-o", "json").succeeded().json
    assert list(done) == ["added_key_ids", "promoted_key_ids", "retired_key_ids", "changed"]
    assert done["retired_key_ids"] == [before[0]["id"], before[1]["id"]]
    assert states(installed) == ["retired", "primary"]
    old = installed.run("key", "show", before[0]["id"], "-o", "json").succeeded().json
    assert re.fullmatch(TIME, old["expires_at"])
    published = installed.run("key", "jwks", "-o", "json").succeeded().json["keys"]
    assert [key["kid"] for key in published] == [done["promoted_key_ids"][0], before[0]["id"]]
    assert not any(SECRET_MEMBERS & key.keys() for key in published)
    events = installed.run("audit", "list", "-o", "json").succeeded().json["items"][1:]
    assert [(event["type"], event["actor"], event["reason"]) for event in events] == [
        (kind, "cron", "leak") for kind in ("KeyAdded", "KeyPromoted", "KeyRetired") for _ in range(2)
    ]
    installed.run("audit", "verify", "-q").succeeded()


def test_the_identifiers_of_a_rotation_are_the_ids_of_the_new_keys_one_a_line(installed: Machine) -> None:
    assert installed.run("key", "rotate", "-o", "id").succeeded().out == ""
    made = installed.run("key", "rotate", "--if-older-than", "0d", "-o", "id").succeeded().out
    assert re.fullmatch(r"sign-[0-9a-f]{12}\nencrypt-[0-9a-f]{12}\n", made)
    assert installed.run("key", "due", "--if-older-than", "0d", "-o", "id").succeeded().out == made


def test_rotating_from_cron_does_nothing_until_it_is_due(installed: Machine) -> None:
    due = ("key", "due", "--if-older-than", "30d", "--overlap", "7d")
    answer = installed.run(*due, "-o", "json")
    assert (answer.code, list(answer.json), answer.json["ok"]) == (6, ["ok", "items"], False)
    assert [(item["ok"], item["purpose"], item["step"]) for item in answer.json["items"]] == [
        (False, "sign", None),
        (False, "encrypt", None),
    ]
    assert not installed.run("key", "rotate", "-o", "json").succeeded().json["changed"]
    soon = ("--if-older-than", "30d", "--overlap", "30d", "--purpose", "sign")
    assert installed.run("key", "due", *soon, "-o", "json").succeeded().json["items"][0]["step"] == "prepare"
    assert len(installed.run("key", "rotate", *soon, "-o", "json").succeeded().json["added_key_ids"]) == 1
    assert not installed.run("key", "rotate", *soon, "-o", "json").succeeded().json["changed"]
    assert states(installed) == ["primary", "standby"]


@pytest.mark.embedded
def test_a_key_goes_all_the_way_to_its_tombstone(installed: Machine) -> None:
    first = keys(installed)[0]["id"]
    installed.run("key", "add", "--kid", "second").succeeded()
    refused(installed.run("key", "add", "--kid", "second", "-o", "json"), 4, "key.exists")
    refused(installed.run("key", "add", "--kid", "../etc", "-o", "json"), 2, "key.invalid")
    refused(installed.run("key", "retire", first, "-o", "json"), 8, "key.in_use")
    refused(installed.run("key", "destroy", first, "--confirm", first, "-o", "json"), 8, "key.in_use")
    assert installed.run("key", "promote", "second", "-o", "json").succeeded().json["state"] == "primary"
    assert not installed.run("key", "promote", "second", "-o", "json").succeeded().json["changed"]
    refused(installed.run("key", "promote", first, "-o", "json"), 8, "key.unfit")
    ended = installed.run("key", "retire", first, "--overlap", "0s", "-o", "json").succeeded().json
    assert ended["changed"]
    assert [key["kid"] for key in installed.run("key", "jwks", "-o", "json").json["keys"]] == ["second"]
    refused(installed.run("key", "destroy", first, "-o", "json"), 8, "confirmation.required")
    refused(installed.run("key", "destroy", first, "--confirm", "second", "-o", "json"), 8, "confirmation.required")
    gone = installed.run("key", "destroy", first, "--confirm", first, "-o", "json").succeeded().json
    assert (gone["id"], gone["purpose"], gone["changed"]) == (first, "sign", True)
    refused(installed.run("key", "show", first, "-o", "json"), 3, "key.not_found")
    refused(installed.run("key", "add", "--kid", first, "-o", "json"), 4, "key.exists")


def test_the_audit_key_rotates_and_the_chain_holds(installed: Machine) -> None:
    old = next(key["id"] for key in keys(installed) if key["purpose"] == "audit")
    installed.run("key", "rotate", "--purpose", "audit", "--if-older-than", "0d").succeeded()
    installed.run("key", "add").succeeded()
    installed.run("audit", "verify").succeeded()
    refused(installed.run("key", "destroy", old, "--confirm", old, "-o", "json"), 8, "key.in_use")
    kids = [row[0] for row in installed.rows("SELECT DISTINCT audit_kid, min(seq) FROM events GROUP BY 1 ORDER BY 2")]
    assert kids == [
        old,
        next(key["id"] for key in keys(installed) if key["state"] == "primary" and key["purpose"] == "audit"),
    ]


@pytest.mark.embedded
def test_keys_leave_and_come_in_and_the_log_is_told(installed: Machine, tmp_path: Path) -> None:
    jwk = json.dumps({**published_keys.RSA, "kid": "old name/1"})
    come = installed.run("key", "import", "--key-stdin", "-o", "json", stdin=jwk).succeeded()
    assert (come.json["alg"], come.json["state"], come.json["original_id"]) == ("RS256", "standby", "old name/1")
    kid = come.json["id"]
    refused(installed.run("key", "import", "--key-stdin", "-o", "json", stdin=jwk), 4, "key.exists")
    public = installed.run("key", "export", kid).succeeded()
    assert json.loads(public.out)["n"] == published_keys.RSA["n"]
    assert not SECRET_MEMBERS & json.loads(public.out).keys()
    target = tmp_path / "key.pem"
    leave = ("key", "export", kid, "--private", "--form", "pem", "--secret-file", str(target))
    assert installed.run(*leave, "--dry-run", "-o", "json").succeeded().json["document"] is None
    assert not target.exists()
    told = installed.run(*leave, "-o", "json").succeeded()
    assert (told.json["secret_file"], told.json["document"]) == (str(target), None)
    assert target.stat().st_mode & 0o7777 == 0o600
    assert target.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    refused(installed.run(*leave, "-o", "json"), 4, "file.exists")
    refused(installed.run("key", "export", kid, "--private", "--secret-file", "-", "-o", "json"), 2, "usage")
    piped = installed.run("key", "export", kid, "--private").succeeded()
    assert json.loads(piped.out)["d"] == published_keys.RSA["d"]
    shown = installed.at_terminal("key", "export", kid, "--private")
    assert shown.code == 2
    assert "is not shown on a terminal" in shown.out
    encrypting = next(key["id"] for key in keys(installed) if key["purpose"] == "encrypt")
    refused(installed.run("key", "export", encrypting, "-o", "json"), 2, "key.invalid")
    types = [row[0] for row in installed.rows("SELECT type FROM events ORDER BY seq")]
    assert types == ["InstallationCreated", "KeyImported", "KeyExported", "KeyExported"]


@pytest.mark.embedded
def test_no_command_but_export_shows_a_secret(installed: Machine) -> None:
    shown = ""
    for command in (
        ("key", "add", "--alg", "HS256", "--kid", "shared"),
        ("key", "promote", "shared"),
        ("key", "list", "-o", "json"),
        ("key", "show", "shared", "-o", "json"),
        ("key", "jwks", "-o", "json"),
        ("key", "rotate", "--if-older-than", "0d", "-v", "-o", "json"),
        ("key", "due", "--if-older-than", "0d", "-o", "json"),
        ("audit", "list", "-o", "json"),
    ):
        outcome = installed.run(*command).succeeded()
        shown += outcome.out + outcome.err
    assert "shared" in shown
    assert not any(secret in shown for secret in secrets_of(installed))
    assert [key["kty"] for key in installed.run("key", "jwks", "-o", "json").json["keys"]] == ["OKP"]


@pytest.mark.embedded
@pytest.mark.parametrize("damage", ["open", "cut", "flipped", "emptied"])
def test_a_keyring_that_is_not_sound_is_neither_used_nor_changed(machine: Machine, damage: str) -> None:
    machine.run("init", "-q").succeeded()
    path = machine.data / "keyring.json"
    content = path.read_bytes()
    if damage == "open":
        path.chmod(0o666)
    else:
        path.write_bytes({"cut": content[:-40], "flipped": content.replace(b"sig", b"sjg"), "emptied": b""}[damage])
    before = (path.read_bytes(), path.stat().st_mode, sorted(os.listdir(machine.data)))
    code = "keyring.exposed" if damage == "open" else "keyring.damaged"
    for command in (("rotate", "--if-older-than", "0d"), ("jwks",), ("list",)):
        refused(machine.run("key", *command, "-o", "json"), 9, code)
    assert (path.read_bytes(), path.stat().st_mode, sorted(os.listdir(machine.data))) == before


@pytest.mark.embedded
def test_a_keyring_from_elsewhere_is_read_and_never_changed(machine: Machine) -> None:
    machine.run("init", "-q").succeeded()
    path = machine.data / "keyring.json"
    keyring = path.read_text()
    kid = keys(machine)[0]["id"]
    elsewhere = machine.home / "given.json"
    path.rename(elsewhere)
    configured = machine.home / "config.toml"
    configured.touch(mode=0o600)
    configured.write_text(f'keyring.document_command = ["cat", "{elsewhere}"]\n')
    for environment in ({"BACKCTL_KEYRING_DOCUMENT": keyring}, {"BACKCTL_CONFIG": str(configured)}):
        environment |= {"BACKCTL_DATABASE_URL": f"sqlite:///{machine.data}/backctl.db"}
        published = machine.run("key", "jwks", "-o", "json", env=environment).succeeded().json["keys"]
        assert [key["kid"] for key in published] == [kid]
        made = ("user", "create", "a@example.org", "--username", "ada", "--no-password", "--upsert")
        machine.run(*made, env=environment).succeeded()
        machine.run("audit", "verify", env=environment).succeeded()
        refused(machine.run("key", "add", "-o", "json", env=environment), 9, "keyring.read_only")
        shown = machine.run("config", "show", env=environment).succeeded().out
        shown += machine.run("doctor", "-v", env=environment).succeeded().out
        assert not any(key.get("d", key.get("k")) in shown for key in json.loads(keyring)["keys"])
    broken = {"BACKCTL_KEYRING_DOCUMENT": keyring.replace("sig", "sjg")}
    refused(machine.run("key", "jwks", "-o", "json", env=broken), 9, "keyring.damaged")
    twice = {"BACKCTL_KEYRING_DOCUMENT": keyring, "BACKCTL_KEYRING_PATH": str(elsewhere)}
    refused(machine.run("key", "jwks", "-o", "json", env=twice), 9, "config.invalid")
    assert elsewhere.read_text() == keyring
    assert not path.exists()


@pytest.mark.embedded
def test_a_keyring_under_a_passphrase_opens_with_it_and_stays_wrapped(machine: Machine) -> None:
    path = machine.data / "keyring.json"
    known = {"BACKCTL_KEYRING_PASSPHRASE": "tip of the iceberg"}
    machine.run("init", "-q", env=known).succeeded()
    assert '"wrapped"' in path.read_text()
    refused(machine.run("key", "list", "-o", "json"), 9, "keyring.sealed")
    refused(machine.run("key", "list", "-o", "json", env={**known, **dict.fromkeys(known, "x")}), 9, "keyring.sealed")
    machine.run("key", "add", "--kid", "next", env=known).succeeded()
    assert '"wrapped"' in path.read_text()
    assert not machine.run("key", "wrap", "-o", "json", env=known).succeeded().json["changed"]
    other = {"BACKCTL_KEYRING_PASSPHRASE": "another"}
    again = machine.run("key", "wrap", "--passphrase-stdin", "-o", "json", stdin="another\n", env=known).succeeded()
    assert (again.json["wrapped"], again.json["changed"]) == (True, True)
    refused(machine.run("key", "list", "-o", "json", env=known), 9, "keyring.sealed")
    assert machine.run("key", "wrap", "--none", "-o", "json", env=other).succeeded().json["changed"]
    assert [key["id"] for key in keys(machine)][-1] == "next"
    assert [row[0] for row in machine.rows("SELECT type FROM events ORDER BY seq")] == [
        "InstallationCreated",
        "KeyAdded",
        "KeyringRewrapped",
        "KeyringRewrapped",
    ]
    refused(machine.run("key", "wrap", "--passphrase-stdin", "-o", "json", stdin="\n"), 2, "input.invalid")
    machine.run("audit", "verify").succeeded()


@pytest.mark.embedded
@pytest.mark.parametrize("flag", ["--if-older-than", "--overlap"])
def test_a_duration_is_a_number_and_a_unit(installed: Machine, flag: str) -> None:
    refused(installed.run("key", "rotate", flag, "30", "-o", "json"), 2, "duration.invalid")

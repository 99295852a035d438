"""Links that another user has created where a command writes: they are not followed, and nothing is changed."""

import os
from pathlib import Path

import pytest
from tests.cli.accounts import Person, python
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import refused
from tests.cli.files import contents

PEOPLE = [Person("ada", "admin"), Person("bob")]
STRANGER = 4712

# Only root can give a link to another user. Otherwise the program is patched to see another owner of links "planted…".
_PROGRAM = f"""
import os, stat, sys, types
from backctl import trusted_paths
from backctl.presentation.app import run

real = trusted_paths._status

def status(name, folder):
    found = real(name, folder)
    if found is None or not name.startswith("planted") or not stat.S_ISLNK(found.st_mode):
        return found
    members = {{member: getattr(found, member) for member in dir(found) if member.startswith("st_")}}
    return types.SimpleNamespace(**members | {{"st_uid": {STRANGER}}})

if os.geteuid():
    trusted_paths._status = status
sys.exit(run(sys.argv[1:]))
"""


def plant(path: Path, target: str) -> Path:
    path.symlink_to(target)
    if os.geteuid() == 0:
        os.lchown(path, STRANGER, STRANGER)
    return path


def run(machine: Machine, *words: str, **environment: str) -> Outcome:
    machine.environment |= environment
    return python(machine, _PROGRAM, *words, "-o", "json")


@pytest.fixture
def shared(installed: Machine) -> Path:
    """Return a folder like /tmp, and the targets of the links in it."""
    elsewhere = installed.home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "config.toml").write_text("[passwords]\nmin_length = 9\n")
    (elsewhere / "config.toml").chmod(0o600)
    shared = installed.home / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    plant(shared / "planted", "../elsewhere/config.toml")
    plant(shared / "planted-dangling", "../elsewhere/new")
    plant(shared / "planted-folder", "../elsewhere")
    (installed.home / "plain").write_text("text")
    return shared


ENCRYPT = ("encrypt", "--context", "", "--file", "plain", "--out")
CREATE = ("user", "create", "eve@example.org", "--username", "eve", "--generate-password", "--secret-file")
SET = ("config", "set", "passwords.min_length", "10", "--config")
REFUSED = [
    (*ENCRYPT, "shared/planted", "--overwrite"),
    (*ENCRYPT, "shared/planted-dangling", "--overwrite"),
    (*ENCRYPT, "shared/planted-folder/config.toml", "--overwrite"),
    (*ENCRYPT, "shared/planted-folder/new"),
    (*CREATE, "shared/planted-folder/new"),
    (*CREATE, "shared/planted-folder/new", "--dry-run"),
    ("db", "backup", "shared/planted-folder/new"),
    (*SET, "shared/planted"),
    (*SET, "shared/planted", "--dry-run"),
    (*SET, "shared/planted-folder/config.toml"),
]


@pytest.mark.parametrize("mode", [0o1777, 0o755])
@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_strangers_link_is_refused(installed: Machine, shared: Path, words: tuple[str, ...], mode: int) -> None:
    shared.chmod(mode)
    before = contents(installed.home)
    error = refused(run(installed, *words), 9, "storage.folder_unusable")
    assert f"is a link that belongs to user {STRANGER}" in error["message"]
    assert "planted" in error["message"]
    assert contents(installed.home) == before


@pytest.mark.parametrize("name", ["planted", "planted-dangling"])
@pytest.mark.parametrize("words", [ENCRYPT, CREATE, ("db", "backup")], ids=" ".join)
def test_a_name_that_a_strangers_link_has_is_taken(
    installed: Machine, shared: Path, words: tuple[str, ...], name: str
) -> None:
    before = contents(installed.home)
    refused(run(installed, *words, f"shared/{name}"), 4, "file.exists")
    assert contents(installed.home) == before


def test_ones_own_links_are_followed_there(installed: Machine, shared: Path) -> None:
    if os.geteuid():  # then the sticky folder does not belong to root
        assert shared.stat().st_uid == os.geteuid()
    for name, target in (("mine", "../elsewhere/config.toml"), ("my-folder", "../elsewhere")):
        (shared / name).symlink_to(target)
    run(installed, *ENCRYPT, "shared/my-folder/out", "--overwrite").succeeded()
    assert run(installed, *SET, "shared/mine").succeeded().json["changed"] is True
    assert (shared / "mine").is_symlink()
    assert "10" in (installed.home / "elsewhere" / "config.toml").read_text()


def test_a_keyring_behind_a_strangers_link_is_read_and_not_changed(installed: Machine, shared: Path) -> None:
    plant(shared / "planted-keyring", str(installed.data / "keyring.json"))
    before = contents(installed.home)
    named = {"BACKCTL_KEYRING_PATH": str(shared / "planted-keyring")}
    run(installed, "key", "list", **named).succeeded()
    error = refused(run(installed, "key", "add", "--purpose", "sign", **named), 9, "storage.folder_unusable")
    assert "planted-keyring" in error["message"]
    assert contents(installed.home) == before


def test_an_installation_is_not_made_behind_a_strangers_link(installed: Machine, shared: Path) -> None:
    before = contents(installed.home)
    place = f"{shared}/planted-folder"
    named = {"BACKCTL_DATABASE_URL": f"sqlite:///{place}/new.db", "BACKCTL_KEYRING_PATH": f"{place}/new.json"}
    refused(run(installed, "init", **named), 9, "storage.folder_unusable")
    assert contents(installed.home) == before

"""Creating an installation while processes are killed, compete, run out of disk space or lack permissions."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backctl.domain.values import Instant
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.keyring.maker import make_keyring

DRIVER = Path(__file__).with_name("installation_driver.py")
SOURCE = Path(__file__).parents[2] / "src"
NOW = Instant.parse("2026-11-22T09:24:02Z")

STEPS = (
    "locked",
    "keyring staged",
    "database staged",
    "keyring in place",
    "database in place",
    "temporaries removed",
)
COMPLETE = {"backctl.db", "backctl.lock", "keyring.json"}


def drive(action: str, folder: Path, *options: str) -> Any:
    """Run the driver for one action. Return None if it was killed."""
    child = subprocess.run(command(action, folder, *options), capture_output=True, text=True, env=environment())
    if child.returncode == -9:
        return None
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def drive_all(actions: tuple[str, ...], folder: Path, *options: str) -> dict[str, Any]:
    """Run the driver for several actions in order. Return the result of each."""
    child = subprocess.run(
        command(",".join(actions), folder, *options), capture_output=True, text=True, env=environment()
    )
    assert child.returncode == 0, child.stderr
    return dict(zip(actions, map(json.loads, child.stdout.splitlines()), strict=True))


def errors(actions: tuple[str, ...], folder: Path, *options: str) -> set[str]:
    """Return the error names of these actions; "" for an action that succeeds."""
    return {answer.get("error", "") for answer in drive_all(actions, folder, *options).values()}


def command(action: str, folder: Path, *options: str) -> list[str]:
    return [sys.executable, str(DRIVER), action, str(folder), *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{SOURCE}:{SOURCE.parent}"}


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.exists() else set()


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int, int]]:
    """Return the contents, mode, modification time and inode of each file."""
    found = {}
    for path in folder.iterdir():
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[path.name] = (content, status.st_mode, status.st_mtime_ns, status.st_ino)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that does not exist yet, in a parent that does not exist either."""
    return tmp_path / "share" / "backctl"


@pytest.fixture
def created(folder: Path) -> Path:
    assert drive("create", folder)["answer"] is True
    (folder / "backctl.lock").unlink()
    return folder


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Yield a folder that an unprivileged user can reach, unlike pytest's own folders."""
    folder = Path(tempfile.mkdtemp(prefix="backctl-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_every_step_is_announced_and_known_here(folder: Path) -> None:
    assert tuple(drive("create", folder)["steps"]) == STEPS


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_next_command_succeeds(folder: Path, step: str) -> None:
    assert drive("write", folder, "--die-at", step) is None
    if step != STEPS[-1]:
        assert names(folder) != COMPLETE
    kids = KeyFile(folder / "keyring.json").read().kids() if (folder / "keyring.json").exists() else None
    following = drive_all(("write", "verify", "create"), folder)
    assert following["write"]["answer"].startswith("user-")
    assert following["verify"]["answer"] == 2
    assert following["create"]["answer"] is False
    assert names(folder) == COMPLETE
    assert kids in (None, KeyFile(folder / "keyring.json").read().kids())


def test_killed_at_any_call_the_next_command_succeeds(tmp_path: Path) -> None:
    rounds = drive("die-everywhere", tmp_path)["rounds"]
    left = [set(interrupted["left"]) for interrupted in rounds]
    assert any("keyring.json" not in names for names in left)
    assert any("keyring.json" in names and "backctl.db" not in names for names in left)
    assert any(names > COMPLETE for names in left)  # some runs left only temporary names to remove
    assert not any("backctl.db" in names and "keyring.json" not in names for names in left)
    for number, interrupted in enumerate(rounds, 1):
        if "backctl.db" in interrupted["left"]:
            assert interrupted["sound"]["answer"] == 1, (number, interrupted)
        assert "error" not in interrupted["next"], (number, interrupted)
        assert interrupted["verified"]["answer"] == 2, (number, interrupted)
        assert set(interrupted["then"]) == COMPLETE, (number, interrupted)


def test_of_eight_first_commands_at_once_all_succeed_with_one_keyring(folder: Path) -> None:
    children = [
        subprocess.Popen(
            command("write", folder, "--wait"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(8)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == '"ready"\n'
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = []
    for child in children:
        output, complaints = child.communicate(timeout=120)
        assert child.returncode == 0, complaints
        answers.append(json.loads(output))
    assert not [answer for answer in answers if "error" in answer]
    assert sum("keyring in place" in answer["steps"] for answer in answers) == 1
    assert sum(len(answer["notices"]) for answer in answers) == 1
    assert names(folder) == COMPLETE
    asked = drive_all(("read", "verify"), folder)
    assert [answer["answer"] for answer in asked.values()] == [8, 9]


def test_a_read_first_creates_nothing_and_then_a_write_creates_all(folder: Path) -> None:
    assert errors(("read", "verify"), folder) == {"InstallationMissing"}
    assert not folder.parent.exists()
    asked = drive_all(("write", "read"), folder)
    assert asked["write"]["notices"] == [f"created {folder / 'keyring.json'} and {folder / 'backctl.db'}"]
    assert asked["read"]["answer"] == 1
    assert names(folder) == COMPLETE


def test_a_dry_run_creates_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    rehearsed = drive("rehearse", folder)
    assert rehearsed["answer"].startswith("user-")
    assert rehearsed["notices"] == []
    assert "database in place" in rehearsed["steps"]  # the same code ran in another place
    assert not folder.parent.exists()
    assert names(temporary) == set()


def test_a_keyring_without_a_database_is_completed(folder: Path) -> None:
    folder.mkdir(parents=True)
    keyring = make_keyring(NOW)
    KeyFile(folder / "keyring.json").create(keyring)
    before = snapshot(folder)
    asked = drive_all(("read", "rehearse"), folder)
    assert asked["read"]["error"] == "InstallationMissing"
    assert asked["rehearse"]["answer"]
    assert snapshot(folder) == before
    asked = drive_all(("write", "verify"), folder)
    assert asked["write"]["notices"] == [f"created {folder / 'backctl.db'}"]
    assert asked["verify"]["answer"] == 2
    assert snapshot(folder)["keyring.json"] == before["keyring.json"]


def test_files_that_are_no_part_of_an_installation_do_not_make_it_old(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("cache.db", "limits.db", "backctl.lock", ".keyring.json.0123456789abcdef.new", ".backctl.db.swp"):
        (folder / name).write_bytes(b"left by somebody")
    asked = drive_all(("read", "write"), folder)
    assert asked["read"]["error"] == "InstallationMissing"
    assert asked["write"]["answer"]
    assert names(folder) == COMPLETE | {"cache.db", "limits.db", ".backctl.db.swp"}


def test_creating_twice_changes_nothing(folder: Path) -> None:
    assert drive("create", folder)["answer"] is True
    before = snapshot(folder)
    again = drive("create", folder)
    assert (again["answer"], again["notices"], again["steps"]) == (False, [], [])
    assert snapshot(folder) == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_created_is_private_whatever_the_umask(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        drive("create", folder)
    finally:
        os.umask(before)
    for path in (folder.parent, folder):
        assert path.stat().st_mode & 0o7777 == 0o700
    for name in COMPLETE - {"backctl.lock"}:
        assert (folder / name).stat().st_mode & 0o7777 == 0o600, name


@pytest.mark.parametrize("mode", [0o750, 0o755, 0o1777])
def test_an_existing_folder_keeps_its_mode(folder: Path, mode: int) -> None:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    assert drive("create", folder)["answer"] is True
    assert folder.stat().st_mode & 0o7777 == mode


def test_a_folder_in_which_everybody_may_replace_files_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert errors(("create", "write", "rehearse"), folder) == {"FolderUnusable"}
    assert names(folder) == set()


def test_a_folder_in_which_everybody_may_replace_files_is_read_and_not_written(created: Path) -> None:
    created.chmod(0o777)
    before = snapshot(created)
    asked = drive_all(("read", "verify", "write", "rehearse"), created)
    assert (asked["read"]["answer"], asked["verify"]["answer"]) == (0, 1)
    assert (asked["write"]["error"], asked["rehearse"]["error"]) == ("FolderUnusable",) * 2
    assert snapshot(created) == before
    created.chmod(0o1777)
    assert drive("write", created)["answer"]


def test_a_folder_behind_a_link_is_looked_at_too(created: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (created / "backctl.db").rename(elsewhere / "real.db")
    (created / "backctl.db").symlink_to(elsewhere / "real.db")
    elsewhere.chmod(0o777)
    assert errors(("write",), created) == {"FolderUnusable"}
    elsewhere.chmod(0o700)
    assert drive("write", created)["answer"]


def test_where_the_storage_is_named_only_init_creates(folder: Path) -> None:
    assert errors(("read", "write", "rehearse"), folder, "--named") == {"InstallationMissing"}
    assert not folder.parent.exists()
    asked = drive_all(("create", "write"), folder, "--named")
    assert asked["create"]["answer"] is True
    assert asked["write"]["answer"]


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def of_another_installation(path: Path) -> None:
    path.unlink()
    KeyFile(path).create(make_keyring(NOW))


def world_readable(path: Path) -> None:
    path.chmod(0o644)


def group_readable(path: Path) -> None:
    path.chmod(0o640)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


SPOILT: list[tuple[Callable[[Path], None], str]] = [
    (changed, "KeyringDamaged"),
    (emptied, "KeyringDamaged"),
    (a_folder, "KeyringDamaged"),
    (a_dangling_link, "KeyringDamaged"),
    (Path.unlink, "KeyringMissing"),
    (of_another_installation, "KeyringMismatch"),
    (world_readable, "KeyringExposed"),
    (group_readable, "KeyringExposed"),
]


@pytest.mark.parametrize(("spoil", "error"), SPOILT, ids=[f"{spoil.__name__}" for spoil, _ in SPOILT])
def test_a_keyring_that_cannot_be_used_is_left_as_it_is(
    created: Path, spoil: Callable[[Path], None], error: str
) -> None:
    spoil(created / "keyring.json")
    before = snapshot(created)
    assert errors(("write", "create", "verify", "rehearse"), created) == {error}
    assert snapshot(created) == before


@pytest.mark.parametrize(
    ("spoil", "error"), [(changed, "KeyringDamaged"), (emptied, "KeyringDamaged"), (world_readable, "KeyringExposed")]
)
def test_a_spoilt_keyring_without_a_database_is_not_completed(
    created: Path, spoil: Callable[[Path], None], error: str
) -> None:
    (created / "backctl.db").unlink()
    spoil(created / "keyring.json")
    before = snapshot(created)
    assert errors(("write", "create", "rehearse"), created) == {error}
    (created / "backctl.lock").unlink()
    assert snapshot(created) == before


@pytest.mark.parametrize("size", [0, 1, 1000, 4096, 40_960, 65_536])
def test_a_full_disk_leaves_nothing(folder: Path, size: int) -> None:
    assert errors(("create", "write"), folder, "--largest-file", str(size)) <= {"DatabaseFull", "DiskFull"}
    assert names(folder) <= {"backctl.lock"}
    assert drive("write", folder)["answer"]
    assert names(folder) == COMPLETE


def test_an_unwritable_folder_is_named(reachable: Path) -> None:
    folder = reachable / "data"
    folder.mkdir()
    folder.chmod(0o555)
    asked = drive_all(("read", "create", "write", "rehearse"), folder, "--nobody")
    assert asked.pop("read")["error"] == "InstallationMissing"
    for refused in asked.values():
        assert refused["error"] == "FolderUnusable"
        assert str(folder) in refused["message"]
    assert names(folder) == set()


def test_a_folder_that_cannot_be_made_is_named(reachable: Path) -> None:
    reachable.chmod(0o555)
    for refused in drive_all(("create", "write", "rehearse"), reachable / "a" / "b", "--nobody").values():
        assert refused["error"] == "FolderUnusable"
        assert str(reachable) in refused["message"]


def test_a_folder_nobody_can_look_into_is_not_taken_for_empty(reachable: Path) -> None:
    folder = reachable / "data"
    folder.mkdir()
    folder.chmod(0o000)
    assert errors(("read", "create", "write", "rehearse"), folder, "--nobody") == {"FolderUnusable"}


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "share").write_bytes(b"mine")
    for folder in (tmp_path / "share", tmp_path / "share" / "backctl"):
        assert errors(("read", "create", "write", "rehearse"), folder) == {"FolderUnusable"}
    assert (tmp_path / "share").read_bytes() == b"mine"


def test_an_unprivileged_user_creates_what_only_he_can_read(reachable: Path) -> None:
    reachable.chmod(0o777 | stat.S_ISVTX)
    asked = drive_all(("write", "verify"), reachable / "data", "--nobody")
    assert asked["write"]["answer"]
    assert asked["verify"]["answer"] == 2
    assert (reachable / "data").stat().st_mode & 0o7777 == 0o700

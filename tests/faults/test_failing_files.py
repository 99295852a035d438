"""A full or failing disk under files other than the database: no file is left, and the reported outcome is correct."""

import errno
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.conftest import BY, START, a_keyring, new_id
from tests.faults.failing_calls import FLUSHES, WRITES, Call, fail_at, fail_from, run_with

from backctl.domain.errors import BackctlError
from backctl.domain.values import EventId
from backctl.infrastructure.files.whole import WholeFiles
from backctl.infrastructure.sql.migrator import Founding
from backctl.infrastructure.sqlite import copies
from backctl.infrastructure.sqlite.connection import connect
from backctl.infrastructure.sqlite.migrator import create_database
from backctl.settings import set_value

FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]
CONFIGURATION = "[passwords]\nmin_length = 9\n"


def secret_file(folder: Path) -> None:
    WholeFiles().write_new(str(folder / "secret"), b"x" * 5000)


def new_file(folder: Path) -> None:
    WholeFiles().write(str(folder / "out"), [b"x" * 5000, b"y" * 5000], replace=False)


def replaced_file(folder: Path) -> None:
    WholeFiles().write(str(folder / "before"), [b"x" * 5000, b"y" * 5000], replace=True)


def configuration(folder: Path) -> None:
    set_value(folder / "config.toml", "passwords.min_length", "10")


def backup(folder: Path) -> None:
    copies.back_up(folder.parent / "backctl.db", folder / "copy.db", timeout_us=0)


REPLACING = [replaced_file, configuration]
"""Flushing the folder comes last, so the new file already has its name when that fails."""
WRITERS = [secret_file, new_file, replaced_file, configuration, backup]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "before").write_bytes(b"before")
    (folder / "config.toml").write_text(CONFIGURATION)
    (folder / "config.toml").chmod(0o600)
    founding = Founding(installation_id="here", keyring=a_keyring(), by=BY, now=START, event_id=EventId(new_id()))
    create_database(tmp_path / "backctl.db", founding)
    with closing(connect(tmp_path / "backctl.db", timeout_us=0, read_only=True)):
        backup(folder)  # loads everything before the first fork
    (folder / "copy.db").unlink()
    return folder


def told(write: Callable[[Path], None], folder: Path) -> dict[str, Any] | None:
    try:
        write(folder)
    except BackctlError as error:
        return {"code": error.code, "message": error.message, "hint": error.hint or ""}
    return None


def left(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() or path.is_symlink()}


def calls_of(write: Callable[[Path], None], folder: Path, kinds: tuple[str, ...]) -> list[Call]:
    judge, seen = fail_at(0, 0, folder, kinds)
    assert run_with(judge, lambda: told(write, folder)) is None
    for name in ("secret", "out", "copy.db"):
        (folder / name).unlink(missing_ok=True)
    (folder / "before").write_bytes(b"before")
    (folder / "config.toml").write_text(CONFIGURATION)
    return seen


@pytest.mark.parametrize("error", FULL, ids=errno.errorcode.get)
@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_is_a_full_disk_and_not_the_databases(
    folder: Path, write: Callable[[Path], None], error: int
) -> None:
    before = left(folder)
    calls = calls_of(write, folder, WRITES)
    assert calls
    for number in {1, len(calls)}:
        judge, _ = fail_from(number, error, folder, WRITES)
        outcome = run_with(judge, lambda: told(write, folder))
        assert outcome is not None
        assert (outcome["code"], str(folder) in outcome["message"]) == ("disk.full", True)
        assert ".new" not in outcome["message"]
        assert left(folder) == before
        assert len(os.listdir(folder)) == len(before)


@pytest.mark.parametrize("kinds", [WRITES, FLUSHES], ids=["write", "flush"])
@pytest.mark.parametrize("write", WRITERS)
def test_a_broken_disk_is_not_called_full(folder: Path, write: Callable[[Path], None], kinds: tuple[str, ...]) -> None:
    before = left(folder)
    calls = calls_of(write, folder, kinds)
    assert calls
    for number in range(1, len(calls) + 1):
        judge, _ = fail_at(number, errno.EIO, folder, kinds)
        outcome = run_with(judge, lambda: told(write, folder))
        assert outcome is not None
        assert outcome["code"] in ("storage.folder_unusable", "config.invalid")
        assert "input/output error" in outcome["message"]
        assert outcome["hint"] == "check the disk"
        if calls[number - 1].path != str(folder) or write not in REPLACING:
            assert left(folder) == before
            assert len(os.listdir(folder)) == len(before)


def test_a_copy_goes_nowhere_else_when_its_folder_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, elsewhere = connect, folder.with_name("elsewhere")

    def replacing(path: Path, **options: Any) -> Any:
        if path.name == "copy":
            folder.rename(folder.with_name("moved"))
            elsewhere.joinpath(path.parent.name).mkdir(parents=True)
            os.link(folder.parent / "backctl.db", elsewhere / path.parent.name / "copy")
            folder.symlink_to(elsewhere)
        return real(path, **options)

    monkeypatch.setattr(copies, "connect", replacing)
    precious = (folder.parent / "backctl.db").read_bytes()
    assert (told(backup, folder) or {})["code"] == "storage.folder_unusable"
    assert (folder.parent / "backctl.db").read_bytes() == precious
    assert {path.name for path in folder.with_name("moved").iterdir()} == {"before", "config.toml"}

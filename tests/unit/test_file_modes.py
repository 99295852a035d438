"""What a refusal advises is possible: chmod on a read-only mount is not, and taking a service's file harms it."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from backctl.domain.errors import InvalidConfiguration, KeyringExposed
from backctl.infrastructure.keyring.file import KeyFile
from backctl.settings.files import read_text
from backctl.settings.secrets import read_secret_file


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is on a read-only mount, like a secret of Kubernetes."""
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: SimpleNamespace(f_flag=os.ST_RDONLY))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_text("content")
    return file


def hint_of(file: Path, mode: int) -> str:
    file.chmod(mode)
    with pytest.raises(KeyringExposed) as refusal:
        KeyFile(file).read()
    return str(refusal.value.hint)


@pytest.mark.parametrize("mode", [0o644, 0o444, 0o440, 0o640])
@pytest.mark.usefixtures("mounted")
def test_a_mounted_keyring_is_not_chmodded(file: Path, mode: int) -> None:
    hint = hint_of(file, mode)
    assert "chmod" not in hint
    for way in ("defaultMode", "keyring.allow_group_read", "keyring.document_command"):
        assert way in hint


@pytest.mark.parametrize("mode", [0o644, 0o444])
@pytest.mark.usefixtures("mounted")
def test_a_mounted_secret_file_is_not_chmodded(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(InvalidConfiguration) as refusal:
        read_secret_file("database.url", str(file))
    hint = str(refusal.value.hint)
    assert "chmod" not in hint
    assert f"defaultMode {mode & 0o740:04o}" in hint
    assert "database.url_command" in hint


def test_the_advice_keeps_the_group_that_a_service_reads_through(file: Path) -> None:
    assert "chmod o=" in hint_of(file, 0o644)
    hint = hint_of(file, 0o640)
    assert hint.index("keyring.allow_group_read") < hint.index("otherwise run chmod 600")
    file.chmod(0o644)
    with pytest.raises(InvalidConfiguration) as refusal:
        read_secret_file("database.url", str(file))
    assert refusal.value.hint == "run chmod 0640 on it"


def test_a_file_of_another_user_is_not_taken_from_him(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.chmod(0o600)
    real = os.fstat

    def of_a_service(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[stat.ST_UID] = 4711
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_a_service)
    for read in (KeyFile(file).read, lambda: read_text(file)):
        with pytest.raises((KeyringExposed, InvalidConfiguration)) as refusal:
            read()
        assert "sudo -u #4711" in str(refusal.value.hint)
        assert "chown" not in str(refusal.value.hint)

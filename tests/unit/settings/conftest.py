"""A separate home folder for each test, and a way to write the configuration file into it."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home folder; the site folder is empty, too."""
    for name in [name for name in os.environ if name.startswith(("XDG_", "BACKCTL_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    return folder


@pytest.fixture
def user_file(home: Path) -> Path:
    return home / "config" / "backctl" / "config.toml"


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    return tmp_path / "site" / "backctl" / "config.toml"


@pytest.fixture
def configure(user_file: Path) -> Callable[..., Path]:
    """Return a function that writes a configuration file, by default the user's, and returns its path."""

    def write(text: str | bytes, path: Path = user_file, mode: int = 0o600) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def public() -> Iterator[Path]:
    """Yield an empty folder that every user can reach, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def unprivileged() -> Callable[[], AbstractContextManager[None]]:
    """Return a block in which this process has the file permissions of an ordinary user, even when it runs as root."""

    @contextmanager
    def block() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)

    return block

"""A home of its own for every test, and a way to write the configuration file into it."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; the site's folder is empty too."""
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
    """Write a configuration file, the user's unless said otherwise, and answer its path."""

    def write(text: str | bytes, path: Path = user_file, mode: int = 0o600) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def public() -> Iterator[Path]:
    """An empty folder that every user can reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def unprivileged() -> Callable[[], AbstractContextManager[None]]:
    """A block in which the file system treats this process as an ordinary user, also when the suite runs as root."""

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

"""Whose links a path may lead through."""

import os
from pathlib import Path

import pytest

from backctl.domain.errors import FolderUnusable
from backctl.trusted_paths import followed

ME, STRANGER = 4711, 4712


class Links:
    """Symbolic links whose owners are said to be whoever the test wants, as only root could make them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._owners: dict[str, int] = {}
        monkeypatch.setattr(os, "geteuid", lambda: ME)
        real = Path.lstat

        def lstat(path: Path) -> os.stat_result:
            status = list(real(path))
            status[4] = self._owners.get(str(path), ME)
            return os.stat_result(status)

        monkeypatch.setattr(Path, "lstat", lstat)

    def make(self, name: str, target: str, owner: int) -> Path:
        path = self.folder / name
        path.symlink_to(target)
        self._owners[str(path)] = owner
        return path


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Links:
    return Links(Path(os.path.realpath(tmp_path)), monkeypatch)


@pytest.mark.parametrize("name", ["out", "sub/out", "missing/out", "sub/../out", "./out"])
def test_a_path_without_links_is_itself(links: Links, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (links.folder / "sub").mkdir()
    monkeypatch.chdir(links.folder)
    for path in (Path(name), links.folder / name):
        assert followed(path) == Path(os.path.realpath(path))


@pytest.mark.parametrize("owner", [ME, 0])
@pytest.mark.parametrize("target", ["real", "missing", "sub/../real", "/nowhere/at/all"])
def test_ones_own_links_and_roots_are_followed(links: Links, owner: int, target: str) -> None:
    (links.folder / "real").touch()
    (links.folder / "sub").mkdir()
    path = links.make("link", target, owner)
    assert followed(path) == Path(os.path.realpath(path))
    assert followed(links.make("more", "link", owner)) == Path(os.path.realpath(path))


@pytest.mark.parametrize("target", ["real", "missing", "/etc/passwd"])
def test_a_strangers_link_is_refused_wherever_it_leads(links: Links, target: str) -> None:
    (links.folder / "real").touch()
    path = links.make("link", target, STRANGER)
    for named in (path, links.make("mine", "link", ME)):
        with pytest.raises(FolderUnusable, match=f"belongs to user {STRANGER}"):
            followed(named)


def test_a_strangers_link_on_the_way_is_followed_but_in_a_folder_of_everybodys(links: Links) -> None:
    (links.folder / "real").mkdir()
    path = links.make("way", "real", STRANGER) / "out"
    assert followed(path) == links.folder / "real" / "out"
    links.folder.chmod(0o1777)
    with pytest.raises(FolderUnusable, match=f"belongs to user {STRANGER}"):
        followed(path)


def test_links_in_a_circle_end(links: Links) -> None:
    links.make("one", "two", ME)
    with pytest.raises(OSError, match="symbolic links"):
        followed(links.make("two", "one", ME))

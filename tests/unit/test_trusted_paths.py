"""Whose links a path may contain, and that the checked folder is the one that is used."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from backctl import trusted_paths
from backctl.domain.errors import FolderUnusable
from backctl.trusted_paths import followed, may_follow, opened

ME, STRANGER = 4711, 4712
STICKY, OPEN, PRIVATE = 0o1777, 0o777, 0o755


class Links:
    """Symbolic links that appear to belong to any user, because only root could really create them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._owners: dict[str, int] = {}
        monkeypatch.setattr(os, "geteuid", lambda: ME)
        real = trusted_paths._status

        def status(name: str, folder: int) -> os.stat_result | None:
            found = real(name, folder)
            if found is None or not stat.S_ISLNK(found.st_mode):
                return found
            members = {member: getattr(found, member) for member in dir(found) if member.startswith("st_")}
            return cast(os.stat_result, SimpleNamespace(**members | {"st_uid": self._owners.get(name, ME)}))

        monkeypatch.setattr(trusted_paths, "_status", status)

    def make(self, name: str, target: str, owner: int) -> Path:
        path = self.folder / name
        path.symlink_to(target)
        self._owners[name] = owner
        return path


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Links:
    return Links(Path(os.path.realpath(tmp_path)), monkeypatch)


@pytest.mark.parametrize("name", ["out", "sub/out", "missing/out", "sub/../out", "./out", "missing/more/out"])
def test_a_path_without_links_is_itself(links: Links, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (links.folder / "sub").mkdir()
    monkeypatch.chdir(links.folder)
    for path in (Path(name), links.folder / name):
        assert followed(path) == Path(os.path.realpath(path))


@pytest.mark.parametrize("owner", [ME, 0])
@pytest.mark.parametrize("target", ["real", "missing", "sub/../real", "sub", "/nowhere/at/all"])
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
        with pytest.raises(FolderUnusable, match=f"belongs to user {STRANGER}"), opened(named, follow_last=True):
            pytest.fail("it was opened")


def test_a_strangers_link_on_the_way_is_refused_in_every_folder(links: Links) -> None:
    (links.folder / "real").mkdir()
    path = links.make("way", "real", STRANGER) / "out"
    for mode in (PRIVATE, STICKY):
        links.folder.chmod(mode)
        with pytest.raises(FolderUnusable, match=f"belongs to user {STRANGER}"):
            followed(path)


@pytest.mark.parametrize(
    ("link", "folder", "followed"),
    [
        ({"st_uid": ME}, {"st_uid": ME, "st_mode": PRIVATE}, True),
        ({"st_uid": 0}, {"st_uid": 0, "st_mode": PRIVATE}, True),
        ({"st_uid": ME}, {"st_uid": STRANGER, "st_mode": PRIVATE}, True),
        ({"st_uid": STRANGER}, {"st_uid": ME, "st_mode": PRIVATE}, False),
        ({"st_uid": STRANGER}, {"st_uid": STRANGER, "st_mode": PRIVATE}, False),
        ({"st_uid": STRANGER}, {"st_uid": 0, "st_mode": STICKY}, False),
        ({"st_uid": ME}, {"st_uid": 0, "st_mode": STICKY}, True),
        ({"st_uid": 0}, {"st_uid": ME, "st_mode": STICKY}, True),
        ({"st_uid": ME}, {"st_uid": STRANGER, "st_mode": STICKY}, False),
        ({"st_uid": ME}, {"st_uid": ME, "st_mode": OPEN}, False),
        ({"st_uid": ME, "st_nlink": 2}, {"st_uid": 0, "st_mode": STICKY}, False),
        ({"st_uid": ME, "st_nlink": 2}, {"st_uid": ME, "st_mode": PRIVATE}, True),
    ],
)
def test_a_link_is_followed_that_only_its_user_and_root_can_have_placed(
    link: dict[str, int], folder: dict[str, int], followed: bool
) -> None:
    made = (SimpleNamespace(**{"st_nlink": 1, **link}), SimpleNamespace(**folder))
    assert may_follow(cast(os.stat_result, made[0]), cast(os.stat_result, made[1]), user=ME) is followed


def test_links_in_a_circle_end(links: Links) -> None:
    links.make("one", "two", ME)
    with pytest.raises(OSError, match="symbolic links"):
        followed(links.make("two", "one", ME))


def test_a_link_that_is_replaced_while_it_is_followed_is_refused(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    (links.folder / "real").touch()
    path = links.make("link", "real", ME)
    real = os.readlink

    def replaced(name: str, *, dir_fd: int) -> str:
        path.unlink()
        path.symlink_to("/etc/passwd")
        return real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "readlink", replaced)
    with pytest.raises(FolderUnusable, match="was replaced while it was being followed"):
        followed(path)


def test_a_folder_stays_the_one_that_was_judged(links: Links) -> None:
    folder, elsewhere = links.folder / "folder", links.folder / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "out").write_bytes(b"precious")
    with opened(folder / "out", follow_last=True) as place:
        folder.rename(links.folder / "moved")
        folder.symlink_to(elsewhere)
        assert place.status() is None
        assert os.path.samestat(os.fstat(place.folder), (links.folder / "moved").stat())


def test_missing_folders_are_made_private_on_demand_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out"
    with pytest.raises(FileNotFoundError), opened(path, follow_last=True):
        pytest.fail("it was opened")
    assert os.listdir(tmp_path) == []
    before = os.umask(0o077)
    try:
        with opened(path, follow_last=True, make_folders=True) as place:
            assert place.path == Path(os.path.realpath(path))
    finally:
        os.umask(before)
    assert [folder.stat().st_mode & 0o7777 for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]


@pytest.mark.parametrize("name", ["file/out", "sub/..", "sub/../sub/.."])
def test_what_is_no_place_of_a_file_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "sub").mkdir()
    with pytest.raises((NotADirectoryError, IsADirectoryError)), opened(tmp_path / name, follow_last=True):
        pytest.fail("it was opened")

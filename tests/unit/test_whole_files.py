"""Files that are written completely or not at all, on systems with and without unnamed files (O_TMPFILE)."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backctl.domain.errors import DiskFull, FileTaken, FolderUnusable
from backctl.infrastructure.files import durable
from backctl.infrastructure.files.whole import WholeFiles

FILES = WholeFiles()


@pytest.fixture(params=["unnamed", "staged"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test also as on a system without unnamed files."""
    way: str = request.param
    if way == "staged":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
        monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", False)
    return way


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_a_file_holds_all_pieces_and_is_its_owners_alone(place: Path) -> None:
    before = os.umask(0o277)
    try:
        assert FILES.write(str(place), iter([b"one", b"", b"two"]), replace=False) == 6
    finally:
        os.umask(before)
    assert place.read_bytes() == b"onetwo"
    assert place.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(place.parent) == ["out"]
    assert place.stat().st_nlink == 1


def test_nobody_sees_it_before_it_is_complete(place: Path, way: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        names = os.listdir(place.parent)
        assert "out" not in names
        assert len(names) == (0 if way == "unnamed" and sys.platform == "linux" else 1)
        assert all((place.parent / name).stat().st_mode & 0o777 == 0o600 for name in names)
        yield b"whole"

    FILES.write(str(place), pieces(), replace=False)
    assert place.read_bytes() == b"halfwhole"


@pytest.mark.parametrize("replace", [False, True])
def test_nothing_is_left_when_the_pieces_fail(place: Path, replace: bool) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    if replace:
        place.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        FILES.write(str(place), pieces(), replace=replace)
    assert os.listdir(place.parent) == (["out"] if replace else [])
    assert not replace or place.read_bytes() == b"before"


def test_a_name_that_is_taken_is_told_before_any_work(place: Path) -> None:
    def asked_for() -> bytes:
        raise AssertionError("they were asked for")

    makers: list[Callable[[], None]] = [place.touch, place.mkdir, lambda: place.symlink_to("nowhere")]
    for make in makers:
        make()
        with pytest.raises(FileTaken):
            FILES.write(str(place), iter(asked_for, b""), replace=False)
        place.rmdir() if place.is_dir() else place.unlink()


def test_a_name_that_is_taken_meanwhile_stays_what_it_is(place: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"ours"
        place.write_bytes(b"theirs")

    with pytest.raises(FileTaken):
        FILES.write(str(place), pieces(), replace=False)
    assert place.read_bytes() == b"theirs"
    assert os.listdir(place.parent) == ["out"]


def test_a_file_is_replaced_when_the_new_one_is_complete_even_by_what_is_made_of_it(place: Path) -> None:
    place.write_bytes(b"before")
    with place.open("rb") as source:
        assert FILES.write(str(place), iter(lambda: source.read(2).upper(), b""), replace=True) == 6
    assert place.read_bytes() == b"BEFORE"
    assert os.listdir(place.parent) == ["out"]


def test_what_a_link_leads_to_is_replaced_and_not_the_link(place: Path, tmp_path: Path) -> None:
    place.symlink_to("real")
    (tmp_path / "real").write_bytes(b"before")
    FILES.write(str(place), [b"after"], replace=True)
    assert place.is_symlink()
    assert (tmp_path / "real").read_bytes() == b"after"


def test_only_regular_files_are_replaced(place: Path) -> None:
    os.mkfifo(place)
    for path in (place, place.parent, Path("/dev/null")):
        with pytest.raises(FolderUnusable, match="not a regular file"):
            FILES.write(str(path), [b"x"], replace=True)


@pytest.mark.parametrize("name", ["missing/out", "", ".", "/", "a\0b", "x" * 300])
def test_a_place_that_cannot_be_is_told(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((FolderUnusable, FileTaken)):
        FILES.write(name, [b"x"], replace=False)
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_has_staged_is_removed_by_the_next_one(place: Path, way: str) -> None:
    script = """
import os, signal, sys
if sys.argv[2] == "staged" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
from backctl.infrastructure.files.whole import WholeFiles
def pieces():
    yield b"half of a secret"
    os.kill(os.getpid(), signal.SIGKILL)
WholeFiles().write(sys.argv[1], pieces(), replace=False)
"""
    done = subprocess.run([sys.executable, "-c", script, str(place), way])
    assert done.returncode == -signal.SIGKILL
    staged = len(os.listdir(place.parent))
    assert staged == (0 if way == "unnamed" and sys.platform == "linux" else 1)
    assert not place.exists()
    FILES.write(str(place), [b"whole"], replace=False)
    assert os.listdir(place.parent) == ["out"]


def test_what_a_living_process_has_staged_stays(place: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"slow"
        FILES.write(str(place), [b"quick"], replace=False)

    with pytest.raises(FileTaken):
        FILES.write(str(place), pieces(), replace=False)
    assert place.read_bytes() == b"quick"
    place.unlink()

    def once_more() -> Iterator[bytes]:
        yield b"slow"
        FILES.write(str(place), [b"quick"], replace=True)

    FILES.write(str(place), once_more(), replace=True)
    assert place.read_bytes() == b"slow"
    assert os.listdir(place.parent) == ["out"]


def test_a_new_file_is_whole_private_and_never_another(place: Path) -> None:
    FILES.write_new(str(place), b"secret")
    assert (place.read_bytes(), place.stat().st_mode & 0o7777) == (b"secret", 0o600)
    makers: list[Callable[[], None]] = [place.touch, place.mkdir, lambda: place.symlink_to("nowhere")]
    for make in makers:
        place.rmdir() if place.is_dir() else place.unlink()
        make()
        with pytest.raises(FileTaken):
            FILES.write_new(str(place), b"x")
        with pytest.raises(FileTaken):
            FILES.require_possible(str(place))


def test_a_new_file_can_be_removed_but_not_what_took_its_name(place: Path) -> None:
    written = FILES.write_new(str(place), b"ours")
    written.remove()
    written.remove()
    assert os.listdir(place.parent) == []
    place.write_bytes(b"theirs")
    written.remove()
    assert place.read_bytes() == b"theirs"


def test_whether_a_new_file_is_possible_is_told_without_making_it(place: Path) -> None:
    FILES.require_possible(str(place))
    assert os.listdir(place.parent) == []
    with pytest.raises(FolderUnusable):
        FILES.require_possible(str(place.parent / "missing" / "out"))


def test_what_was_staged_for_another_name_is_removed_too(place: Path) -> None:
    """Remove only files that a killed command of this user certainly left behind."""
    abandoned = place.with_name(".other.0123456789abcdef.new")
    others = {
        ".other.new": 0o600,
        ".0123456789abcdef.new": 0o600,
        "other.0123456789abcdef.new": 0o600,
        ".other.0123456789ABCDEF.new": 0o600,
        ".other.0123456789abcdef.new.txt": 0o600,
        ".writable.0123456789abcdef.new": 0o622,
        f".keyring.json.{'0' * 36}.{'1' * 36}.change": 0o600,
    }
    for name, mode in {abandoned.name: 0o600, **others}.items():
        place.with_name(name).write_bytes(b"half")
        place.with_name(name).chmod(mode)
    place.with_name(".link.0123456789abcdef.new").symlink_to(abandoned.name)
    FILES.write(str(place), [b"whole"], replace=False)
    assert set(os.listdir(place.parent)) == {"out", ".link.0123456789abcdef.new", *others}


def test_what_another_user_has_staged_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = place.with_name(".other.0123456789abcdef.new")
    theirs.write_bytes(b"half")
    theirs.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
    FILES.write(str(place), [b"whole"], replace=False)
    assert theirs.exists()


def test_what_is_staged_while_an_installation_is_made_stays(place: Path) -> None:
    staged = place.with_name(".backctl.db.0123456789abcdef.new")
    with durable.locked(place.parent, timeout_us=0):
        durable.stage(place.with_name("backctl.db"), b"half", name=staged)
        FILES.write(str(place), [b"one"], replace=False)
        assert staged.exists()
    FILES.write(str(place), [b"two"], replace=True)
    assert not staged.exists()


def test_a_long_name_can_be_replaced(place: Path) -> None:
    for name in ("x" * 255, "ü" * 127):
        FILES.write(str(place.with_name(name)), [b"one"], replace=False)
        FILES.write(str(place.with_name(name)), [b"two"], replace=True)
        assert place.with_name(name).read_bytes() == b"two"


def test_a_folder_that_is_replaced_meanwhile_is_not_the_one_written_to(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "out").write_bytes(b"precious")

    def pieces() -> Iterator[bytes]:
        yield b"ours"
        folder.rename(tmp_path / "moved")
        folder.symlink_to(elsewhere)

    FILES.write(str(folder / "out"), pieces(), replace=True)
    assert (tmp_path / "moved" / "out").read_bytes() == b"ours"
    assert (elsewhere / "out").read_bytes() == b"precious"


def test_a_link_that_is_planted_meanwhile_is_replaced_and_not_what_it_leads_to(place: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"precious")

    def pieces() -> Iterator[bytes]:
        yield b"ours"
        place.symlink_to("real")

    FILES.write(str(place), pieces(), replace=True)
    assert (place.is_symlink(), place.read_bytes()) == (False, b"ours")
    assert (tmp_path / "real").read_bytes() == b"precious"


def test_another_name_of_a_file_keeps_what_it_has(place: Path) -> None:
    place.with_name("other").write_bytes(b"precious")
    os.link(place.with_name("other"), place)
    FILES.write(str(place), [b"ours"], replace=True)
    assert place.with_name("other").read_bytes() == b"precious"


def test_a_strangers_link_is_not_followed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").write_bytes(b"before")
    place.symlink_to("real")
    if os.getuid() == 0:
        os.lchown(place, 4712, 4712)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(FolderUnusable, match="is a link that belongs to user"):
        FILES.write(str(place), [b"after"], replace=True)
    assert (tmp_path / "real").read_bytes() == b"before"
    assert place.is_symlink()


@pytest.fixture
def small_files() -> Iterator[None]:
    """Limit files to 100,000 bytes, like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_leaves_nothing(place: Path) -> None:
    with pytest.raises(DiskFull):
        FILES.write(str(place), [b"x" * 60_000, b"y" * 60_000], replace=False)
    assert os.listdir(place.parent) == []


@pytest.mark.usefixtures("small_files")
def test_a_full_temporary_folder_shows_nothing() -> None:
    with pytest.raises(DiskFull):
        next(iter(FILES.held_back([b"x" * 60_000, b"y" * 60_000])))


def test_pieces_are_held_back_until_all_have_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    seen = []

    def pieces() -> Iterator[bytes]:
        for number in range(5):
            seen.append(number)
            yield b"%d" % number * 50_000

    held = FILES.held_back(pieces())
    first = next(held)
    assert seen == [0, 1, 2, 3, 4]
    assert os.listdir(tmp_path) == []
    assert first + b"".join(held) == b"".join(b"%d" % number * 50_000 for number in range(5))
    assert list(FILES.held_back([])) == []


def test_nothing_is_shown_when_the_last_piece_fails() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"genuine"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        next(iter(FILES.held_back(pieces())))

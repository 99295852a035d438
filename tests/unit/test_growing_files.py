"""Files that an import writes line by line: what was not kept can be taken back, and nothing else is touched."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backctl.domain.errors import BackctlError, DiskFull, FileTaken, FolderUnusable
from backctl.infrastructure.files import growing
from backctl.infrastructure.files.growing import GrowingFile

NOBODY = 65534
LINE, OTHER = b'{"line": 1}\n', b'{"line": 2, "error": {"code": "x"}}\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@contextmanager
def grown(place: Path, *, new: bool = False, secret: bool = False) -> Iterator[GrowingFile]:
    file = GrowingFile(str(place), new=new, secret=secret)
    try:
        yield file
    finally:
        file.close()


def test_a_new_file_is_created_by_its_first_lines_for_its_owner_alone(place: Path) -> None:
    before = os.umask(0)
    try:
        with grown(place, new=True) as file:
            assert list(file.lines()) == []
            file.undo()
            file.keep()
            assert not place.exists()
            file.append(LINE)
            assert place.read_bytes() == LINE
            assert place.stat().st_mode & 0o7777 == 0o600
            assert list(file.lines()) == [LINE]
    finally:
        os.umask(before)


def test_closing_twice_closes_no_other_file(place: Path) -> None:
    file = GrowingFile(str(place), new=True)
    file.append(LINE)
    file.close()
    with place.open() as other:
        file.close()
        assert other.read() == LINE.decode()


def test_undo_takes_back_what_was_not_kept(place: Path) -> None:
    with grown(place, new=True) as file:
        file.append(LINE)
        file.keep()
        file.append(OTHER)
        file.append(LINE)
        file.undo()
        assert place.read_bytes() == LINE
        file.undo()
        file.append(OTHER)
        assert place.read_bytes() == LINE + OTHER
        file.keep()
        file.undo()
    assert place.read_bytes() == LINE + OTHER


operations = st.lists(st.sampled_from(["append", "keep", "undo", "reopen"]) | st.binary(min_size=1, max_size=9))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_the_content_is_what_was_appended_and_not_undone(tmp_path: Path, steps: list[str | bytes]) -> None:
    place = tmp_path / "file"
    place.unlink(missing_ok=True)
    place.write_bytes(LINE)
    file = GrowingFile(str(place), new=False)
    now = kept = LINE
    for number, step in enumerate(steps):
        match step:
            case "append":
                file.append(line := b'{"n": %d}\n' % number)
                now += line
            case "keep":
                file.keep()
                kept = now
            case "undo":
                file.undo()
                now = kept
            case "reopen":
                file.close()
                file = GrowingFile(str(place), new=False)
                kept = now
            case bytes(text):  # what a killed process leaves, which begins like a line and does not end
                file.close()
                place.write_bytes(now + b'{"' + text.replace(b"\n", b"").replace(b"}", b""))
                file = GrowingFile(str(place), new=False)
                kept = now
        assert b"".join(file.lines()) == now
    file.append(OTHER)
    assert place.read_bytes() == now + OTHER
    file.close()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda place: place.symlink_to("nowhere")])
def test_a_new_file_replaces_nothing(place: Path, make: Callable[[Path], None]) -> None:
    make(place)
    with pytest.raises(FileTaken):
        GrowingFile(str(place), new=True)


@pytest.mark.parametrize("make", [lambda place: place.write_bytes(b"here"), lambda place: place.symlink_to("nowhere")])
def test_a_file_that_appears_before_the_first_lines_is_not_touched(place: Path, make: Callable[[Path], None]) -> None:
    with grown(place, new=True) as file:
        make(place)
        with pytest.raises(FileTaken):
            file.append(LINE)
        file.undo()
    assert place.is_symlink() or place.read_bytes() == b"here"
    assert not (place.parent / "nowhere").exists()


def test_a_missing_file_and_folder(place: Path) -> None:
    for path, new in ((place, False), (place.parent / "no" / "file", True), (place.parent / "no" / "file", False)):
        with pytest.raises(FolderUnusable):
            GrowingFile(str(path), new=new)


@pytest.mark.parametrize(
    "rest",
    [b'{"line": 7, "result": "cre', b"{", b'{"line": 7, "error": {"code": "x"}', b'{"email": "\xc3', b"{" * 100_000],
)
@pytest.mark.parametrize("before", [b"", LINE, LINE * 9_000])
def test_an_incomplete_last_line_goes_with_the_next_lines(place: Path, before: bytes, rest: bytes) -> None:
    place.write_bytes(before + rest)
    with grown(place) as file:
        assert b"".join(file.lines()) == before
        file.undo()
        assert place.read_bytes() == before + rest
        file.append(OTHER)
        assert place.read_bytes() == before + OTHER
        file.undo()
        assert place.read_bytes() == before


def test_a_last_line_that_only_lacks_its_end_is_kept(place: Path) -> None:
    """As some editors leave it."""
    place.write_bytes(LINE + OTHER[:-1])
    with grown(place) as file:
        assert list(file.lines()) == [LINE, OTHER[:-1]]
        for _ in range(2):
            file.append(LINE)
            assert place.read_bytes() == LINE + OTHER + LINE
            file.undo()
            assert place.read_bytes() == LINE + OTHER[:-1]
        file.append(LINE)
        file.keep()
        file.append(LINE)
    assert place.read_bytes() == LINE + OTHER + LINE * 2


@pytest.mark.parametrize("content", [b"precious", b"one line\nprecious", b"\0" * 100_000, b"\x7fELF"])
def test_a_file_of_another_kind_is_not_changed(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    with pytest.raises(FolderUnusable, match="JSON lines"):
        GrowingFile(str(place), new=False)
    assert place.read_bytes() == content


def test_a_long_line_is_read_in_pieces(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "_LONGEST", 10)
    place.write_bytes(b"x" * 25 + b"\n" + b"{}\n")
    with grown(place) as file:
        assert list(file.lines()) == [b"x" * 10, b"x" * 10, b"xxxxx\n", b"{}\n"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_a_secret_file_that_others_can_read_is_refused(place: Path, mode: int) -> None:
    place.write_bytes(LINE)
    place.chmod(mode)
    with pytest.raises(FolderUnusable, match="only its owner can read and write"), grown(place, secret=True):
        pass
    with grown(place) as file:
        assert list(file.lines()) == [LINE]
    place.chmod(0o600)
    with grown(place, secret=True) as file:
        file.append(OTHER)
    assert place.read_bytes() == LINE + OTHER


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_to_is_refused(place: Path, mode: int) -> None:
    place.write_bytes(LINE)
    place.chmod(mode)
    with pytest.raises(FolderUnusable, match="only its owner can write"):
        GrowingFile(str(place), new=False)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_not_a_regular_file_is_refused(place: Path, make: Callable[[Path], None]) -> None:
    make(place)
    with pytest.raises(FolderUnusable):
        GrowingFile(str(place), new=False)


def test_a_link_of_ones_own_is_followed_to_a_file_that_exists(place: Path) -> None:
    place.write_bytes(LINE)
    link = place.with_name("link")
    link.symlink_to(place)
    with grown(link) as file:
        file.append(OTHER)
    assert link.is_symlink()
    assert place.read_bytes() == LINE + OTHER


def test_files_and_links_of_other_users_are_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_away(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    place.write_bytes(LINE)
    link = place.with_name("link")
    link.symlink_to(place)
    give_away(link)
    with pytest.raises(FolderUnusable, match="is a link that belongs to user"):
        GrowingFile(str(link), new=False)
    give_away(place)
    with pytest.raises(FolderUnusable, match="only its owner can write"):
        GrowingFile(str(place), new=False)


def test_two_processes_do_not_write_to_one_file(place: Path) -> None:
    place.write_bytes(LINE)
    program = (
        "import sys\nfrom backctl.infrastructure.files.growing import GrowingFile\n"
        "from backctl.domain.errors import FolderUnusable\n"
        "try:\n    GrowingFile(sys.argv[1], new=False)\nexcept FolderUnusable as error:\n    print(error.message)\n"
    )
    with grown(place):
        done = subprocess.run([sys.executable, "-c", program, place], capture_output=True, text=True, check=True)
        assert "is in use by another process" in done.stdout
        with pytest.raises(FolderUnusable, match="in use"):
            GrowingFile(str(place), new=False)
    done = subprocess.run([sys.executable, "-c", program, place], capture_output=True, text=True, check=True)
    assert done.stdout == ""


@pytest.mark.parametrize("kept", [b"", LINE])
def test_a_partial_write_can_be_taken_back(place: Path, kept: bytes) -> None:
    """A limit on the size of files ends a write in the middle, like a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with grown(place, new=True) as file:
            if kept:
                file.append(kept)
                file.keep()
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 5, limits[1]))
            with pytest.raises(DiskFull):
                file.append(OTHER)
            assert place.read_bytes() == kept + OTHER[:5]
            file.undo()
            assert place.read_bytes() == kept
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            file.append(LINE)
            assert place.read_bytes() == kept + LINE
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


def test_lines_are_flushed_before_append_returns(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = list[int]()
    original = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_size)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with grown(place, new=True) as file:
        file.append(LINE)
        assert flushed[-1] == len(LINE)
        assert len(flushed) == 2  # the folder, too
        file.append(OTHER)
        assert flushed[-1] == len(LINE + OTHER)


def test_a_flush_that_fails_is_reported(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with grown(place, new=True) as file:
        file.append(LINE)
        file.keep()
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(BackctlError):
            file.append(OTHER)
        file.undo()
    assert place.read_bytes() == LINE

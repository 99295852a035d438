"""Faults of the file that contains the rate limits."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_CHILD = """
import os, resource, sys, time
from pathlib import Path
from backctl.application.ports.limits import Request, raised
from backctl.domain.errors import BackctlError
from backctl.domain.rate_limit import Policy
from backctl.infrastructure.sqlite.limits import SqliteLimits

path = Path(sys.argv[1])
policy = Policy("p", 5, 3_600_000_000)

def check(identifier):
    store = SqliteLimits(path, timeout_us=1_000_000, clock=lambda: time.time_ns() // 1000)
    try:
        decision = raised(store.check([policy], [Request(identifier)])[0])[0]
        return f"{decision.allowed} {decision.remaining}"
    except BackctlError as error:
        return f"{error.code}, {error.hint is not None}"
    finally:
        store.close()

def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def become_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

"""


def in_child(path: Path, script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _CHILD + script, path], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture
def path() -> Iterator[Path]:
    """A path outside `tmp_path`, which only the user who runs the tests can enter."""
    with TemporaryDirectory() as folder:
        yield Path(folder) / "limits.db"


def test_a_full_disk_consumes_nothing(path: Path) -> None:
    outcomes = in_child(
        path,
        """
print(check(b"ada"))
limit_files(100_000)
while (outcome := check(os.urandom(1000))) == "True 4":
    continue
print(outcome)
limit_files(resource.RLIM_INFINITY)
print(check(b"ada"))
""",
    )
    assert outcomes == ["True 4", "database.full, True", "True 3"]


def test_no_room_for_a_new_file(path: Path) -> None:
    assert in_child(path, 'limit_files(1000)\nprint(check(b"ada"))') == ["database.full, True"]
    assert in_child(path, 'print(check(b"ada"))') == ["True 4"]


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o755), (0o000, 0o777), (0o444, 0o777)])
def test_a_file_that_cannot_be_written_is_an_error(path: Path, file: int, folder: int) -> None:
    assert in_child(path, 'print(check(b"ada"))') == ["True 4"]
    before = path.read_bytes()
    path.chmod(file)
    path.parent.chmod(folder)
    assert in_child(path, 'become_nobody()\nprint(check(b"ada"))') == ["database.unusable, True"]
    path.parent.chmod(0o700)
    path.chmod(0o600)
    assert path.read_bytes() == before
    assert in_child(path, 'print(check(b"ada"))') == ["True 3"]


def test_a_folder_that_cannot_be_written_is_an_error(path: Path) -> None:
    path.parent.chmod(0o555)
    (outcome,) = in_child(path.parent / "data" / path.name, 'become_nobody()\nprint(check(b"ada"))')
    assert outcome == "storage.folder_unusable, True"
    path.parent.chmod(0o700)
    assert os.listdir(path.parent) == []

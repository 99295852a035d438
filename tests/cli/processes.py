"""Runs commands at the same time, with fewer rights, or on a full disk."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cli.machines import Machine, Outcome

# Root ignores file permissions. Without these two capabilities, root has only the rights of an owner.
_AS_ORDINARY_OWNER = """
import ctypes, os, sys
library = ctypes.CDLL(None, use_errno=True)
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if library.prctl(24, capability, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
        raise OSError(ctypes.get_errno(), "cannot drop a capability")
os.execv(sys.argv[1], sys.argv[1:])
"""

_WITH_FILES_OF_AT_MOST = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""


def as_ordinary_owner(command: list[str]) -> list[str]:
    """Return the command without root's right to ignore file permissions; unchanged for other users."""
    return command if os.geteuid() != 0 else [sys.executable, "-c", _AS_ORDINARY_OWNER, *command]


def with_files_of_at_most(size: int, command: list[str]) -> list[str]:
    """Return the command with the size of its files limited to `size` bytes."""
    return [sys.executable, "-c", _WITH_FILES_OF_AT_MOST, str(size), *command]


def run_command(machine: Machine, command: list[str]) -> Outcome:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=machine.environment, cwd=machine.home, timeout=120
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_without_reader(machine: Machine, *arguments: str) -> tuple[int, bytes]:
    """Run the program and close its standard output at once. Return the exit code and the standard error."""
    with machine.start(*arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        return process.wait(timeout=60), process.stderr.read()


def together(machine: Machine, commands: Iterable[list[str]]) -> list[Outcome]:
    """Run all commands at the same time."""
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=machine.environment,
            cwd=machine.home,
        )
        for command in commands
    ]
    outcomes = []
    for process in started:
        out, err = process.communicate(timeout=120)
        outcomes.append(Outcome(process.returncode, out.decode(), err.decode()))
    return outcomes


def stop_when(
    process: "subprocess.Popen[bytes]", condition: Callable[[], bool], number: signal.Signals = signal.SIGKILL
) -> None:
    """Send the signal when `condition` is true. Fails if the process ends before that."""
    while not condition():
        assert process.poll() is None, "it ended before it could be stopped"
    process.send_signal(number)


# A full disk for one process: a small file system in a private mount namespace. If mounting is not allowed, even as
# root of a new user namespace, a limit on the size of files has a similar effect.
_ON_A_FULL_DISK = """
import ctypes, os, resource, sys
NEWNS, NEWUSER, REC_PRIVATE = 0x20000, 0x10000000, 1 << 14 | 1 << 18
library = ctypes.CDLL(None, use_errno=True)
folder, size, is_full, *command = sys.argv[1:]
user, group = os.geteuid(), os.getegid()

def mounted():
    if user and library.unshare(NEWUSER):
        return False
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    if library.unshare(NEWNS) or library.mount(b"none", b"/", None, REC_PRIVATE, None):
        return False
    options = f"size={size},mode=700,uid={user},gid={group}"
    return not library.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, options.encode())

try:
    works = mounted()
except OSError:
    works = False
if works and is_full == "True":
    with open(os.path.join(folder, "ballast"), "wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(512)):
                pass
        except OSError as error:
            assert error.errno == 28, error
elif not works and is_full == "True":
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
os.execv(command[0], command)
"""


@cache
def has_disks_of_its_own() -> bool:
    """Whether a process can mount a file system here."""
    with TemporaryDirectory() as folder:
        return (
            subprocess.run(on_a_full_disk(Path(folder), ["/bin/sh", "-c", f"test -e {folder}/ballast"])).returncode == 0
        )


def on_a_full_disk(folder: Path, command: list[str]) -> list[str]:
    """Return the command for a process in which the empty `folder` is a separate disk without a free byte."""
    return [sys.executable, "-c", _ON_A_FULL_DISK, str(folder), "65536", "True", *command]


def on_a_small_disk(folder: Path, size: int, command: list[str]) -> list[str]:
    """Return the command for a process in which the empty `folder` is a separate disk of `size` bytes, if possible."""
    return [sys.executable, "-c", _ON_A_FULL_DISK, str(folder), str(size), "False", *command]

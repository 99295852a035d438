"""System calls that fail on demand, to simulate a disk that is full or broken at any single write of a process.

A forked child installs a seccomp filter that reports the calls named here to its parent (seccomp_unotify(2), Linux 5.5
or later, no privileges needed). The parent lets each one pass or answers it with an error, so the code under test, the
libraries below it and their error handling run as they are.
"""

import array
import ctypes
import errno
import fcntl
import os
import pickle
import platform
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CALLS = ("seccomp", "write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate")
_NUMBERS = dict(
    zip(
        _CALLS,
        {
            "x86_64": (317, 1, 18, 20, 296, 74, 75, 77, 285),
            "aarch64": (277, 64, 68, 66, 70, 82, 83, 46, 47),
        }[platform.machine()],
        strict=True,
    )
)

WRITES = ("write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate")
FLUSHES = ("fsync", "fdatasync")

# linux/seccomp.h, linux/bpf_common.h, linux/prctl.h
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_USER_NOTIF, _ALLOW, _CONTINUE = 0x7FC00000, 0x7FFF0000, 1
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NO_NEW_PRIVILEGES = 38
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the child on an open file."""

    name: str
    path: str


Judge = Callable[[Call], int]
"""Returns the error number with which a call fails; 0 lets it pass."""


def fail_at(number: int, error: int, folder: Path, names: tuple[str, ...]) -> tuple[Judge, list[Call]]:
    """Fail only the `number`th call named in `names` on a file below `folder`; 0 fails none.

    The returned list collects all such calls as they happen.
    """
    seen: list[Call] = []

    def judge(call: Call) -> int:
        if call.name in names and Path(call.path).is_relative_to(folder):
            seen.append(call)
            return error if len(seen) == number else 0
        return 0

    return judge, seen


def fail_from(number: int, error: int, folder: Path, names: tuple[str, ...]) -> tuple[Judge, list[Call]]:
    """Do the same, but fail every call from the `number`th on, because a full disk stays full."""
    once, seen = fail_at(0, error, folder, names)

    def judge(call: Call) -> int:
        before = len(seen)
        once(call)
        return error if len(seen) > before and len(seen) >= number else 0

    return judge, seen


def run_with(judge: Judge, work: Callable[[], Any]) -> Any:
    """Run `work` in a forked child, judge its calls, and return its result. Raises AssertionError if the child dies."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ours.close()
            os.close(reading)
            _send(theirs, _listener(tuple(_NUMBERS[name] for name in (*WRITES, *FLUSHES))))
            answer = pickle.dumps(work())
            while answer:
                answer = answer[os.write(writing, answer) :]
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    theirs.close()
    os.close(writing)
    with ours:
        listener = _received(ours)
    with open(reading, "rb", buffering=0) as pipe:
        answer = _supervise(pid, listener, pipe.fileno(), judge)
    os.close(listener)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    return pickle.loads(answer)


def _listener(numbers: tuple[int, ...]) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    lines = [struct.pack("=HBBI", _LOAD_NUMBER, 0, 0, 0)]
    lines += [struct.pack("=HBBI", _JUMP_IF_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    lines += [struct.pack("=HBBI", _RETURN, 0, 0, action) for action in (_ALLOW, _USER_NOTIF)]
    code = ctypes.create_string_buffer(b"".join(lines))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(lines), ctypes.addressof(code)))
    assert library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    descriptor = library.syscall(_NUMBERS["seccomp"], _SET_MODE_FILTER, _NEW_LISTENER, program)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "no seccomp listener")
    return int(descriptor)


def _send(channel: socket.socket, descriptor: int) -> None:
    channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])


def _received(channel: socket.socket) -> int:
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    return descriptors[0]


def _supervise(pid: int, listener: int, answering: int, judge: Judge) -> bytes:
    """Judge the child's calls until it ends. Return what it wrote to `answering`."""
    names = {number: name for name, number in _NUMBERS.items()}
    answer = b""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(answering, select.POLLIN)
    while True:
        for descriptor, event in poll.poll():
            if descriptor == answering:
                piece = os.read(answering, 65_536)
                if not piece:
                    return answer
                answer += piece
            elif event & select.POLLIN:
                _judge_one(listener, pid, names, judge)


def _judge_one(listener: int, pid: int, names: dict[int, str], judge: Judge) -> None:
    notification = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, notification)
    except OSError as error:
        if error.errno == errno.ENOENT:  # the child was interrupted in the meantime
            return
        raise
    ident, _, _, number, _, _, descriptor, *_ = _NOTIFICATION.unpack(notification)
    try:
        path = os.readlink(f"/proc/{pid}/fd/{descriptor}").removesuffix(" (deleted)")
    except OSError:
        path = ""
    failure = judge(Call(names[number], path))
    fcntl.ioctl(listener, _SEND, _ANSWER.pack(ident, 0, -failure, 0 if failure else _CONTINUE))

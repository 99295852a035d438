"""Run a program on a separate terminal and type answers to its prompts."""

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Conversation:
    """The result: exit code, everything that was shown, and the prompts that never came."""

    code: int
    screen: bytes
    unasked: tuple[bytes, ...]


def converse(
    command: Sequence[str],
    keys: Sequence[tuple[str, str]],
    *,
    folder: Path,
    environment: Mapping[str, str],
    size: tuple[int, int] | None = None,
) -> Conversation:
    """Run a program to its end. `keys` are (text to wait for, text to type) in order, `size` is lines and columns."""
    master, slave = pty.openpty()
    if size is not None:
        termios.tcsetwinsize(slave, size)
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment, start_new_session=True
    )
    os.close(slave)
    screen, seen, waiting = b"", 0, [(shown.encode(), typed.encode()) for shown, typed in keys]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                block = os.read(master, 65536)
            except OSError:  # Linux reports EIO when the last writer has closed
                break
            if not block:
                break
            screen += block
        if waiting and (at := screen.find(waiting[0][0], seen)) >= 0:
            seen = at + len(waiting[0][0])
            os.write(master, waiting.pop(0)[1])
    os.close(master)  # hangs up a program that still waits
    return Conversation(process.wait(timeout=10), screen, tuple(shown for shown, _ in waiting))

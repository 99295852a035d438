"""Lets shell scripts start the program in a child of the warm interpreter, in about a tenth of the time.

A script in PATH stands for the program. It passes its arguments, environment, folder and streams to the tests through a
socket, and ends like the child. Commands that need a cold start (see `starter.py`) start their own interpreter.
"""

import atexit
import contextlib
import os
import shlex
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.starter import STARTER

_NUMBER_BYTES = 12
_COLD = "cold"
# Uses no module of the standard library that takes time to load.
_CLIENT = f"""
import _socket, array, os, sys

words = sys.argv[2:]
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect(sys.argv[1])
variables = [name + b"=" + value for name, value in os.environb.items()]
message = b"\\0".join([os.getcwdb(), b"%d" % len(words), *map(os.fsencode, words), *variables])
streams = array.array("i", [0, 1, 2])
server.sendmsg([b"%{_NUMBER_BYTES}d" % len(message)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
view = memoryview(message)
while view:
    view = view[server.send(view):]
answer = server.recv({_NUMBER_BYTES}).decode()
if answer == "{_COLD}":
    os.execv(sys.executable, [sys.executable, *words])
code = int(answer)
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def write_program(path: Path, command: Sequence[str]) -> None:
    """Write a program that runs a command with further arguments; the command line of an interpreter, warm."""
    words = list(command)
    if words[:1] == [sys.executable] and len(words) > 1:
        folder = _serving()
        words = [sys.executable, "-I", "-S", str(folder / "client.py"), str(folder / "socket"), *words[1:]]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)


@cache
def _serving() -> Path:
    """Start to serve the programs of this process. Return the folder with the client and the socket."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "client.py").write_text(_CLIENT)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    return folder


def _serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_run, args=(connection,), daemon=True).start()


def _run(connection: socket.socket) -> None:
    """Run one command, and answer with its exit code."""
    with connection, contextlib.suppress(OSError):
        header, streams, _, _ = socket.recv_fds(connection, _NUMBER_BYTES, 3)
        try:
            folder, count, *rest = _received(connection, int(header)).split(b"\0")
            words, variables = rest[: int(count)], rest[int(count) :]
            environment = dict(os.fsdecode(variable).split("=", 1) for variable in variables)
            if STARTER.is_cold(environment):
                connection.sendall(_COLD.encode())
                return
            command = [sys.executable, *map(os.fsdecode, words)]
            wait = STARTER.fork(
                command, env=environment, cwd=Path(os.fsdecode(folder)), streams=(streams[0], streams[1], streams[2])
            )
        finally:
            for descriptor in streams:
                os.close(descriptor)
        connection.sendall(str(wait()).encode())


def _received(connection: socket.socket, size: int) -> bytes:
    blocks = []
    while size:
        blocks.append(connection.recv(min(size, 1 << 20)))
        size -= len(blocks[-1])
    return b"".join(blocks)

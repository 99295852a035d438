"""Free ports for servers, and how a server ends with the process that started it."""

import random
import socket
import subprocess
from pathlib import Path

_PORTS = range(15000, 31000)  # below the ephemeral ports, so that a server gets its port back after a crash

# Ends a server whose test process was killed: the other end of the pipe is then closed.
_GUARD = 'read -r _ || { kill -QUIT "$1"; sleep 2; kill -KILL "$1"; rm -rf "$2"; }'


def free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def guarded(process: "subprocess.Popen[bytes]", folder: Path) -> "subprocess.Popen[bytes]":
    """Start a guard that ends the process and removes its folder when this process is killed.

    Send it a line to dismiss it.
    """
    return subprocess.Popen(
        ["sh", "-c", _GUARD, "sh", str(process.pid), folder], stdin=subprocess.PIPE, start_new_session=True
    )

"""Free ports for servers, and how a server ends with the process that started it."""

import random
import socket

_PORTS = range(15000, 31000)  # below the ephemeral ports, so that a server gets its port back after a crash

# Ends a server whose test process was killed: the other end of the pipe is then closed.
GUARD = 'read -r _ || { kill -QUIT "$1"; sleep 2; kill -KILL "$1"; rm -rf "$2"; }'


def free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port

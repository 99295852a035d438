"""A machine of its own for every test: an empty home, nothing configured, the real binary in a process."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True)
class Outcome:
    """How a command ended. `out` and `err` are text; undecodable bytes are kept as surrogates."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error document on stderr of a command run with `-o json`."""
        return json.loads(self.err)["error"]

    def succeeded(self) -> "Outcome":
        assert self.code == 0, f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"
        return self


class Machine:
    """Runs `python -m backctl` with a home of its own. Hashes cost little here unless a test says otherwise."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / ".local" / "share" / "backctl"
        self.config_file = home / ".config" / "backctl" / "config.toml"
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(_SOURCE),
            "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
        }

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "backctl", *args]

    def run(
        self,
        *args: str,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        **popen: Any,
    ) -> Outcome:
        """Run to the end without a terminal. `stdin` None is an empty pipe."""
        data = stdin.encode() if isinstance(stdin, str) else stdin or b""
        done = subprocess.run(
            self.command(*args),
            input=data,
            capture_output=True,
            env={**self.environment, **(env or {})},
            cwd=self.home,
            timeout=120,
            check=False,
            **popen,
        )
        return Outcome(
            done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")
        )

    def start(self, *args: str, env: Mapping[str, str] | None = None, **popen: Any) -> subprocess.Popen[bytes]:
        """Start without waiting; pipes are the caller's to give."""
        return subprocess.Popen(self.command(*args), env={**self.environment, **(env or {})}, cwd=self.home, **popen)

    def at_terminal(
        self, *args: str, keys: Sequence[tuple[str, str]] = (), env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run on a terminal of 100 columns. `keys` are (what to wait for, what to type) in order.

        What the command writes to the terminal, stdout and stderr alike, is `out`.
        """
        master, slave = pty.openpty()
        process = subprocess.Popen(
            self.command(*args),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**self.environment, "TERM": "xterm", "COLUMNS": "100", **(env or {})},
            cwd=self.home,
            start_new_session=True,
        )
        os.close(slave)
        screen, seen = b"", 0
        waiting = [(prompt.encode(), answer.encode()) for prompt, answer in keys]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.1)
            if ready:
                try:
                    block = os.read(master, 65536)
                except OSError:  # Linux says EIO when the last writer is gone
                    break
                if not block:
                    break
                screen += block
            if waiting and (at := screen.find(waiting[0][0], seen)) >= 0:
                seen = at + len(waiting[0][0])
                os.write(master, waiting.pop(0)[1])
        os.close(master)
        code = process.wait(timeout=10)
        return Outcome(code, screen.decode(errors="surrogateescape").replace("\r\n", "\n"), "")

    def create_user(self, name: str, *flags: str, email: str | None = None) -> dict[str, Any]:
        """An account without a password, made by the real command."""
        address = email or f"{name}@example.org"
        arguments = ("user", "create", address, "--username", name, "--no-password", "-o", "json", *flags)
        result: dict[str, Any] = self.run(*arguments).succeeded().json
        return result


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    return Machine(home)

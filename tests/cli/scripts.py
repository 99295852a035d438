"""Runs shell scripts in which `backctl` is the program of a machine."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cli.conftest import Machine


def programs(machine: Machine) -> Path:
    """Return a folder for PATH, outside the home folder, that contains `backctl`, `python` and `python3`."""
    folder = machine.home.with_name("bin")
    folder.mkdir(exist_ok=True)
    write_program(folder / "backctl", machine.command())
    for name in ("python", "python3"):
        write_program(folder / name, [sys.executable])
    return folder


def write_program(path: Path, command: Sequence[str]) -> None:
    """Write a program that runs a command with further arguments."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)


def environment_of(machine: Machine) -> dict[str, str]:
    """Return the environment of a shell that finds `backctl` on its PATH."""
    return {**machine.environment, "PATH": f"{programs(machine)}:{machine.environment['PATH']}"}


def run_script(machine: Machine, shell: str, script: str, *, environment: Mapping[str, str] | None = None) -> str:
    """Run a script that ends at the first command that fails, and return its output. It must succeed."""
    done = subprocess.run(
        [shell, "-euc", script],
        env={**environment_of(machine), **(environment or {})},
        cwd=machine.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout

"""Runs shell scripts in which `backctl` is the program of a machine."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cli.conftest import Machine
from tests.shell_programs import write_program

__all__ = ["environment_of", "programs", "run_script", "write_program"]


def programs(machine: Machine) -> Path:
    """Return a folder for PATH, outside the home folder, that contains `backctl`, `python` and `python3`."""
    folder = machine.home.with_name("bin")
    folder.mkdir(exist_ok=True)
    write_program(folder / "backctl", machine.command())
    for name in ("python", "python3"):
        write_program(folder / name, [sys.executable])
    return folder


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

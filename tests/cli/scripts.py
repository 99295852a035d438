"""Runs shell scripts in which `backctl` is the program of a machine."""

import shlex
import subprocess
from collections.abc import Mapping

from tests.cli.conftest import Machine


def run_script(machine: Machine, shell: str, script: str, *, environment: Mapping[str, str] | None = None) -> str:
    """Run a script that ends at the first command that fails, and return its output. It must succeed."""
    done = subprocess.run(
        [shell, "-euc", f'backctl() {{ {shlex.join(machine.command())} "$@"; }}\n{script}'],
        env={**machine.environment, **(environment or {})},
        cwd=machine.home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout

"""What a run of the tests says about programs that are not installed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(**environment: str) -> "subprocess.CompletedProcess[str]":
    """Run one quick test without any of the programs."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/unit/test_tables.py"]
    inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    return subprocess.run(
        command, cwd=ROOT, env={**inherited, "PATH": "/nowhere", **environment}, capture_output=True, text=True
    )


def test_the_last_line_names_what_was_not_tested_and_what_to_install() -> None:
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == (
        "not tested: completion in bash, completion in zsh, completion in fish, TLS and PgBouncer, "
        "whether git names the same commit of a checkout, how docs/ci.md stores secrets, Redis (Valkey stands in for "
        "it); to test it, install bash, zsh, fish, pgbouncer, git, jq, redis-server"
    )


def test_nothing_may_be_missing_under_ci() -> None:
    done = run(CI="true")
    assert done.returncode == 4
    assert "CI=true allows no gaps; not tested: completion in bash" in done.stdout + done.stderr

"""The memory for a stream does not depend on its length."""

import os
import subprocess

import pytest
from tests.cli.conftest import Machine

pytestmark = [pytest.mark.every_database, pytest.mark.long]

MILLION = 1_000_000
SECRETS = ("--include-hashes", "--include-mfa", "--yes")

# The id is derived from the number in a way that works on every database.
_FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
INSERT INTO users (id, email, email_key, email_domain, username, username_key, role, is_active, must_change_password,
    mfa_state, created_at, updated_at, version)
SELECT {id}, 'u' || n || '@example.org', 'u' || n || '@example.org', 'example.org', 'user' || n, 'user' || n, 'user',
    {true}, {false}, 'off', n, n, 1 FROM numbers
"""
_ID = "'0192f3a0-0000-7000-8000-' || substr(CAST(1000000000000 + n AS TEXT), 2)"


@pytest.fixture
def crowded(machine: Machine) -> Machine:
    """Return an installation with a million accounts."""
    machine.run("init").succeeded()
    on_server = bool(machine.stored())
    words = {"id": f"CAST({_ID} AS uuid)", "true": "true", "false": "false"}
    machine.rows(_FILL.format(**(words if on_server else {"id": _ID, "true": "1", "false": "0"})), MILLION)
    return machine


def peak(machine: Machine, *arguments: str, lines: int = MILLION) -> int:
    """Return the peak memory of a command that prints that many lines, in the platform's unit."""
    with machine.start(*arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        stdout = process.stdout
        printed = sum(block.count(b"\n") for block in iter(lambda: stdout.read(1 << 20), b""))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert (process.returncode, printed) == (0, lines)
    return usage.ru_maxrss


@pytest.mark.parametrize("form", ["jsonl", "tsv"])
def test_a_million_accounts_take_hardly_more_memory_than_a_thousand(crowded: Machine, form: str) -> None:
    whole = ("user", "list", "--no-header", "-o", form)
    assert peak(crowded, *whole, "--all") < 1.2 * peak(crowded, *whole, "--limit", "1000", lines=1000)


@pytest.mark.parametrize("flags", [(), ("--format", "json"), ("--format", "csv", "--no-header"), SECRETS])
def test_an_export_of_a_million_accounts_takes_hardly_more_memory_than_one_of_a_thousand(
    crowded: Machine, flags: tuple[str, ...]
) -> None:
    whole = ("user", "export", *flags)
    few = ("--created-before", "1970-01-01T00:00:00.001001Z")
    assert peak(crowded, *whole) < 1.2 * peak(crowded, *whole, *few, lines=1000)

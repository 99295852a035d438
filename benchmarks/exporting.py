"""The export of a million accounts, compared with Django's iterator over its accounts and the csv module."""

import csv
import io
import json
from collections.abc import Callable
from itertools import islice

from benchmarks.measure import Command, Output, interleaved
from benchmarks.report import Comparison, Figure, section
from benchmarks.sandbox import DJANGO, Sandbox
from benchmarks.seeding import Account, accounts

MEMORY_BOUND = 120_000_000
_COUNT = 1_000_000
_COMPARED = 1000
"""The lines of the output that are checked; of the others, only the number."""

_LINES, _CSV, _HASHES, _DJANGO = "jsonl", "csv", "jsonl, with hashes", "Django, csv"


def exporting(sandbox: Sandbox, rounds: int) -> str:
    """A million accounts on SQLite and on PostgreSQL, with all columns that the other program has."""
    server = sandbox.server()
    places = {
        "SQLite": (sandbox.installation("exported", _COUNT).environment, sandbox.django(_COUNT).environment),
        "PostgreSQL": (
            sandbox.installation_on(server, "exported-on-server", _COUNT),
            sandbox.django_on(server, _COUNT),
        ),
    }
    sections = []
    for place, (ours, django) in places.items():
        export = (*sandbox.backctl, "user", "export")
        commands = [
            Command(_LINES, export, ours, _are_lines),
            Command(_HASHES, (*export, "--include-hashes", "--yes"), ours, _are_lines),
            Command(_CSV, (*export, "--format", "csv"), ours, _is_csv("created_at")),
            Command(_DJANGO, (*DJANGO, "export_users", "--skip-checks"), django, _is_csv("date_joined")),
        ]
        timings = interleaved(commands, max(1, rounds // 10))
        names = (_LINES, _HASHES, _CSV)
        comparisons = [Comparison(name, _DJANGO, 1.0) for name in names]
        peaks = {name: timings[name].peak_rss for name in names}
        figures = [
            Figure(f"{name}: peak memory, MB", f"{peak / 1e6:.0f}", f"< {MEMORY_BOUND / 1e6:.0f}", peak < MEMORY_BOUND)
            for name, peak in peaks.items()
        ]
        figures += [Figure(f"{name}: accounts per second", f"{_COUNT / timings[name].median:,.0f}") for name in timings]
        sections.append(section(f"user export, {_COUNT:,} accounts on {place}", timings, comparisons, figures))
    return "\n".join(sections)


def _are_lines(output: Output) -> bool:
    lines = map(json.loads, output.head.split(b"\n", _COMPARED)[:-1])
    return output.lines == _COUNT and all(
        (found["id"], found["email"], found["created_at"]) == (account.id, account.email, account.created)
        for found, account in zip(lines, accounts(_COMPARED), strict=True)
    )


def _is_csv(created: str) -> Callable[[Output], bool]:
    """Return a check of CSV with a header. `created` is the column with the time of creation."""

    def check(output: Output) -> bool:
        rows = islice(csv.DictReader(io.StringIO(output.head.decode(errors="ignore"))), _COMPARED)
        return output.lines == _COUNT + 1 and all(
            (found["email"], found["username"], found[created][:10]) == _shown(account)
            for found, account in zip(rows, accounts(_COMPARED), strict=True)
        )

    return check


def _shown(account: Account) -> tuple[str, str, str]:
    return account.email, account.username, account.created[:10]

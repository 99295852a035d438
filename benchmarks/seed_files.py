"""Seed files: 200 new accounts with one shared hash, the same accounts unchanged, and 100,000 unchanged ones."""

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.importing import restoring
from benchmarks.measure import Command, Output, Timing, interleaved
from benchmarks.report import Figure, section
from benchmarks.sandbox import Installation, Sandbox
from benchmarks.seeding import HASH

MEMORY_BOUND = 200_000_000
_FEW, _MANY = 200, 100_000
_NEW_BOUND, _UNCHANGED_BOUND, _MANY_BOUND = 2.0, 0.5, 5.0
"""Seconds."""


def applying(sandbox: Sandbox, rounds: int) -> str:
    """`apply` and `plan` on SQLite, with accounts that a file lists in YAML or JSON, and with generated ones."""
    ours = sandbox.installation("seeded", 0)
    return _few(sandbox, ours, max(1, rounds // 4)) + "\n" + _many(sandbox, ours, max(1, rounds // 10))


def _few(sandbox: Sandbox, ours: Installation, rounds: int) -> str:
    source = _generated(sandbox, _FEW)
    created, unchanged = "apply, new", "apply, unchanged"
    command = _command(sandbox, ours, created, source, _created(_FEW), before=restoring(ours.database))
    timings = interleaved([command], rounds)
    timings |= interleaved([_command(sandbox, ours, unchanged, source, _unchanged(_FEW))], rounds)
    figures = [_time(timings, created, _NEW_BOUND), _time(timings, unchanged, _UNCHANGED_BOUND)]
    return section(f"apply, {_FEW} accounts with one shared hash", timings, (), figures)


def _many(sandbox: Sandbox, ours: Installation, rounds: int) -> str:
    listed = {"generate": _generated(sandbox, _MANY), "JSON": _json(sandbox, _MANY), "YAML": _yaml(sandbox, _MANY)}
    _command(sandbox, ours, "apply", listed["generate"], lambda output: True).run(0)
    commands = [_command(sandbox, ours, name, source, _unchanged(_MANY)) for name, source in listed.items()]
    timings = interleaved(commands, rounds)
    figures = [_time(timings, name, _MANY_BOUND) for name in listed]
    figures += [_peak(timings, name) for name in listed]
    return section(f"apply, {_MANY:,} unchanged accounts", timings, (), figures)


def _command(
    sandbox: Sandbox,
    ours: Installation,
    name: str,
    source: Path,
    check: Callable[[Output], bool],
    *,
    before: Callable[[], None] = lambda: None,
) -> Command:
    return Command(name, (*sandbox.backctl, "apply", str(source), "-o", "json"), ours.environment, check, before=before)


def _time(timings: dict[str, Timing], name: str, bound: float) -> Figure:
    taken = timings[name].median
    return Figure(f"{name}: seconds", f"{taken:.2f}", f"<= {bound}", taken <= bound)


def _peak(timings: dict[str, Timing], name: str) -> Figure:
    peak = timings[name].peak_rss
    return Figure(f"{name}: peak memory, MB", f"{peak / 1e6:.0f}", f"< {MEMORY_BOUND / 1e6:.0f}", peak < MEMORY_BOUND)


# Checks.


def _created(count: int) -> Callable[[Output], bool]:
    return lambda output: json.loads(output.head)["created"] == count


def _unchanged(count: int) -> Callable[[Output], bool]:
    def check(output: Output) -> bool:
        report = json.loads(output.head)
        return (report["unchanged"], report["changed"]) == (count, False)

    return check


# The files. All of them declare the same accounts.


def _generated(sandbox: Sandbox, count: int) -> Path:
    (sandbox.root / "test.hash").write_text(HASH)
    source = sandbox.root / f"generated-{count}.yaml"
    source.write_text(
        "version: 1\nname: benchmark\ngenerate:\n"
        f"  count: {count}\n"
        "  email: user{n}@example.org\n"
        "  username: user{n}\n"
        "  state: active\n"
        "  role: user\n"
        "  password_hash: {file: test.hash}\n"
    )
    return source


def _yaml(sandbox: Sandbox, count: int) -> Path:
    source = sandbox.root / f"listed-{count}.yaml"
    with source.open("w") as file:
        file.write("version: 1\nname: benchmark\nusers:\n")
        file.writelines(
            f"  - {{email: user{number}@example.org, username: user{number}, role: user, state: active}}\n"
            for number in range(1, count + 1)
        )
    return source


def _json(sandbox: Sandbox, count: int) -> Path:
    source = sandbox.root / f"listed-{count}.json"
    users = [
        {"email": f"user{number}@example.org", "username": f"user{number}", "role": "user", "state": "active"}
        for number in range(1, count + 1)
    ]
    source.write_text(json.dumps({"version": 1, "name": "benchmark", "users": users}))
    return source

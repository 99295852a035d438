"""`python -m benchmarks [CASE…] [--rounds N] [--output FILE]`: measure, and print what was measured.

A missed target ends with 0 like a met one: times belong to a machine and its load. Only a command that fails or
answers wrongly ends with 1.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.measure import Broken
from benchmarks.report import machine
from benchmarks.sandbox import Sandbox


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="Measure backctl beside its peers, process by process."
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; all if none is named")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="runs of each command (%(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report to this file too")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"unknown case {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    if options.rounds < 1:
        parser.error("--rounds starts at 1")

    report = [f"# backctl beside its peers\n\n{machine()}\n"]
    print(report[0], flush=True)
    for name in options.cases or CASES:
        try:
            with Sandbox() as sandbox:
                part = CASES[name](sandbox, options.rounds)
        except Broken as broken:
            print(f"benchmarks: error: {name}: {broken}", file=sys.stderr)
            return 1
        print(part, flush=True)
        report.append(part)
    if options.output:
        options.output.write_text("\n".join(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

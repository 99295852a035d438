"""Run the benchmarks and print the results: `python -m benchmarks [CASE…] [--rounds N] [--long] [--output FILE]`.

The exit code does not depend on the targets, because times depend on the machine and its load. It is 1 only if a
command fails or gives a wrong answer.
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
        prog="benchmarks", description="Measure backctl and comparable tools, one process at a time."
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)}; default: all")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="runs of each command (%(default)s)")
    parser.add_argument("--long", action="store_true", help="measure memory with more accounts")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the report to this file")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"unknown case {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")

    report = [f"# backctl compared with other tools\n\n{machine()}\n"]
    print(report[0], flush=True)
    for name in options.cases or CASES:
        try:
            with Sandbox(long=options.long) as sandbox:
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

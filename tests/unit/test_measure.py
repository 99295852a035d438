"""The benchmarks measure the memory of a command correctly, whatever memory the measuring process uses."""

import sys

import pytest
from benchmarks.measure import Broken, Command

MIB = 1 << 20
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def python(program: str, exit_code: int = 0) -> Command:
    return Command("python", (sys.executable, "-I", "-S", "-c", program), ENVIRONMENT, exit_code=exit_code)


def test_memory_of_the_measuring_process_is_not_counted() -> None:
    held = bytearray(b"x") * (200 * MIB)
    run = python("print('done')").run(1)
    assert len(held) == 200 * MIB
    assert run.peak_rss < 40 * MIB
    assert run.output.head == b"done\n"


def test_memory_of_the_command_is_counted() -> None:
    run = python(f"held = bytearray(b'x') * {100 * MIB}").run(1)
    assert 100 * MIB < run.peak_rss < 140 * MIB
    assert run.seconds > 0


def test_output_of_any_size_is_read() -> None:
    run = python(f"import os\nfor _ in range(64): os.write(1, b'y' * {MIB})").run(1)
    assert run.output.size == 64 * MIB


def test_another_exit_code_ends_the_benchmark() -> None:
    assert python("raise SystemExit(3)", exit_code=3).run(1).output.size == 0
    with pytest.raises(Broken, match="ended with 3: told why"):
        python("import sys\nsys.stderr.write('told why')\nraise SystemExit(3)").run(1)


def test_a_command_that_does_not_exist_ends_the_benchmark() -> None:
    with pytest.raises(Broken, match="did not start"):
        Command("missing", ("/nowhere/program",), ENVIRONMENT).run(1)

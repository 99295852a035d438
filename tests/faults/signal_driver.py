"""Runs the program and sends it a signal at its nth function call: `NUMBER CALL FOLDER ARGUMENTS…`, 0 for none.

Writes how many calls there were to the file `calls` in FOLDER. Calls of the interpreter's own end are counted too.
"""

import itertools
import os
import sys
from pathlib import Path

number, at, folder, *arguments = sys.argv[1:]
sys.argv[1:] = arguments

from backctl.__main__ import main  # noqa: E402 - the arguments are its own
from backctl.presentation import app  # noqa: F401, E402 - a command begins with its modules loaded

calls = itertools.count(1)


def count(_frame: object, event: str, _argument: object) -> None:
    if event == "call" and next(calls) == int(at):
        os.kill(os.getpid(), int(number))


sys.setprofile(count)
code = main()
sys.setprofile(None)
Path(folder, "calls").write_text(str(next(calls)))
sys.exit(code)

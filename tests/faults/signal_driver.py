"""Run the program and send it a signal at its nth function call: `NUMBER CALL FOLDER ARGUMENTS…`; CALL 0 sends none.

Writes the number of calls to the file `calls` in FOLDER. Calls during interpreter shutdown are included.
"""

import itertools
import os
import sys
from pathlib import Path

number, at, folder, *arguments = sys.argv[1:]
sys.argv[1:] = arguments

from backctl.__main__ import main  # noqa: E402 - importing it must not see the driver's arguments
from backctl.presentation import app  # noqa: F401, E402 - loads the modules before the calls are counted

calls = itertools.count(1)


def count(_frame: object, event: str, _argument: object) -> None:
    if event == "call" and next(calls) == int(at):
        os.kill(os.getpid(), int(number))


sys.setprofile(count)
code = main()
sys.setprofile(None)
Path(folder, "calls").write_text(str(next(calls)))
sys.exit(code)

"""Runs the program and fails the nth call that has a canary in reach: `CANARY CALL FORM FOLDER ARGUMENTS…`.

FORM says how: `plain` as any bug would, `words` as a library does that repeats in its error what it was given. CALL 0
fails none. Writes to the file `calls` in FOLDER how many such calls there were.
"""

import itertools
import sys
from pathlib import Path
from types import FrameType

canary, at, form, folder, *arguments = sys.argv[1:]
sys.argv[1:] = arguments

from backctl.__main__ import main  # noqa: E402 - the arguments are its own
from backctl.presentation import app  # noqa: E402 - a command begins with its modules loaded

PACKAGE = str(Path(app.__file__).parents[1])
calls = itertools.count(1)


def text_of(value: object) -> str:
    for _ in range(3):  # a secret in a secret
        value = getattr(value, "_text", value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def fail(frame: FrameType, event: str, _argument: object) -> None:
    if event != "call" or not frame.f_code.co_filename.startswith(PACKAGE):
        return
    found = next((text for text in map(text_of, frame.f_locals.values()) if canary in text), None)
    if found is not None and next(calls) == int(at):
        raise RuntimeError("a bug") if form == "plain" else ValueError(f"invalid: {found!r}")


sys.setprofile(fail)
code = main()
sys.setprofile(None)
Path(folder, "calls").write_text(str(next(calls) - 1))
sys.exit(code)

"""Run the program and raise an error in its nth call that can read a canary: `CANARY CALL FORM FOLDER ARGUMENTS…`.

FORM is `plain` for an ordinary bug, or `words` for a library whose error message repeats its arguments. CALL 0 raises
no error. Writes the number of such calls to the file `calls` in FOLDER.
"""

import itertools
import sys
from pathlib import Path
from types import FrameType

canary, at, form, folder, *arguments = sys.argv[1:]
sys.argv[1:] = arguments

from backctl.__main__ import main  # noqa: E402 - importing it must not see the driver's arguments
from backctl.presentation import app  # noqa: E402 - loads the modules before the calls are counted

PACKAGE = str(Path(app.__file__).parents[1])
calls = itertools.count(1)


def text_of(value: object) -> str:
    for _ in range(3):  # a secret can contain a secret
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

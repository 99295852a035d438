"""A program with test commands in place of the real ones; everything else is the same."""

import gc
import sys
from collections.abc import Mapping
from typing import ClassVar

import typer

from backctl.presentation.app import Root, run
from backctl.presentation.commands import NOUNS, Entry


class Frame(Root):
    nouns: ClassVar[Mapping[str, Entry]] = {
        "item": Entry("item", "Things to test with."),
        "ping": Entry("ping", "Answer.", verb=True),
        "help": NOUNS["help"],
    }


def frame() -> None:
    """Test the frame."""


if __name__ == "__main__":
    gc.disable()
    app = typer.Typer(cls=Frame, callback=frame, add_completion=False, pretty_exceptions_enable=False)
    sys.exit(run(sys.argv[1:], app))

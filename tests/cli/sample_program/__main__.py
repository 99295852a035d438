"""A program with nouns made for the tests; everything else is as in backctl."""

import gc
import sys
from collections.abc import Mapping
from typing import ClassVar

import typer

from backctl.presentation.app import Root, run
from backctl.presentation.commands import NOUNS, Entry


class SampleRoot(Root):
    nouns: ClassVar[Mapping[str, Entry]] = {
        "item": Entry("item", "Things to test with."),
        "ping": Entry("ping", "Answer.", verb=True),
        "help": NOUNS["help"],
    }


def sample() -> None:
    """Test what all commands have in common."""


if __name__ == "__main__":
    gc.disable()
    app = typer.Typer(cls=SampleRoot, callback=sample, add_completion=False, pretty_exceptions_enable=False)
    sys.exit(run(sys.argv[1:], app))

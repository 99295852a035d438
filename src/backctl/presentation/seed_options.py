"""The arguments and options that `backctl plan` and `backctl apply` share."""

import os
import stat
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from backctl.domain.errors import InputTooLarge, InvalidInput, UsageError
from backctl.domain.quoting import quoted
from backctl.presentation.input_files import NamedFile

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAN_MAX = 512 << 20
"""The most bytes of a saved plan: the changes of a million accounts have about 400 MB."""
_BEGINNING = 256


class PruneMode(StrEnum):
    CLOSE = "close"
    DELETE = "delete"


SeedFiles = Annotated[
    list[str] | None, Argument(metavar="FILE...", help="Seed files, which end with .yaml, .toml or .json.")
]
SeedsOrPlan = Annotated[
    list[str] | None, Argument(metavar="FILE...", help="Seed files, or one plan that 'plan --out' has saved.")
]
Prune = Annotated[
    PruneMode | None,
    Option(
        "--prune",
        metavar="[=close|delete]",
        help="Close the accounts that these seeds created and no longer list; --prune=delete deletes them.",
    ),
]


def named_files(files: "Sequence[str] | None", prune: PruneMode | None) -> tuple[str, ...]:
    """Raises UsageError without files, and for `--prune delete`, whose mode looks like a file."""
    for file in files or ():
        if prune is not None and file in list(PruneMode) and not os.path.lexists(file):
            raise UsageError(f"there is no file {quoted(file)}", hint=f"write --prune={file}, with an equals sign")
    if not files:
        raise UsageError("no file was given", hint="name a seed file, which ends with .yaml, .toml or .json")
    return tuple(files)


def saved_plan(files: "Sequence[str]") -> str | None:
    """Return the text of a saved plan if that is what was given, else None.

    Raises UsageError for a file that cannot be read, and for a plan among other files; InputTooLarge, InvalidInput.
    """
    plans = [file for file in files if _is_plan(file)]
    if not plans:
        return None
    if len(files) > 1:
        raise UsageError(f"{quoted(plans[0])} is a saved plan, which is applied alone", hint="name only the plan")
    with NamedFile("FILE", plans[0]) as file:
        raw = bytearray()
        while len(raw) <= _PLAN_MAX and (block := file.read(1 << 20)):
            raw += block
    if len(raw) > _PLAN_MAX:
        raise InputTooLarge(f"{quoted(plans[0])} has more than {_PLAN_MAX >> 20} MiB", hint="split the seed files")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{quoted(plans[0])} is not UTF-8 text") from None


def _is_plan(path: str) -> bool:
    from backctl.application.seeding.plan import is_saved_plan

    if path == "-":
        return False
    with NamedFile("FILE", path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return False  # reading the beginning of a pipe would consume it
        return is_saved_plan((file.read(_BEGINNING) or b"").decode("utf-8", "replace"))

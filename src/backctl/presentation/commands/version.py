"""`backctl version`: show the versions of the program and of what it uses."""

from dataclasses import dataclass

from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("version")


@dataclass(frozen=True, slots=True)
class VersionView:
    """The versions of a program. `schema_revision` is the one that it requires of a database."""

    version: str
    commit: str | None
    python: str
    sqlite: str
    schema_revision: str
    libraries: dict[str, str]


@leaf(
    app,
    view=VersionView,
    examples="""
    # Show everything that a bug report needs
    backctl version
    # Print the schema revision, for example to compare two machines
    backctl version --fields schema_revision --no-header
    """,
)
def version(call: Invocation) -> None:
    """Show the versions of backctl, its libraries and its schema.

    The commit is known in a checkout, and if pip installed backctl from a repository. Use 'backctl --version' for the
    version alone.
    """
    from backctl import __version__
    from backctl.wiring.build import build

    call.results.show(VersionView(__version__, *build()))

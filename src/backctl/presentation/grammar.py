"""How a command is declared: nouns that hold leaves, and what a leaf adds to its function.

A noun's module is imported when its name is typed, and a leaf's parameters are worked out when the leaf is called:
the other leaves of the noun cost nothing. A command module reads

    app = noun("user")

    @leaf(app, mutation=True, view=UserView, secrets=("password",))
    def create(call: Invocation, email: Annotated[str, Argument(metavar="EMAIL")]) -> None:
        \"\"\"Create an account.\"\"\"
"""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from typer import Argument

from backctl.presentation.commands import NOUNS, WITHIN, Entry

Command = TypeVar("Command", bound=Callable[..., None])
Guard = Literal["yes", "name"]
View = type | Callable[[], type]

Idents = Annotated[
    list[str] | None,
    Argument(metavar="IDENT...", help="Ids, e-mail addresses or usernames; a single '-' is standard input."),
]
"""The positional of a bulk command (`leaf(…, bulk=True)`): hand it to `Invocation.each` as it is."""


class LeafSpec:
    """What `leaf` was told about one command function."""

    __slots__ = ("bulk", "function", "guard", "members", "mutation", "name", "secrets", "view")

    def __init__(
        self,
        function: Callable[..., None],
        name: str,
        *,
        mutation: bool,
        guard: Guard | None,
        bulk: bool,
        secrets: tuple[str, ...],
        view: View | None,
        members: tuple[str, ...],
    ) -> None:
        self.function = function
        self.name = name
        self.mutation = mutation
        self.guard = guard
        self.bulk = bulk
        self.secrets = secrets
        self.view = view
        self.members = members


class Noun:
    """A group of leaves, and of nouns below it, which are not imported with it."""

    __slots__ = ("help", "leaves", "name", "nouns")

    def __init__(self, name: str, summary: str) -> None:
        self.name = name
        self.help = summary
        self.leaves: dict[str, LeafSpec] = {}
        self.nouns: dict[str, Entry] = {}


def noun(name: str, summary: str | None = None, *, within: str | None = None) -> Noun:
    """Declare a noun. Without `summary` it takes its line of the root's table, or of the one of the noun `within`."""
    made = Noun(name, summary if summary is not None else (WITHIN[within] if within else NOUNS)[name].help)
    if within is None:
        made.nouns.update(WITHIN.get(name, {}))
    return made


def leaf(
    app: Noun,
    *,
    name: str | None = None,
    mutation: bool = False,
    guard: Guard | None = None,
    bulk: bool = False,
    secrets: tuple[str, ...] = (),
    view: View | None = None,
    members: tuple[str, ...] = (),
) -> Callable[[Command], Command]:
    """Make the function a command of `app`, named like the function with dashes unless `name` says otherwise.

    The function's first parameter is the `Invocation`; the others are Typer's. Its docstring is the help.

    - `mutation` adds `--dry-run` and `--yes` (a protected profile asks for every mutation) and lets `-q` drop the
      result.
    - `guard="yes"` says that the command calls `Invocation.confirm`; `guard="name"` adds `--confirm NAME` for
      `Invocation.confirm_name`.
    - `bulk` adds `--from-file` and `--max-changes`; declare the positional as `Idents` and call `Invocation.each`.
    - `secrets` adds the four flags of each secret named; read it with `Invocation.secret`.
    - `view` is the class of the objects printed, or a function returning it (imported only when needed): `--fields` is
      then checked before anything happens. `members` names what else the result may hold, such as `password`.
    """

    def declare(function: Command) -> Command:
        spelling = name or function.__name__.replace("_", "-")
        app.leaves[spelling] = LeafSpec(
            function,
            spelling,
            mutation=mutation,
            guard=guard,
            bulk=bulk,
            secrets=secrets,
            view=view,
            members=members,
        )
        return function

    return declare

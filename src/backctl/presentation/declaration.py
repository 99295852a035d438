"""Declares commands: nouns, and the leaf commands that they contain.

The module of a noun is imported when its name is typed, and the parameters of a leaf are built when it is called, so
other commands cost nothing. A command module looks like this:

    app = noun("user")

    @leaf(app, changes="create {email}", view=UserView, secrets=("password",))
    def create(call: Invocation, email: Annotated[str, Argument(metavar="EMAIL")]) -> None:
        \"\"\"Create an account.\"\"\"
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeVar

from backctl.domain.quoting import escaped
from backctl.presentation.commands import NOUNS, WITHIN, Entry

Command = TypeVar("Command", bound=Callable[..., None])
Guard = Literal["yes", "name"]
View = type | Callable[[], type]
Kind = Literal["object", "list", "check", "checks", "value", "mutation", "plan", "nothing"]
"""What a command prints: an object, a list, one answer or several, a value, a changed object, or a plan."""

FURTHER_MEMBERS = {
    "changed": bool,
    "dry_run": bool,
    "error": dict,
    "ident": str,
    "line": int,
    "password": str,
    "recovery_codes": tuple[str, ...],
    "secret": str,
    "secret_file": str,
    "uri": str,
}
"""Members that results can have in addition to those of their view, with their types."""


class LeafSpec(NamedTuple):
    """The declaration of one leaf command; see `leaf`."""

    function: Callable[..., None]
    name: str
    changes: str | None
    records: bool
    guard: Guard | None
    bulk: bool
    secrets: tuple[str, ...]
    kind: Kind
    view: View | None
    others: Mapping[str, tuple[Kind, View]]
    members: tuple[str, ...]
    examples: str

    @property
    def mutation(self) -> bool:
        """Whether the command can change something."""
        return self.changes is not None

    def views(self) -> tuple[type, ...]:
        """Return the classes of all results of the command."""
        declared = () if self.view is None else (self.view, *(view for _, view in self.others.values()))
        return tuple(view if isinstance(view, type) else view() for view in declared)

    def further(self) -> tuple[str, ...]:
        """Return the members that a result can have in addition to those of its view."""
        return ("changed", "dry_run", *self.members) if self.mutation else self.members

    def fields(self) -> tuple[str, ...]:
        """Return the names that `--fields` accepts."""
        from backctl.presentation.output import members

        of_views = (name for view in self.views() for name in members(view))
        return tuple(dict.fromkeys((*of_views, *self.further())))

    def described(self, parameters: Mapping[str, object]) -> str:
        """What a mutation changes, for a question: `changes` with the values of its parameters."""
        shown = {name: escaped(str(value)) for name, value in parameters.items() if value is not None}
        return (self.changes or self.name).format_map(shown)


class Noun:
    """A group of leaf commands and of further nouns. Those are not imported with it."""

    __slots__ = ("help", "leaves", "name", "nouns")

    def __init__(self, name: str, summary: str) -> None:
        self.name = name
        self.help = summary
        self.leaves: dict[str, LeafSpec] = {}
        self.nouns: dict[str, Entry] = {}


def noun(name: str, summary: str | None = None, *, within: str | None = None) -> Noun:
    """Declare a noun. `summary` is by default its entry in NOUNS, or in WITHIN for a noun within another."""
    made = Noun(name, summary if summary is not None else (WITHIN[within] if within else NOUNS)[name].help)
    if within is None:
        made.nouns.update(WITHIN.get(name, {}))
    return made


def leaf(
    app: Noun,
    *,
    name: str | None = None,
    changes: str | None = None,
    records: bool = False,
    guard: Guard | None = None,
    bulk: bool = False,
    secrets: tuple[str, ...] = (),
    kind: Kind = "object",
    view: View | None = None,
    others: Mapping[str, tuple[Kind, View]] = MappingProxyType({}),
    members: tuple[str, ...] = (),
    examples: str = "",
) -> Callable[[Command], Command]:
    """Make the function a command of `app`. Its name is that of the function, with dashes, unless `name` is given.

    The first parameter of the function is the `Invocation`; Typer parses the others. A parameter whose type is a
    dataclass or a named tuple stands for the options that its fields declare. The docstring is the help.

    - `changes` says what a mutation changes, for example "deactivate {ident}"; a protected profile asks this before
      the first change. Names in braces are parameters of the function. It also adds `--dry-run` and `--yes`.
    - `records` declares a command that changes nothing but records events. Like a mutation, it has `--actor` and
      `--reason`; a query has neither.
    - `guard="yes"`: the command calls `call.guard.confirm`. `guard="name"`: it calls `call.guard.confirm_name`, and
      the option `--confirm NAME` is added.
    - `bulk` adds `--from-file` and `--max-changes`. Declare the positional as `Idents` and call `change_each`, which
      asks before it changes several accounts. A bulk command is a mutation, and its guard is "yes" unless it is "name".
    - `secrets` adds the four options of each secret; read it with `call.secrets.read`.
    - `kind` is what the command prints; a command with `changes` prints a mutation.
    - `view` is the class of the printed objects, or a function that imports and returns it; `others` are the kinds
      and classes of other results, by the option that selects them. `--fields` is checked against them before anything
      happens. `members` are names of FURTHER_MEMBERS that some results also have.
    - `examples` are two or three commands for the help, each after a line `# What it does`. A test runs them.
    """

    def declare(function: Command) -> Command:
        spelling = name or function.__name__.replace("_", "-")
        asks = guard or ("yes" if bulk else None)
        app.leaves[spelling] = LeafSpec(
            function=function,
            name=spelling,
            changes=changes,
            records=records or changes is not None,
            guard=asks,
            bulk=bulk,
            secrets=secrets,
            kind="mutation" if changes is not None else kind,
            view=view,
            others=others,
            members=members,
            examples=examples,
        )
        return function

    return declare

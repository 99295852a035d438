"""What can be typed after the program's name, read from the commands themselves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from typer._click.core import Command, Context, Parameter
from typer._types import TyperChoice
from typer.core import TyperOption

from backctl.presentation.app import HELP_FLAGS, PROGRAM, Group, Root

_WORD = re.compile(r"-{0,2}[A-Za-z0-9][A-Za-z0-9@._+-]*")
"""What is offered to a shell as it is: nothing in it can be expanded or evaluated."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a flag or a positional takes: one of `choices`, else the name of a file, else what nobody can guess."""

    name: str
    choices: tuple[str, ...] = ()
    file: bool = False

    def __post_init__(self) -> None:
        _require_words(self.name, *self.choices)


@dataclass(frozen=True, slots=True)
class Flag:
    """One option. `excludes` are the spellings of its opposite, such as `--inactive`."""

    spellings: tuple[str, ...]
    help: str
    value: Value | None = None
    excludes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_words(*self.spellings, *self.excludes)


@dataclass(frozen=True, slots=True)
class Node:
    """The program, a noun or a leaf. `operand` is what each positional of a leaf takes."""

    path: tuple[str, ...]
    help: str
    flags: tuple[Flag, ...]
    children: tuple["Node", ...] = ()
    operand: Value | None = None

    def __post_init__(self) -> None:
        _require_words(*self.path)

    def walk(self) -> Iterator["Node"]:
        """This node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def shared(self) -> tuple[Flag, ...]:
        """The flags that every leaf below understands, so that a script can say them once."""
        leaves = [node for node in self.walk() if not node.children]
        return tuple(flag for flag in leaves[0].flags if all(flag in leaf.flags for leaf in leaves))


def read_tree(root: Command) -> Node:
    """Import every noun and write down what can be typed. Raises ValueError for a word that is not safe to offer."""
    return _node(root, (PROGRAM,))


def _node(command: Command, path: tuple[str, ...]) -> Node:
    context = Context(command, info_name=path[-1], help_option_names=HELP_FLAGS)
    children: dict[str, Command | None] = {}
    if isinstance(command, Root):
        children = {name: command.load(name) for name in command.list_commands(context)}
    elif isinstance(command, Group):
        children = {name: command.get_command(context, name) for name in command.list_commands(context)}
    shown = [parameter for parameter in command.get_params(context) if not getattr(parameter, "hidden", False)]
    operands = [_value(parameter) for parameter in shown if parameter.param_type_name == "argument"]
    # bash cuts an address at its "@", so positionals cannot be counted: they are offered something when all are alike.
    kinds = {(operand.choices, operand.file) for operand in operands}
    return Node(
        path,
        _sentence(command.help),
        tuple(flag for option in shown if isinstance(option, TyperOption) for flag in _flags(option)),
        tuple(_node(child, (*path, name)) for name, child in children.items() if child is not None),
        operands[0] if len(kinds) == 1 else Value(operands[0].name) if operands else None,
    )


def _flags(option: TyperOption) -> Iterator[Flag]:
    text = _sentence(option.help)
    # Short ones first; the parser hands those of the help over in no order.
    yes, no = tuple(sorted(option.opts, key=len)), tuple(sorted(option.secondary_opts, key=len))
    yield Flag(yes, text, None if option.is_flag else _value(option), no)
    if no:
        yield Flag(no, text, None, yes)


def _value(parameter: Parameter) -> Value:
    if isinstance(parameter.type, TyperChoice):
        choices = tuple(parameter.type.normalize_choice(choice, None) for choice in parameter.type.choices)
        return Value(parameter.opts[-1].lstrip("-").upper(), choices)
    name = (parameter.metavar or parameter.opts[-1].lstrip("-").upper()).strip("[].").replace(",", "-")
    return Value(name, file=name == "FILE")


def _sentence(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split()).removesuffix(".")


def _require_words(*words: str) -> None:
    for word in words:
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} is not safe to be offered by a shell")

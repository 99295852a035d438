"""What can be typed after the program's name, read from the commands themselves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from typer.core import TyperOption

from backctl.domain.errors import PROGRAM
from backctl.presentation.app import HELP, HELP_FLAGS, Group, Root
from backctl.presentation.completion import kinds
from backctl.presentation.completion.kinds import NOTHING, Offer
from backctl.presentation.leaf import Leaf
from backctl.presentation.parameters import VALUES_WITHOUT, is_file
from backctl.presentation.typer_internals import Command, Context, Parameter, TyperChoice

_WORD = re.compile(r"-{0,2}[A-Za-z0-9][A-Za-z0-9@._+-]*")
"""What is offered to a shell as it is: nothing in it can be expanded or evaluated."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a flag or a positional takes: one of `choices`, or with `listed` several of them with commas between them,
    what the program answers when it is asked for `stored`, the name of a file, or, without any of them, any text."""

    name: str
    choices: tuple[str, ...] = ()
    listed: bool = False
    stored: str = ""
    file: bool = False

    def __post_init__(self) -> None:
        _require_words(self.name, *self.choices, *filter(None, [self.stored]))


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
    """The program, a noun or a leaf. `operands` are the positionals of a leaf; the last may be given `many` times.

    `explained` are the nodes whose words may follow too, without their flags: `help` explains all commands.
    """

    path: tuple[str, ...]
    help: str
    flags: tuple[Flag, ...]
    children: tuple["Node", ...] = ()
    operands: tuple[Value, ...] = ()
    many: bool = False
    explained: tuple["Node", ...] = ()

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

    def valued(self) -> tuple[str, ...]:
        """The spellings of flags that a value follows. Raises ValueError where that depends on the command."""
        flags = dict.fromkeys(
            (spelling, flag.value is not None)
            for node in self.walk()
            for flag in node.flags
            for spelling in flag.spellings
        )
        for spelling, _ in flags:
            if (spelling, True) in flags and (spelling, False) in flags:
                raise ValueError(f"{spelling} takes a value in one command and none in another")
        return tuple(spelling for spelling, takes in flags if takes)


def read_tree(root: Command) -> Node:
    """Import every noun and write down what can be typed. Raises ValueError for a word that is not safe to offer."""
    tree = _node(root, (PROGRAM,))
    others = tuple(child for child in tree.children if child.path[-1] != HELP)
    children = (replace(child, explained=others) if child.path[-1] == HELP else child for child in tree.children)
    return replace(tree, children=tuple(children))


def _node(command: Command, path: tuple[str, ...]) -> Node:
    context = Context(command, info_name=path[-1], help_option_names=HELP_FLAGS)
    children: dict[str, Command | None] = {}
    if isinstance(command, (Root, Group)):
        children = {name: command.load(name) for name in command.list_commands(context)}
    shown = [parameter for parameter in command.get_params(context) if not getattr(parameter, "hidden", False)]
    operands = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    return Node(
        path,
        _sentence(command.help),
        tuple(flag for option in shown if isinstance(option, TyperOption) for flag in _flags(command, path, option)),
        tuple(_node(child, (*path, name)) for name, child in children.items() if child is not None),
        tuple(_operand(path[1], operand) for operand in operands),
        any(operand.nargs == -1 for operand in operands),
    )


def _flags(command: Command, path: tuple[str, ...], option: TyperOption) -> Iterator[Flag]:
    text = _sentence(option.help)
    # Short ones first; the parser hands those of the help over in no order.
    yes, no = tuple(sorted(option.opts, key=len)), tuple(sorted(option.secondary_opts, key=len))
    is_flag = option.is_flag or option.opts[-1] in VALUES_WITHOUT  # completing a value could not write the `=`
    if option.name == "shared_fields" and isinstance(command, Leaf):
        value = Value(_name(option), command.fields, listed=True)
    else:
        value = _value(option, kinds.of_flag(" ".join(path[1:]), yes[-1]))
    yield Flag(yes, text, None if is_flag else value, no)
    if no:
        yield Flag(no, text, None, yes)


def _operand(noun: str, parameter: Parameter) -> Value:
    return _value(parameter, kinds.of_positional(noun, _name(parameter)))


def _value(parameter: Parameter, offer: Offer = NOTHING) -> Value:
    if isinstance(parameter.type, TyperChoice):
        choices = tuple(parameter.type.normalize_choice(choice, None) for choice in parameter.type.choices)
        return Value(_spelled(parameter), choices)
    name = _name(parameter)
    return Value(name, offer.words, stored=offer.stored, file=is_file(parameter))


def _name(parameter: Parameter) -> str:
    return (parameter.metavar or _spelled(parameter)).strip("[].").replace(",", "-")


def _spelled(parameter: Parameter) -> str:
    return parameter.opts[-1].lstrip("-").upper()


def _sentence(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split()).removesuffix(".")


def _require_words(*words: str) -> None:
    for word in words:
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} is not safe to be offered by a shell")

"""The script for zsh: a function for the program and for each noun, every leaf an `_arguments` of its own."""

import re
from collections.abc import Iterable, Iterator

from backctl.presentation.completion.tree import Flag, Node, Value


def script(tree: Node) -> str:
    shared = tree.shared()
    return _BEGINNING + "".join(_group(node, shared) for node in tree.walk() if node.children) + _END


def _group(group: Node, shared: tuple[Flag, ...]) -> str:
    top = len(group.path) == 1
    lines = [f"\n{_name(group)}() {{", "    local curcontext=$curcontext state line", "    local -A opt_args"]
    if top:
        lines += ["    local -a shared", *_list("shared=", (spec for flag in shared for spec in _flag(flag)))]
    lines += ["    local -a flags commands"]
    lines += _list("flags=", (spec for flag in group.flags for spec in _flag(flag)))
    lines += _list("commands=", map(_described, group.children))
    lines += [
        "    _arguments -C -s -S $flags '1: :->command' '*:: :->rest' && return",
        "    case $state in",
        "        command) _describe -t commands command commands ;;",
        "        rest)",
        "            case $line[1] in",
    ]
    for node in group.children:
        if node.children:
            lines.append(f"                {node.path[-1]}) {_name(node)} ;;")
            continue
        own = [spec for flag in node.flags if flag not in shared for spec in _flag(flag)]
        if node.operand:
            own.append(_quoted(f"*{_value(node.operand)}"))
        call = " \\\n                        ".join(["_arguments -s -S $shared", *own])
        lines += [f"                {node.path[-1]})", f"                    {call}", "                    ;;"]
    return "\n".join([*lines, "            esac", "            ;;", "    esac", "}", ""])


def _name(node: Node) -> str:
    return "_" + "_".join(node.path)


def _list(head: str, items: Iterable[str]) -> list[str]:
    return [f"    {head}(", *(f"        {item}" for item in items), "    )"]


def _described(node: Node) -> str:
    return _quoted(f"{node.path[-1]}:{node.help}".replace("\\", "\\\\"))  # _describe takes one level away


def _flag(flag: Flag) -> Iterator[str]:
    together = (*flag.spellings, *flag.excludes)
    alone = f"({' '.join(together)})" if len(together) > 1 else ""
    text = re.sub(r"([\\\[\]:])", r"\\\1", flag.help)
    for spelling in flag.spellings:
        joined = ("=" if spelling.startswith("--") else "+") if flag.value else ""
        yield _quoted(f"{alone}{spelling}{joined}[{text}]{_value(flag.value) if flag.value else ''}")


def _value(value: Value) -> str:
    action = f"({' '.join(value.choices)})" if value.choices else "_files" if value.file else " "
    return f":{value.name}:{action}"


def _quoted(text: str) -> str:
    """`text` as one literal word of a POSIX shell and of zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


_BEGINNING = """#compdef backctl
# Completion of backctl for zsh, autoloaded, or evaluated after compinit. Made by 'backctl completion zsh'.
"""

_END = r"""
if [[ $funcstack[1] == _backctl ]]; then # autoloaded: this file is the function
    _backctl "$@"
else
    compdef _backctl backctl
fi
"""

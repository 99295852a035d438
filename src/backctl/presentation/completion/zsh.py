"""The script for zsh: a function for the program and for each noun, every leaf an `_arguments` of its own."""

import re
from collections.abc import Iterable, Iterator

from backctl.presentation.completion.tree import Flag, Node, Value


def script(tree: Node) -> str:
    shared = tree.shared()
    nodes = [each for node in tree.walk() for each in (node, *_explained(node))]
    groups = "".join(_group(node, shared) for node in nodes if node.children or node.explained)
    return _BEGINNING.replace("@VALUED@", " ".join(tree.valued())) + groups + _END


def _group(group: Node, shared: tuple[Flag, ...]) -> str:
    top = len(group.path) == 1
    lines = [f"\n{_name(group)}() {{", "    local curcontext=$curcontext state line", "    local -A opt_args"]
    if top:
        lines.append('    local -a typed=("${(@)words[1,CURRENT-1]}")')
        lines += ["    local -a shared", *_list("shared=", (spec for flag in shared for spec in _flag(flag)))]
    lines += ["    local -a flags commands"]
    lines += _list("flags=", (spec for flag in group.flags for spec in _flag(flag)))
    lines += _list("commands=", map(_described, (*group.children, *group.explained)))
    lines += [
        "    _arguments -C -s -S $flags '1: :->command' '*:: :->rest' && return",
        "    case $state in",
        "        command) _describe -t commands command commands ;;",
        "        rest)",
        "            case $line[1] in",
    ]
    lines += [f"                {node.path[-1]}) {_name(node)} ;;" for node in _explained(group, deep=False)]
    for node in group.children:
        if node.children:
            lines.append(f"                {node.path[-1]}) {_name(node)} ;;")
            continue
        own = [spec for flag in node.flags if flag not in shared for spec in _flag(flag)]
        last = len(node.operands) if node.many else 0
        own += [
            _quoted(f"{'*' if place == last else place}{_value(operand)}")
            for place, operand in enumerate(node.operands, 1)
        ]
        call = " \\\n                        ".join(["_arguments -s -S $shared", *own])
        lines += [f"                {node.path[-1]})", f"                    {call}", "                    ;;"]
    return "\n".join([*lines, "            esac", "            ;;", "    esac", "}", ""])


def _explained(group: Node, *, deep: bool = True) -> Iterator[Node]:
    """Yield the nouns that `group` explains as nodes below it, which have no flags and explain their commands."""
    for node in group.explained:
        if node.children:
            below = Node((*group.path, node.path[-1]), node.help, (), explained=node.children)
            yield below
            if deep:
                yield from _explained(below)


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
    if value.listed:
        action = " " + " ".join(["_backctl_listed", *value.choices])
    elif value.stored:  # with the space in front it is called as it is
        action = " " + " ".join(["_backctl_stored", value.stored, *value.choices])
    return f":{value.name}:{action}"


def _quoted(text: str) -> str:
    """`text` as one literal word of a POSIX shell and of zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


_BEGINNING = r"""#compdef backctl
# Completion of backctl for zsh, autoloaded, or evaluated after compinit. Made by 'backctl completion zsh'.

_backctl_place() { # sets profile and config to what was typed, and program to what is completed
    local word flag rest given
    program=${(Q)typed[1]} profile='' config=''
    for word in "${(@Q)typed[2,-1]}"; do
        given=''
        if [[ -n $flag ]]; then
            rest=$word given=yes
        elif [[ $word == -- ]]; then
            break
        elif [[ $word == --*=* ]]; then
            flag=${word%%=*} rest=${word#*=} given=yes
        elif [[ $word == --* ]]; then
            flag=$word rest=''
        elif [[ $word == -?* ]]; then # the last of a cluster such as -qp counts
            flag=${word[1,2]} rest=${word[3,-1]}
            while [[ -n $rest && " $valued " != *" $flag "* ]]; do
                flag=-${rest[1]} rest=${rest[2,-1]}
            done
        else
            continue
        fi
        if [[ " $valued " != *" $flag "* ]]; then
            flag=''
        elif [[ -n $rest || -n $given ]]; then
            case $flag in
                -p|--profile) profile=$rest ;;
                --config) config=$rest ;;
            esac
            flag=''
        fi
    done
    [[ $program == '~/'* ]] && program=$HOME/${program[3,-1]}
    [[ $config == '~/'* ]] && config=$HOME/${config[3,-1]}
}

_backctl_stored() { # offers what the program itself has of the kind $1, and the words that follow
    local valued='@VALUED@' program profile config word
    local -a found=("${@[2,-1]}")
    _backctl_place
    if [[ $PREFIX != *[^[:alnum:]@._+-]* ]] && whence -p -- $program >/dev/null; then
        for word in "${(@f)$(command $program __complete $1 "$PREFIX" --profile "$profile" --config "$config" \
            2>/dev/null </dev/null)}"; do
            [[ $word == [[:alnum:]]* && $word != *[^[:alnum:]@._+-]* ]] && found+=($word)
        done
    fi
    compadd -a found
}

_backctl_listed() { # offers the words for a list with commas, except those that it has
    local -a typed=("${(@s:,:)PREFIX%,*}")
    [[ $PREFIX == *,* ]] || typed=()
    compset -P '*,'
    compadd -q -S , -- "${@:|typed}"
}
"""

_END = r"""
if [[ $funcstack[1] == _backctl ]]; then # autoloaded: this file is the function
    _backctl "$@"
else
    compdef _backctl backctl
fi
"""

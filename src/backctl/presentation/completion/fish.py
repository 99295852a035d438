"""The script for fish: one `complete` for each word and flag, under the condition where it belongs."""

from backctl.presentation.completion.tree import Flag, Node, Value


def script(tree: Node) -> str:
    shared = tree.shared()
    leaves = [node for node in tree.walk() if not node.children]
    valued = [spelling for flag in tree.flags if flag.value for spelling in flag.spellings]
    patterns = " ".join(f"'{' '.join(leaf.path[1:])} *'" for leaf in leaves)
    lines: list[str] = []
    for node in tree.walk():
        words = " ".join(node.path[1:])
        at = f"__backctl_at {words}".rstrip() if node.children else f"__backctl_in {words}"
        said = [f"complete -c backctl -n '{at}' -a {c.path[-1]} -d {_quoted(c.help)}" for c in node.children]
        if node.operand and (node.operand.choices or node.operand.file):
            said.append(f"complete -c backctl -n '{at}'{_value(node.operand)}")
        said += [_flag(at, flag) for flag in node.flags if node.children or flag not in shared]
        lines += [f"\n# {' '.join(node.path)}", *said] if said else []
    lines += ["\n# every command", *(_flag("__backctl_in_leaf", flag) for flag in shared), ""]
    return _SCRIPT.replace("@VALUED@", " ".join(valued)).replace("@LEAVES@", patterns) + "\n".join(lines)


def _flag(condition: str, flag: Flag) -> str:
    names = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in flag.spellings)
    value = _value(flag.value) if flag.value else ""
    return f"complete -c backctl -n '{condition}'{names}{value} -d {_quoted(flag.help)}"


def _value(value: Value) -> str:
    return " -r -F" if value.file else f" -x -a '{' '.join(value.choices)}'" if value.choices else " -x"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPT = r"""# Completion of backctl for fish. Made by 'backctl completion fish'.

function __backctl_words --description 'What was typed so far without flags, and without values before the noun'
    set -l tokens (commandline -opc)
    set -l value no
    for token in $tokens[2..-1]
        if test $value = yes
            set value no
            continue
        end
        switch $token
            case @VALUED@
                set value yes
            case '-*'
            case '*'
                printf '%s\n' $token
        end
    end
end

function __backctl_at --description 'Whether exactly these words were typed'
    set -l words (__backctl_words)
    test "$words" = "$argv"
end

function __backctl_in --description 'Whether these words were typed first'
    set -l words (__backctl_words)
    string match -q -- "$argv *" "$words "
end

function __backctl_in_leaf --description 'Whether a whole command was typed'
    set -l words (__backctl_words)
    switch "$words "
        case @LEAVES@
            return 0
    end
    return 1
end

complete -c backctl -f
"""

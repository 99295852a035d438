"""The script for fish: one `complete` for each word and flag, under the condition where it belongs."""

from backctl.presentation.completion.tree import Flag, Node, Value


def script(tree: Node) -> str:
    shared = tree.shared()
    leaves = [node for node in tree.walk() if not node.children]
    valued = tree.valued()
    patterns = " ".join(f"'{' '.join(leaf.path[1:])} *'" for leaf in leaves)
    lines: list[str] = []
    for node in tree.walk():
        words = " ".join(node.path[1:])
        at = f"__backctl_at {words}".rstrip() if node.children else f"__backctl_in {words}"
        said = [_word(at, child) for child in (*node.children, *node.explained)]
        for group in (each for top in node.explained for each in top.walk()):
            said += [_word(f"{at} {' '.join(group.path[1:])}", child) for child in group.children]
        for place, operand in enumerate(node.operands, 1):
            if operand.choices or operand.stored or operand.file:
                which = f"{place}{'+' if node.many and place == len(node.operands) else ''}"
                said.append(f"complete -c backctl -n '__backctl_operand {which} {words}'{_value(operand)}")
        said += [_flag(at, flag) for flag in node.flags if node.children or flag not in shared]
        lines += [f"\n# {' '.join(node.path)}", *said] if said else []
    lines += ["\n# every command", *(_flag("__backctl_in_leaf", flag) for flag in shared), ""]
    letters = "".join(spelling[1] for spelling in valued if len(spelling) == 2)
    head = _SCRIPT.replace("@VALUED@", " ".join(valued)).replace("@LETTERS@", letters).replace("@LEAVES@", patterns)
    return head + "\n".join(lines)


def _word(condition: str, node: Node) -> str:
    return f"complete -c backctl -n '{condition}' -a {node.path[-1]} -d {_quoted(node.help)}"


def _flag(condition: str, flag: Flag) -> str:
    names = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in flag.spellings)
    value = _value(flag.value) if flag.value else ""
    return f"complete -c backctl -n '{condition}'{names}{value} -d {_quoted(flag.help)}"


def _value(value: Value) -> str:
    asked = [f"(__backctl_stored {value.stored})"] if value.stored else []
    words = " ".join([*value.choices, *asked])
    if value.listed and words:
        words = f"(__backctl_listed {words})"
    return " -r -F" if value.file else f" -x -a '{words}'" if words else " -x"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPT = r"""# Completion of backctl for fish. Made by 'backctl completion fish'.

function __backctl_read --description 'Sets __backctl_typed to the words typed so far, without flags and their values'
    # Once for each TAB: dozens of conditions ask.
    set -l line (commandline -cp)
    test "$line" = "$__backctl_line"; and return
    set -g __backctl_line "$line"
    set -g __backctl_typed
    set -l tokens (commandline -opc)
    set -l value no
    set -l literal no
    for token in $tokens[2..-1]
        if test $value = yes
            set value no
            continue
        end
        if test $literal = yes
            set -ga __backctl_typed $token
            continue
        end
        switch $token
            case @VALUED@
                set value yes
            case --
                set literal yes
            case '--*'
            case '-*'
                string match -qr -- '^-[^@LETTERS@]+[@LETTERS@]$' $token; and set value yes
            case '*'
                set -ga __backctl_typed $token
        end
    end
end

function __backctl_value --description 'The value that was typed last of the flags $argv'
    set -l tokens (commandline -opc)
    set -l flag
    set -l found
    for token in $tokens[2..-1]
        if test -n "$flag"
            contains -- $flag $argv; and set found $token
            set flag
            continue
        end
        switch $token
            case --
                break
            case @VALUED@
                set flag $token
            case '--*=*'
                set -l parts (string split -m 1 = -- $token)
                contains -- $parts[1] $argv; and set found $parts[2]
            case '--*'
            case '-*'
                set -l parts (string match -r -- '^-[^@LETTERS@]*([@LETTERS@])(.*)$' $token)
                or continue
                if test -z "$parts[3]"
                    set flag -$parts[2]
                else if contains -- -$parts[2] $argv
                    set found $parts[3]
                end
        end
    end
    printf '%s\n' "$found"
end

function __backctl_stored --description 'What the program itself has of the kind $argv[1]'
    set -l tokens (commandline -opc)
    set -l program (string replace -r '^~/' "$HOME/" -- $tokens[1])
    set -l config (string replace -r '^~/' "$HOME/" -- (__backctl_value --config))
    set -l profile (__backctl_value -p --profile)
    set -l prefix (string replace -r '^(--[^=]*=|-[^@LETTERS@-]*[@LETTERS@])' '' -- (commandline -ct))
    string match -qr '^[\p{L}\p{N}@._+-]*$' -- "$prefix"
    and command -sq $program
    or return
    command $program __complete $argv[1] "$prefix" --profile "$profile" --config "$config" 2>/dev/null </dev/null |
        string match -r '^[\p{L}\p{N}][\p{L}\p{N}@._+-]*$'
end

function __backctl_listed --description 'The words $argv for a list with commas, after what it has'
    set -l typed (string replace -r '^--[^=]*=' '' -- (commandline -ct))
    set -l before (string match -r '^.*,' -- $typed)
    for word in $argv
        contains -- $word (string split , -- "$before"); or printf '%s%s\n' "$before" $word
    end
end

function __backctl_at --description 'Whether exactly these words were typed'
    __backctl_read
    test "$__backctl_typed" = "$argv"
end

function __backctl_in --description 'Whether these words were typed first'
    __backctl_read
    string match -q -- "$argv *" "$__backctl_typed "
end

function __backctl_operand --description 'Whether the operand $argv[1] of the command $argv[2..-1] comes next'
    __backctl_read
    string match -q -- "$argv[2..-1] *" "$__backctl_typed "; or return
    set -l place (math (count $__backctl_typed) - (count $argv) + 2)
    switch $argv[1]
        case '*+'
            test $place -ge (string trim -r -c + $argv[1])
        case '*'
            test $place -eq $argv[1]
    end
end

function __backctl_in_leaf --description 'Whether a whole command was typed'
    __backctl_read
    switch "$__backctl_typed "
        case @LEAVES@
            return 0
    end
    return 1
end

complete -c backctl -f
"""

"""The script for bash: the tree as a table in a `case`, and one function that walks it."""

from collections.abc import Iterable

from backctl.presentation.completion.tree import Flag, Node, Value


def script(tree: Node) -> str:
    shared = tree.shared()
    nodes = []
    for node in tree.walk():
        sets = []
        if node.children:
            sets.append(f"words='{' '.join(child.path[-1] for child in node.children)}'")
        elif node.operand:
            sets.append(f"operand='{_kind(node.operand)}'")
        own = [flag for flag in node.flags if node.children or flag not in shared]
        sets.append(f'flags="{_flags(own)}{"" if node.children else "$shared"}"')
        nodes.append(f"        '{' '.join(node.path)}') {' '.join(sets)} ;;\n")
    return _SCRIPT[0] + _flags(shared) + _SCRIPT[1] + "".join(nodes) + _SCRIPT[2]


def _flags(flags: Iterable[Flag]) -> str:
    return "".join(
        f" {spelling}={_kind(flag.value)}" if flag.value else f" {spelling}"
        for flag in flags
        for spelling in flag.spellings
    )


def _kind(value: Value) -> str:
    return "|".join(value.choices) or ("FILE" if value.file else "TEXT")


_SCRIPT = (
    r"""# Completion of backctl for bash, from 3.2 on, without further packages. Made by 'backctl completion bash'.

_backctl_at() { # sets words, operand and flags to what may follow the words $1
    local shared='""",
    r"""'
    words='' operand='' flags=''
    case $1 in
""",
    r"""    esac
    flags="$flags "
}

_backctl_takes() { # sets kind to what the flag $1 takes; the last of a cluster such as -qo counts
    kind=''
    if [[ $flags == *" $1="* ]]; then
        kind=${flags#*" $1="}
        kind=${kind%% *}
    elif [[ $1 == -[!-]?* && $flags == *" ${1:0:2} "* ]]; then
        _backctl_takes "-${1:2}"
    fi
}

_backctl_files() {
    if [[ ! $before ]] && compopt -o default 2>/dev/null; then
        return # readline completes files itself where nothing else is offered
    fi
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do
        [[ $word ]] && COMPREPLY+=("$before$word")
    done <<<"$(compgen -f -- "$cur")"
}

_backctl() {
    local IFS=$' \t\n' cur=${COMP_WORDS[COMP_CWORD]} path=backctl kind='' literal='' before='' word i
    local words operand flags
    COMPREPLY=()
    _backctl_at "$path"
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $kind ]]; then # the value of the flag before, or the "=" between them
            [[ $word == = ]] || kind=''
        elif [[ ! $literal && $word == -- ]]; then
            literal=yes
        elif [[ ! $literal && $word == -?* ]]; then
            _backctl_takes "$word"
        elif [[ $words ]]; then
            path="$path $word"
            _backctl_at "$path"
        fi
    done
    if [[ $kind ]]; then
        [[ $cur == = ]] && cur=''
    elif [[ ! $literal && $cur == --*=* ]]; then # in bash 3.2, or where "=" was taken out of COMP_WORDBREAKS
        _backctl_takes "${cur%%=*}"
        kind=${kind:-TEXT}
        [[ $COMP_WORDBREAKS == *=* ]] || before=${cur%%=*}=
        cur=${cur#*=}
    elif [[ ! $literal && $cur == -* ]]; then
        kind=$flags
    else
        kind=${words:-$operand}
    fi
    case $kind in
        TEXT) ;;
        FILE) _backctl_files ;;
        *)
            for word in ${kind//|/ }; do
                word=${word%%=*}
                [[ $word == "$cur"* ]] && COMPREPLY+=("$before$word")
            done
            ;;
    esac
}

if type compopt >/dev/null 2>&1; then
    complete -F _backctl backctl
else # bash 3.2 cannot say at TAB that it is files
    complete -o filenames -F _backctl backctl
fi
""",
)

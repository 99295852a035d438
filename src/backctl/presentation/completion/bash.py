"""The script for bash: the tree as a table in a `case`, and one function that walks it."""

from collections.abc import Iterable

from backctl.presentation.completion.tree import Flag, Node, Value


def script(tree: Node) -> str:
    shared = tree.shared()
    nodes, others = list[str](), list[str]()
    for node in tree.walk():
        sets = []
        if node.children:
            words = [child.path[-1] for child in (*node.children, *node.explained)]
            sets.append(f"words='{' '.join(words)}'")
        elif node.operands:
            # What follows the last one is none of them, unless that may be repeated.
            kinds = [*map(_kind, node.operands), *([] if node.many else ["TEXT"])]
            sets.append(f"operands=({' '.join(map(_quoted, kinds))})")
        own = [flag for flag in node.flags if node.children or flag not in shared]
        sets.append(f'flags="{_flags(own)}{"" if node.children else "$shared"}"')
        nodes.append(f"        '{' '.join(node.path)}') {' '.join(sets)} ;;\n")
        if node.explained:
            others.append(_EXPLAINED.replace("@HELP@", " ".join(node.path)).replace("@ROOT@", node.path[0]))
    return _SCRIPT[0] + _flags(shared) + _SCRIPT[1] + "".join(nodes + others) + _SCRIPT[2]


def _flags(flags: Iterable[Flag]) -> str:
    return "".join(
        f" {spelling}={_kind(flag.value)}" if flag.value else f" {spelling}"
        for flag in flags
        for spelling in flag.spellings
    )


def _kind(value: Value) -> str:
    asked = [f"@{value.stored}"] if value.stored else []
    words = "|".join([*value.choices, *asked])
    return ("," if value.listed and words else "") + words or ("FILE" if value.file else "TEXT")


def _quoted(kind: str) -> str:
    return f"'{kind}'" if "|" in kind else kind


_EXPLAINED = """\
        '@HELP@ '*) _backctl_at "@ROOT@ ${1#@HELP@ }" && operands=(TEXT) flags='' ;;
"""
_SCRIPT = (
    r"""# Completion of backctl for bash, from 3.2 on, without further packages. Made by 'backctl completion bash'.

_backctl_at() { # sets words, operands and flags to what may follow the words $1
    local shared='""",
    r"""'
    words='' operands=(TEXT) flags=''
    case $1 in
""",
    r"""    esac
    flags="$flags "
}

_backctl_takes() { # sets kind to what the flag $1 takes, and flag to it; the last of a cluster such as -qo counts
    kind='' flag=$1
    if [[ $flags == *" $1="* ]]; then
        kind=${flags#*" $1="}
        kind=${kind%% *}
    elif [[ $1 == -[!-]?* && $flags == *" ${1:0:2}="* ]]; then
        _backctl_place "${1:0:2}" "${1:2}"
    elif [[ $1 == -[!-]?* && $flags == *" ${1:0:2} "* ]]; then
        _backctl_takes "-${1:2}"
    fi
}

_backctl_place() { # the flag $1 has the value $2
    case $1 in
        -p | --profile) place[1]=$2 ;;
        --config) place[3]=$2 ;;
    esac
}

_backctl_offer() { # a word, whole; readline keeps what is typed before its own word
    [[ $1 == "$cur"* ]] || return
    word=$lead$1
    COMPREPLY+=("${word#"$before"}")
}

_backctl_stored() { # offers what the program itself has of the kind $1
    local program=${typed[0]}
    # As typed, so what is quoted or expanded there is left alone.
    [[ $cur$program${place[1]}${place[3]} == *[![:alnum:]@._+/~=:,%-]* ]] && return
    [[ $program == '~/'* ]] && program=$HOME/${program:2}
    [[ ${place[3]} == '~/'* ]] && place[3]=$HOME/${place[3]:2}
    type -P "$program" >/dev/null || return
    while IFS= read -r word; do
        [[ $word == [[:alnum:]]* && $word != *[![:alnum:]@._+-]* ]] && _backctl_offer "$word"
    done <<<"$(command "$program" __complete "$1" "$cur" "${place[@]}" 2>/dev/null </dev/null)"
}

_backctl_listed() { # offers the words $1 for a list with commas, except those that it has
    local listed=''
    if [[ $cur == *,* ]]; then
        listed=${cur%,*},
        lead=$lead$listed
        cur=${cur##*,}
    fi
    for word in ${1//|/ }; do
        [[ ,$listed == *",$word,"* ]] || _backctl_offer "$word"
    done
    compopt -o nospace 2>/dev/null
}

_backctl_files() {
    if [[ $before == "$lead" ]] && compopt -o default 2>/dev/null; then
        return # readline completes files itself where nothing else is offered
    fi
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do
        [[ $word ]] && _backctl_offer "$word"
    done <<<"$(compgen -f -- "$cur")"
}

_backctl() { # after "||", so that a word that does not fit ends no shell with `set -e`
    _backctl_complete "$@" || return 0
}

_backctl_complete() {
    local IFS=$' \t\n' path=backctl kind='' literal='' before='' lead='' count=0 line=$COMP_LINE cur flag rest word i
    local words operands flags typed place
    COMPREPLY=() typed=() place=(--profile '' --config '')
    for ((i = 0; i <= COMP_CWORD; i++)); do # readline cuts words at "=", ":" and "@" too
        word=${COMP_WORDS[i]}
        rest=${line#"${line%%[![:space:]]*}"}
        if [[ $i -gt 0 && $rest == "$line" ]]; then
            typed[${#typed[@]} - 1]+=$word
        else
            typed+=("$word")
        fi
        line=${rest#"$word"}
    done
    cur=${typed[${#typed[@]} - 1]}
    _backctl_at "$path"
    for ((i = 1; i < ${#typed[@]} - 1; i++)); do
        word=${typed[i]}
        if [[ $kind ]]; then
            _backctl_place "$flag" "$word"
            kind=''
        elif [[ ! $literal && $word == -- ]]; then
            literal=yes
        elif [[ ! $literal && $word == --*=* ]]; then
            _backctl_place "${word%%=*}" "${word#*=}"
        elif [[ ! $literal && $word == -?* ]]; then
            _backctl_takes "$word"
        elif [[ $words ]]; then
            path="$path $word"
            _backctl_at "$path"
        else
            count=$((count + 1))
        fi
    done
    [[ $cur == *"$2" ]] && before=${cur%"$2"}
    if [[ ! $kind ]]; then
        if [[ ! $literal && $cur == --*=* ]]; then
            _backctl_takes "${cur%%=*}"
            kind=${kind:-TEXT}
            lead=${cur%%=*}=
            cur=${cur#*=}
        elif [[ ! $literal && $cur == -* ]]; then
            kind=$flags
        elif [[ $words ]]; then
            kind=$words
        else
            [[ $count -lt ${#operands[@]} ]] || count=$((${#operands[@]} - 1))
            kind=${operands[count]}
        fi
    fi
    case $kind in
        TEXT) ;;
        FILE) _backctl_files ;;
        ,*) _backctl_listed "${kind#,}" ;;
        *)
            for word in ${kind//|/ }; do
                case $word in
                    @*) _backctl_stored "${word#@}" ;;
                    *) _backctl_offer "${word%%=*}" ;;
                esac
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

# Completion of backctl for bash, from 3.2 on, without further packages. Made by 'backctl completion bash'.

_backctl_at() { # sets words, operand and flags to what may follow the words $1
    local shared=' -p=TEXT --profile=TEXT --config=FILE -o=table|json|jsonl|csv|tsv|id --output=table|json|jsonl|csv|tsv|id --fields=TEXT --no-header -q --quiet -v --verbose --no-color --no-input --timeout=TEXT --actor=TEXT --reason=TEXT -h --help'
    words='' operand='' flags=''
    case $1 in
        'backctl') words='user role access audit config profile db init doctor completion help' flags=" -p=TEXT --profile=TEXT --config=FILE -v --verbose --version -h --help" ;;
        'backctl user') words='create list show exists count set-password check-password activate deactivate update delete history' flags=" -h --help" ;;
        'backctl user create') operand='TEXT' flags=" --username=TEXT --role=TEXT --expires-at=TEXT --expires-in=TEXT --generate-password --no-password --secret-file=FILE --must-change-password --if-not-exists --upsert --password-stdin --password-file=FILE --password-fd=TEXT --password-env=TEXT --password-hash-stdin --password-hash-file=FILE --password-hash-fd=TEXT --password-hash-env=TEXT -n --dry-run -y --yes$shared" ;;
        'backctl user list') flags=" --role=TEXT --active --inactive --created-after=TEXT --created-before=TEXT --email-domain=TEXT --search=TEXT --sort=TEXT --limit=TEXT --cursor=TEXT --page=TEXT --page-size=TEXT --all$shared" ;;
        'backctl user show') operand='TEXT' flags="$shared" ;;
        'backctl user exists') operand='TEXT' flags="$shared" ;;
        'backctl user count') flags=" --role=TEXT --active --inactive --created-after=TEXT --created-before=TEXT --email-domain=TEXT --search=TEXT$shared" ;;
        'backctl user set-password') operand='TEXT' flags=" --generate-password --secret-file=FILE --must-change-password --password-stdin --password-file=FILE --password-fd=TEXT --password-env=TEXT -n --dry-run -y --yes$shared" ;;
        'backctl user check-password') operand='TEXT' flags=" --password-stdin --password-file=FILE --password-fd=TEXT --password-env=TEXT$shared" ;;
        'backctl user activate') operand='TEXT' flags=" --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes$shared" ;;
        'backctl user deactivate') operand='TEXT' flags=" --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes$shared" ;;
        'backctl user update') operand='TEXT' flags=" --email=TEXT --username=TEXT --role=TEXT --expires-at=TEXT --expires-in=TEXT --no-expiry --if-version=TEXT -n --dry-run -y --yes$shared" ;;
        'backctl user delete') operand='TEXT' flags=" --erase --if-exists --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes --confirm=TEXT$shared" ;;
        'backctl user history') operand='TEXT' flags=" --limit=TEXT --cursor=TEXT --all$shared" ;;
        'backctl role') words='list show assign' flags=" -h --help" ;;
        'backctl role list') flags="$shared" ;;
        'backctl role show') operand='TEXT' flags="$shared" ;;
        'backctl role assign') operand='TEXT' flags=" --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes$shared" ;;
        'backctl access') words='check' flags=" -h --help" ;;
        'backctl access check') operand='TEXT' flags=" --explain$shared" ;;
        'backctl audit') words='list verify' flags=" -h --help" ;;
        'backctl audit list') flags=" --type=TEXT --subject=TEXT --since=TEXT --until=TEXT --limit=TEXT --cursor=TEXT --all$shared" ;;
        'backctl audit verify') flags="$shared" ;;
        'backctl config') words='show path get set validate' flags=" -h --help" ;;
        'backctl config show') flags=" --origin$shared" ;;
        'backctl config path') flags="$shared" ;;
        'backctl config get') operand='TEXT' flags="$shared" ;;
        'backctl config set') operand='TEXT' flags=" --value-stdin --value-file=FILE --value-fd=TEXT --value-env=TEXT -n --dry-run -y --yes$shared" ;;
        'backctl config validate') operand='FILE' flags="$shared" ;;
        'backctl profile') words='list show use' flags=" -h --help" ;;
        'backctl profile list') flags="$shared" ;;
        'backctl profile show') operand='TEXT' flags="$shared" ;;
        'backctl profile use') operand='TEXT' flags=" --none -n --dry-run -y --yes$shared" ;;
        'backctl db') words='upgrade status check backup' flags=" -h --help" ;;
        'backctl db upgrade') flags=" -n --dry-run -y --yes$shared" ;;
        'backctl db status') flags="$shared" ;;
        'backctl db check') flags="$shared" ;;
        'backctl db backup') operand='FILE' flags="$shared" ;;
        'backctl init') flags=" --calibrate -n --dry-run -y --yes$shared" ;;
        'backctl doctor') flags="$shared" ;;
        'backctl completion') words='bash zsh fish' flags=" -h --help" ;;
        'backctl completion bash') flags="$shared" ;;
        'backctl completion zsh') flags="$shared" ;;
        'backctl completion fish') flags="$shared" ;;
        'backctl help') words='exit-codes' flags=" -h --help" ;;
        'backctl help exit-codes') flags="$shared" ;;
    esac
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

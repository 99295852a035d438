#!/bin/sh
# Verify the event log, then save the events of the last week as JSON lines.
#
#   audit-export.sh FOLDER
#
# Writes FOLDER/audit-YYYY-MM-DD.jsonl, readable only by its owner. The file appears when it is complete; if it exists
# already, the script only verifies the log. A file covers eight days, so that a late run misses no event. An event can
# therefore be in two files; its 'seq' is the same in both.
#
# Needs HOME or BACKCTL_CONFIG. The exit code is 0, 6 if the log is not intact (nothing is saved), or that of backctl.

set -eu
umask 077

if [ $# -ne 1 ]; then
    echo "usage: audit-export.sh FOLDER" >&2
    exit 2
fi
file=$1/audit-$(date -u +%Y-%m-%d).jsonl

code=0
broken=$(backctl audit verify -o tsv --no-header --empty none --fields broken_seq) || code=$?
case $code:$broken in
    0:* | 6:none) ;; # 'none' with exit code 6: a keyring was lost, so the events before that are unverified
    6:*)
        echo "audit-export.sh: the event log is not intact from event $broken on; nothing was saved" >&2
        exit 6
        ;;
    *) exit "$code" ;;
esac

[ ! -e "$file" ] || exit 0
partial=$(mktemp "$file.XXXXXX")
trap 'rm -f "$partial"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
backctl audit list --since 8d --all -o jsonl >"$partial"
mv "$partial" "$file"
echo "saved $(wc -l <"$file" | tr -d ' ') events in $file"

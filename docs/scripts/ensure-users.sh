#!/bin/sh
# Create the accounts that are missing, and correct the others. Accounts that are not in the file stay as they are.
#
#   ensure-users.sh FILE
#
# Each line of FILE is: USERNAME EMAIL ROLE. Blank lines and lines that begin with '#' are ignored. An account is found
# by its e-mail address. New accounts have no password. Prints the accounts that were created or changed.
#
# Needs HOME or BACKCTL_CONFIG. The exit code is 0, 2 for an unreadable FILE, 7 if lines failed, or that of backctl.

set -eu

if [ $# -ne 1 ] || [ ! -r "$1" ]; then
    echo "usage: ensure-users.sh FILE" >&2
    exit 2
fi
export BACKCTL_ACTOR="${BACKCTL_ACTOR:-ensure-users}"
failed=0

# The file is descriptor 3, so that no command in the loop can read it as its standard input.
while read -r username email role <&3 || [ -n "$username" ]; do
    case $username in '' | '#'*) continue ;; esac
    code=0
    changed=$(backctl user create "$email" --username "$username" --role "$role" --no-password --upsert \
        --reason "listed in ${1##*/}" --no-header --fields changed -o tsv) || code=$?
    case $code in
        0) [ "$changed" = false ] || echo "$username: created or updated" ;;
        2 | 4 | 8) # something is wrong with this line, and the error above says what
            echo "$username: failed with exit code $code" >&2
            failed=$((failed + 1))
            ;;
        *) exit "$code" ;; # every other line would fail too
    esac
done 3<"$1"

[ "$failed" -eq 0 ] || exit 7

#!/bin/sh
# Deactivate the accounts of people who have left, unless there are more of them than expected.
#
#   leavers.sh FILE [LIMIT]             # at most 10 accounts unless given; also a percentage of all accounts: 5%
#
# Each line of FILE is an e-mail address, a username or an id. Prints nothing if all goes well. To see what it did:
# backctl audit list --by leavers
#
# Needs HOME or BACKCTL_CONFIG. The exit code is 0, 7 if some accounts failed, 8 if more than LIMIT accounts would
# change (they are listed, and none is changed), or that of backctl.

set -eu

if [ $# -lt 1 ]; then
    echo "usage: leavers.sh FILE [LIMIT]" >&2
    exit 2
fi
file=$1
limit=${2:-10}
export BACKCTL_ACTOR="${BACKCTL_ACTOR:-leavers}"

code=0
backctl user deactivate --from-file "$file" --yes --max-changes "$limit" --reason "left the company" --quiet || code=$?

if [ "$code" -eq 8 ]; then
    echo "These accounts would be deactivated:"
    # Names that are not found are part of the list, but would not change: they make this command end with 7.
    list=$(backctl user deactivate --from-file "$file" --dry-run --no-header --fields ident,changed \
        -o tsv 2>/dev/null) || :
    printf '%s\n' "$list" | sed -n "s/$(printf '\t')true\$//p"
fi
exit "$code"

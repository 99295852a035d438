#!/bin/sh
# Run a smoke test with an access token, then revoke the token and check that it is refused.
#
#   smoke-test.sh ACCOUNT COMMAND [ARGUMENT]...
#   smoke-test.sh smoke-test curl --fail --silent --show-error --header @- https://api.example.org/me
#
# COMMAND reads the line 'Authorization: Bearer TOKEN' from standard input. Arguments and environment variables would
# show the token to other processes.
#
# Needs HOME or BACKCTL_CONFIG. The exit code is that of COMMAND, 6 if the revoked token still works, or backctl's.

set -eu

if [ $# -lt 2 ]; then
    echo "usage: smoke-test.sh ACCOUNT COMMAND [ARGUMENT]..." >&2
    exit 2
fi
account=$1
shift
export BACKCTL_ACTOR="${BACKCTL_ACTOR:-smoke-test}"

# The token and its session end after a minute, even if this script is killed.
token=$(backctl token issue "$account" --ttl 1m)
session=$(printf %s "$token" | backctl token verify --no-header --fields sid -o tsv)

result=0
printf 'Authorization: Bearer %s\n' "$token" | "$@" || result=$?

backctl token revoke --session "$session" --quiet
after=0
printf %s "$token" | backctl token verify --quiet || after=$?
case $after in
    6) exit "$result" ;;
    0)
        echo "smoke-test.sh: a revoked token was accepted" >&2
        exit 6
        ;;
    *) exit "$after" ;;
esac

#!/bin/sh
# Report the active accounts that expire soon. Prints nothing if there are none, so that cron sends no mail.
#
#   expiring-accounts.sh [DAYS]         # 14 days unless given
#
# Needs HOME or BACKCTL_CONFIG. The exit code is 0, or that of backctl.

set -eu

days=${1:-14}
tab=$(printf '\t')

# A failed command ends the script with its exit code. In a pipeline, only the last command would.
accounts=$(backctl user list --active --expires-before "${days}d" --all --no-header -o tsv \
    --fields expires_at,username,email,role)
[ -n "$accounts" ] || exit 0

echo "These accounts expire in the next $days days:"
printf '%s\n' "$accounts" | sort | while IFS=$tab read -r expires_at username email role; do
    echo "${expires_at%%T*}  $username <$email>, $role"
done

# Completion of backctl for fish. Made by 'backctl completion fish'.

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
            case -p --profile --config --username --role --expires-at --expires-in --secret-file --password-file --password-fd --password-env --password-hash-file --password-hash-fd --password-hash-env -o --output --fields --empty --timeout --actor --reason --status --created-after --created-before --expires-before --last-login-before --mfa --email-domain --search --limit --cursor --sort --page --page-size --from-file --max-changes --email --if-version --source --mfa-code-file --mfa-code-fd --mfa-code-env --confirm --format --out --map --mode --batch-size --results --resume --max-errors --algorithm --digits --period --code-file --code-fd --code-env --ttl --audience --scope --token-file --token-fd --token-env --jti --session --user --older-than --purpose --alg --kid --overlap --if-older-than --passphrase-file --passphrase-fd --passphrase-env --key-file --key-fd --key-env --form --context --context-template --jsonl --csv --file --value-file --value-fd --value-env --tag --register --rate --burst --cost --wait --also --limited-exit --log --time-field --ident-field --by --subject --type --outcome --reason-contains --since --until --trace-id --wait-server
                set value yes
            case --
                set literal yes
            case '--*'
            case '-*'
                string match -qr -- '^-[^po]+[po]$' $token; and set value yes
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
            case -p --profile --config --username --role --expires-at --expires-in --secret-file --password-file --password-fd --password-env --password-hash-file --password-hash-fd --password-hash-env -o --output --fields --empty --timeout --actor --reason --status --created-after --created-before --expires-before --last-login-before --mfa --email-domain --search --limit --cursor --sort --page --page-size --from-file --max-changes --email --if-version --source --mfa-code-file --mfa-code-fd --mfa-code-env --confirm --format --out --map --mode --batch-size --results --resume --max-errors --algorithm --digits --period --code-file --code-fd --code-env --ttl --audience --scope --token-file --token-fd --token-env --jti --session --user --older-than --purpose --alg --kid --overlap --if-older-than --passphrase-file --passphrase-fd --passphrase-env --key-file --key-fd --key-env --form --context --context-template --jsonl --csv --file --value-file --value-fd --value-env --tag --register --rate --burst --cost --wait --also --limited-exit --log --time-field --ident-field --by --subject --type --outcome --reason-contains --since --until --trace-id --wait-server
                set flag $token
            case '--*=*'
                set -l parts (string split -m 1 = -- $token)
                contains -- $parts[1] $argv; and set found $parts[2]
            case '--*'
            case '-*'
                set -l parts (string match -r -- '^-[^po]*([po])(.*)$' $token)
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
    set -l prefix (string replace -r '^(--[^=]*=|-[^po-]*[po])' '' -- (commandline -ct))
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
        case 'user create *' 'user list *' 'user show *' 'user exists *' 'user count *' 'user activate *' 'user unlock *' 'user deactivate *' 'user update *' 'user history *' 'user set-password *' 'user check-password *' 'user delete *' 'user export *' 'user import *' 'user mfa enroll *' 'user mfa confirm *' 'user mfa status *' 'user mfa disable *' 'user mfa recovery-codes *' 'user mfa reencrypt *' 'role list *' 'role show *' 'role assign *' 'access check *' 'token issue *' 'token verify *' 'token inspect *' 'token refresh *' 'token revoke *' 'token list *' 'token gc *' 'key list *' 'key show *' 'key add *' 'key promote *' 'key retire *' 'key destroy *' 'key replace-lost *' 'key rotate *' 'key due *' 'key jwks *' 'key wrap *' 'key import *' 'key export *' 'encrypt *' 'decrypt *' 'reencrypt *' 'cache get *' 'cache set *' 'cache delete *' 'cache list *' 'cache explain *' 'cache invalidate *' 'cache stats *' 'cache warm users *' 'cache drain *' 'cache dead list *' 'cache dead requeue *' 'cache dead drop *' 'ratelimit check *' 'ratelimit run *' 'ratelimit peek *' 'ratelimit list *' 'ratelimit reset *' 'ratelimit simulate *' 'ratelimit policy list *' 'ratelimit policy show *' 'audit list *' 'audit show *' 'audit verify *' 'config show *' 'config path *' 'config get *' 'config set *' 'config unset *' 'config validate *' 'profile list *' 'profile show *' 'profile current *' 'profile use *' 'db upgrade *' 'db status *' 'db check *' 'db backup *' 'db restore *' 'db restored *' 'plan *' 'apply *' 'sanitize *' 'init *' 'doctor *' 'completion bash *' 'completion zsh *' 'completion fish *' 'version *' 'help environment *' 'help exit-codes *' 'help formatting *' 'help identities *' 'help options *' 'help time *'
            return 0
    end
    return 1
end

complete -c backctl -f

# backctl
complete -c backctl -n '__backctl_at' -a user -d 'Create, list and manage accounts'
complete -c backctl -n '__backctl_at' -a role -d 'Show roles and their permissions, and assign them'
complete -c backctl -n '__backctl_at' -a access -d 'Check the permissions of an account'
complete -c backctl -n '__backctl_at' -a token -d 'Issue, verify, refresh and revoke tokens'
complete -c backctl -n '__backctl_at' -a key -d 'List, rotate, publish, import and export keys'
complete -c backctl -n '__backctl_at' -a encrypt -d 'Encrypt a value, chosen fields of records, or a file'
complete -c backctl -n '__backctl_at' -a decrypt -d 'Decrypt a value, chosen fields of records, or a file'
complete -c backctl -n '__backctl_at' -a reencrypt -d 'Re-encrypt a value, chosen fields of records, or a file'
complete -c backctl -n '__backctl_at' -a cache -d 'Inspect, change and invalidate cached values'
complete -c backctl -n '__backctl_at' -a ratelimit -d 'Check, inspect and reset rate limits'
complete -c backctl -n '__backctl_at' -a audit -d 'Read and verify the event log'
complete -c backctl -n '__backctl_at' -a config -d 'Show, validate and change the configuration'
complete -c backctl -n '__backctl_at' -a profile -d 'List profiles and select one'
complete -c backctl -n '__backctl_at' -a db -d 'Inspect, upgrade, back up and restore the database'
complete -c backctl -n '__backctl_at' -a plan -d 'Show what applying seed files would change'
complete -c backctl -n '__backctl_at' -a apply -d 'Create and change accounts so that they match seed files'
complete -c backctl -n '__backctl_at' -a sanitize -d 'Remove HTML and control characters from text or JSON'
complete -c backctl -n '__backctl_at' -a init -d 'Create the keyring and the database, if they do not exist'
complete -c backctl -n '__backctl_at' -a doctor -d 'Check the configuration, the database, the keys and the files'
complete -c backctl -n '__backctl_at' -a completion -d 'Print the completion script for a shell'
complete -c backctl -n '__backctl_at' -a version -d 'Show the versions of backctl, its libraries and its schema'
complete -c backctl -n '__backctl_at' -a help -d 'Show the help of a command, or of a topic such as options'
complete -c backctl -n '__backctl_at' -s p -l profile -x -a '(__backctl_stored profile)' -d 'Use this profile'
complete -c backctl -n '__backctl_at' -l config -r -F -d 'Use this configuration file'
complete -c backctl -n '__backctl_at' -s v -l verbose -d 'Print details on standard error'
complete -c backctl -n '__backctl_at' -l version -d 'Print the version and exit'
complete -c backctl -n '__backctl_at' -s h -l help -d 'Show this message and exit'

# backctl user
complete -c backctl -n '__backctl_at user' -a create -d 'Create an account'
complete -c backctl -n '__backctl_at user' -a list -d 'List accounts, page by page'
complete -c backctl -n '__backctl_at user' -a show -d 'Show an account'
complete -c backctl -n '__backctl_at user' -a exists -d 'Check whether an account exists: exit code 0 or 3'
complete -c backctl -n '__backctl_at user' -a count -d 'Count accounts'
complete -c backctl -n '__backctl_at user' -a activate -d 'Activate accounts that were deactivated'
complete -c backctl -n '__backctl_at user' -a unlock -d 'End the locks of accounts after failed logins'
complete -c backctl -n '__backctl_at user' -a deactivate -d 'Deactivate accounts: nobody can log in to them'
complete -c backctl -n '__backctl_at user' -a update -d 'Update the given attributes of an account'
complete -c backctl -n '__backctl_at user' -a history -d 'Show the events of an account, oldest first'
complete -c backctl -n '__backctl_at user' -a set-password -d 'Set the password of an account'
complete -c backctl -n '__backctl_at user' -a check-password -d 'Check the password of an account: exit code 0 or 6'
complete -c backctl -n '__backctl_at user' -a delete -d 'Permanently delete accounts; their events stay'
complete -c backctl -n '__backctl_at user' -a export -d 'Export accounts as JSON lines, JSON or CSV'
complete -c backctl -n '__backctl_at user' -a import -d 'Import accounts from JSON, CSV, Django or Ory Kratos'
complete -c backctl -n '__backctl_at user' -a mfa -d 'Manage the second factors of accounts'
complete -c backctl -n '__backctl_at user' -s h -l help -d 'Show this message and exit'

# backctl user create
complete -c backctl -n '__backctl_in user create' -l username -x -d '3 to 50 letters, digits, \'.\', \'_\' or \'-\''
complete -c backctl -n '__backctl_in user create' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'Role of the account; \'user\' unless given'
complete -c backctl -n '__backctl_in user create' -l expires-at -x -d 'Expire the account at this time, for example 2026-12-31 or 30d (in 30 days)'
complete -c backctl -n '__backctl_in user create' -l expires-in -x -d 'Expire the account after this time, for example 8h or 30d'
complete -c backctl -n '__backctl_in user create' -l generate-password -d 'Generate a password and print it once'
complete -c backctl -n '__backctl_in user create' -l no-password -d 'Create an account without a password'
complete -c backctl -n '__backctl_in user create' -l secret-file -r -F -d 'Write the generated password to this new file instead of printing it'
complete -c backctl -n '__backctl_in user create' -l must-change-password -d 'Require a new password at the next login'
complete -c backctl -n '__backctl_in user create' -l if-not-exists -d 'Succeed without changes if the account already exists'
complete -c backctl -n '__backctl_in user create' -l upsert -d 'Create the account, or update it if it exists; its password never changes'
complete -c backctl -n '__backctl_in user create' -l password-stdin -d 'Read the password from standard input'
complete -c backctl -n '__backctl_in user create' -l password-file -r -F -d 'Read the password from a file, or \'-\''
complete -c backctl -n '__backctl_in user create' -l password-fd -x -d 'Read the password from this descriptor'
complete -c backctl -n '__backctl_in user create' -l password-env -x -d 'Read the password from this variable'
complete -c backctl -n '__backctl_in user create' -l password-hash-stdin -d 'Read the password hash from standard input'
complete -c backctl -n '__backctl_in user create' -l password-hash-file -r -F -d 'Read the password hash from a file, or \'-\''
complete -c backctl -n '__backctl_in user create' -l password-hash-fd -x -d 'Read the password hash from this descriptor'
complete -c backctl -n '__backctl_in user create' -l password-hash-env -x -d 'Read the password hash from this variable'
complete -c backctl -n '__backctl_in user create' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user create' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user create' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported changed dry_run password secret_file)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user create' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user create' -l reason -x -d 'Record this reason with every change'

# backctl user list
complete -c backctl -n '__backctl_in user list' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'Only accounts with this role; may be repeated'
complete -c backctl -n '__backctl_in user list' -l status -x -a 'active closed expired locked' -d 'Only accounts with this status; may be repeated'
complete -c backctl -n '__backctl_in user list' -l active -d 'Only accounts that can log in now (status active), or only the others'
complete -c backctl -n '__backctl_in user list' -l inactive -d 'Only accounts that can log in now (status active), or only the others'
complete -c backctl -n '__backctl_in user list' -l locked -d 'Only accounts with a lock after failed logins, even if closed or expired'
complete -c backctl -n '__backctl_in user list' -l created-after -x -d 'Only accounts created at this time or later; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user list' -l created-before -x -d 'Only accounts created before this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user list' -l expires-before -x -d 'Only accounts that expire before this time; 7d is in 7 days'
complete -c backctl -n '__backctl_in user list' -l last-login-before -x -d 'Only accounts without a login since this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user list' -l mfa -x -a 'off pending on' -d 'Only accounts with the second factor in this state; may be repeated'
complete -c backctl -n '__backctl_in user list' -l must-change-password -d 'Only accounts that must change their password at the next login'
complete -c backctl -n '__backctl_in user list' -l no-password -d 'Only accounts without a password'
complete -c backctl -n '__backctl_in user list' -l email-domain -x -d 'Only accounts with an address in this domain'
complete -c backctl -n '__backctl_in user list' -l search -x -d 'Only accounts with this text in the username or the address'
complete -c backctl -n '__backctl_in user list' -l limit -x -d 'Page size, 1 to 1000; 50 unless given'
complete -c backctl -n '__backctl_in user list' -l cursor -x -d 'Continue after the previous page'
complete -c backctl -n '__backctl_in user list' -l all -d 'Print everything instead of one page'
complete -c backctl -n '__backctl_in user list' -l sort -x -a 'created_at email username id -created_at -email -username -id' -d 'Sort by created_at, email, username or id; \'-\' in front reverses it'
complete -c backctl -n '__backctl_in user list' -l page -x -d 'Print page N, starting at 1'
complete -c backctl -n '__backctl_in user list' -l page-size -x -d 'Accounts per numbered page'
complete -c backctl -n '__backctl_in user list' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported)' -d 'Print only these fields, in this order'

# backctl user show
complete -c backctl -n '__backctl_operand 1 user show' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user show' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported last_seen_at)' -d 'Print only these fields, in this order'

# backctl user exists
complete -c backctl -n '__backctl_operand 1 user exists' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user exists' -l fields -x -a '(__backctl_listed ok ident user_id)' -d 'Print only these fields, in this order'

# backctl user count
complete -c backctl -n '__backctl_in user count' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'Only accounts with this role; may be repeated'
complete -c backctl -n '__backctl_in user count' -l status -x -a 'active closed expired locked' -d 'Only accounts with this status; may be repeated'
complete -c backctl -n '__backctl_in user count' -l active -d 'Only accounts that can log in now (status active), or only the others'
complete -c backctl -n '__backctl_in user count' -l inactive -d 'Only accounts that can log in now (status active), or only the others'
complete -c backctl -n '__backctl_in user count' -l locked -d 'Only accounts with a lock after failed logins, even if closed or expired'
complete -c backctl -n '__backctl_in user count' -l created-after -x -d 'Only accounts created at this time or later; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user count' -l created-before -x -d 'Only accounts created before this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user count' -l expires-before -x -d 'Only accounts that expire before this time; 7d is in 7 days'
complete -c backctl -n '__backctl_in user count' -l last-login-before -x -d 'Only accounts without a login since this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user count' -l mfa -x -a 'off pending on' -d 'Only accounts with the second factor in this state; may be repeated'
complete -c backctl -n '__backctl_in user count' -l must-change-password -d 'Only accounts that must change their password at the next login'
complete -c backctl -n '__backctl_in user count' -l no-password -d 'Only accounts without a password'
complete -c backctl -n '__backctl_in user count' -l email-domain -x -d 'Only accounts with an address in this domain'
complete -c backctl -n '__backctl_in user count' -l search -x -d 'Only accounts with this text in the username or the address'
complete -c backctl -n '__backctl_in user count' -l fields -x -a '(__backctl_listed count)' -d 'Print only these fields, in this order'

# backctl user activate
complete -c backctl -n '__backctl_operand 1+ user activate' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user activate' -l from-file -r -F -d 'Read accounts from a file, one per line or as JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in user activate' -l max-changes -x -d 'Change nothing if more accounts would change than this number or percentage, for example 20 or 5%'
complete -c backctl -n '__backctl_in user activate' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user activate' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user activate' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported changed dry_run ident error)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user activate' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user activate' -l reason -x -d 'Record this reason with every change'

# backctl user unlock
complete -c backctl -n '__backctl_operand 1+ user unlock' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user unlock' -l from-file -r -F -d 'Read accounts from a file, one per line or as JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in user unlock' -l max-changes -x -d 'Change nothing if more accounts would change than this number or percentage, for example 20 or 5%'
complete -c backctl -n '__backctl_in user unlock' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user unlock' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user unlock' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported changed dry_run ident error)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user unlock' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user unlock' -l reason -x -d 'Record this reason with every change'

# backctl user deactivate
complete -c backctl -n '__backctl_operand 1+ user deactivate' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user deactivate' -l from-file -r -F -d 'Read accounts from a file, one per line or as JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in user deactivate' -l max-changes -x -d 'Change nothing if more accounts would change than this number or percentage, for example 20 or 5%'
complete -c backctl -n '__backctl_in user deactivate' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user deactivate' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user deactivate' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported changed dry_run ident error)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user deactivate' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user deactivate' -l reason -x -d 'Record this reason with every change'

# backctl user update
complete -c backctl -n '__backctl_operand 1 user update' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user update' -l email -x -d 'New e-mail address'
complete -c backctl -n '__backctl_in user update' -l username -x -d 'New username'
complete -c backctl -n '__backctl_in user update' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'New role'
complete -c backctl -n '__backctl_in user update' -l expires-at -x -d 'Expire the account at this time, for example 2026-12-31 or 30d (in 30 days)'
complete -c backctl -n '__backctl_in user update' -l expires-in -x -d 'Expire the account after this time, for example 8h or 30d'
complete -c backctl -n '__backctl_in user update' -l no-expiry -d 'Remove the expiry of the account'
complete -c backctl -n '__backctl_in user update' -l if-version -x -d 'Update only if the account still has this version'
complete -c backctl -n '__backctl_in user update' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user update' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user update' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user update' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user update' -l reason -x -d 'Record this reason with every change'

# backctl user history
complete -c backctl -n '__backctl_operand 1 user history' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user history' -l sort -x -a 'seq -seq' -d '\'seq\' shows the oldest first, \'-seq\' the newest first'
complete -c backctl -n '__backctl_in user history' -l limit -x -d 'Page size, 1 to 1000; 50 unless given'
complete -c backctl -n '__backctl_in user history' -l cursor -x -d 'Continue after the previous page'
complete -c backctl -n '__backctl_in user history' -l all -d 'Print everything instead of one page'
complete -c backctl -n '__backctl_in user history' -l fields -x -a '(__backctl_listed seq id occurred_at type subject subject_name actor os_user host reason trace_id data)' -d 'Print only these fields, in this order'

# backctl user set-password
complete -c backctl -n '__backctl_operand 1 user set-password' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user set-password' -l generate-password -d 'Generate a password and print it once'
complete -c backctl -n '__backctl_in user set-password' -l secret-file -r -F -d 'Write the generated password to this new file instead of printing it'
complete -c backctl -n '__backctl_in user set-password' -l must-change-password -d 'Require a new password at the next login'
complete -c backctl -n '__backctl_in user set-password' -l password-stdin -d 'Read the password from standard input'
complete -c backctl -n '__backctl_in user set-password' -l password-file -r -F -d 'Read the password from a file, or \'-\''
complete -c backctl -n '__backctl_in user set-password' -l password-fd -x -d 'Read the password from this descriptor'
complete -c backctl -n '__backctl_in user set-password' -l password-env -x -d 'Read the password from this variable'
complete -c backctl -n '__backctl_in user set-password' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user set-password' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user set-password' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported changed dry_run password secret_file)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user set-password' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user set-password' -l reason -x -d 'Record this reason with every change'

# backctl user check-password
complete -c backctl -n '__backctl_operand 1 user check-password' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user check-password' -l source -x -d 'IP address of the client, for authentication.source_policy'
complete -c backctl -n '__backctl_in user check-password' -l password-stdin -d 'Read the password from standard input'
complete -c backctl -n '__backctl_in user check-password' -l password-file -r -F -d 'Read the password from a file, or \'-\''
complete -c backctl -n '__backctl_in user check-password' -l password-fd -x -d 'Read the password from this descriptor'
complete -c backctl -n '__backctl_in user check-password' -l password-env -x -d 'Read the password from this variable'
complete -c backctl -n '__backctl_in user check-password' -l mfa-code-stdin -d 'Read the MFA code from standard input'
complete -c backctl -n '__backctl_in user check-password' -l mfa-code-file -r -F -d 'Read the MFA code from a file, or \'-\''
complete -c backctl -n '__backctl_in user check-password' -l mfa-code-fd -x -d 'Read the MFA code from this descriptor'
complete -c backctl -n '__backctl_in user check-password' -l mfa-code-env -x -d 'Read the MFA code from this variable'
complete -c backctl -n '__backctl_in user check-password' -l fields -x -a '(__backctl_listed ok ident outcome locked_until user_id second_factor recovery_codes_left retry_after)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user check-password' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user check-password' -l reason -x -d 'Record this reason with every change'

# backctl user delete
complete -c backctl -n '__backctl_operand 1+ user delete' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user delete' -l erase -d 'Also erase the data of their events; actors and reasons stay'
complete -c backctl -n '__backctl_in user delete' -l if-exists -d 'Succeed if there is no such account'
complete -c backctl -n '__backctl_in user delete' -l from-file -r -F -d 'Read accounts from a file, one per line or as JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in user delete' -l max-changes -x -d 'Change nothing if more accounts would change than this number or percentage, for example 20 or 5%'
complete -c backctl -n '__backctl_in user delete' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user delete' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user delete' -l confirm -x -d 'Confirm with the name, number or id that the prompt asks for'
complete -c backctl -n '__backctl_in user delete' -l fields -x -a '(__backctl_listed id email username erased_events changed dry_run ident error)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user delete' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user delete' -l reason -x -d 'Record this reason with every change'

# backctl user export
complete -c backctl -n '__backctl_in user export' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'Only accounts with this role; may be repeated'
complete -c backctl -n '__backctl_in user export' -l status -x -a 'active closed expired locked' -d 'Only accounts with this status; may be repeated'
complete -c backctl -n '__backctl_in user export' -l active -d 'Only accounts that can log in now (status active), or only the others'
complete -c backctl -n '__backctl_in user export' -l inactive -d 'Only accounts that can log in now (status active), or only the others'
complete -c backctl -n '__backctl_in user export' -l locked -d 'Only accounts with a lock after failed logins, even if closed or expired'
complete -c backctl -n '__backctl_in user export' -l created-after -x -d 'Only accounts created at this time or later; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user export' -l created-before -x -d 'Only accounts created before this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user export' -l expires-before -x -d 'Only accounts that expire before this time; 7d is in 7 days'
complete -c backctl -n '__backctl_in user export' -l last-login-before -x -d 'Only accounts without a login since this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in user export' -l mfa -x -a 'off pending on' -d 'Only accounts with the second factor in this state; may be repeated'
complete -c backctl -n '__backctl_in user export' -l must-change-password -d 'Only accounts that must change their password at the next login'
complete -c backctl -n '__backctl_in user export' -l no-password -d 'Only accounts without a password'
complete -c backctl -n '__backctl_in user export' -l email-domain -x -d 'Only accounts with an address in this domain'
complete -c backctl -n '__backctl_in user export' -l search -x -d 'Only accounts with this text in the username or the address'
complete -c backctl -n '__backctl_in user export' -l format -x -a 'jsonl json csv' -d 'Format of the accounts; jsonl unless -o selects another'
complete -c backctl -n '__backctl_in user export' -l include-hashes -d 'Include the password hashes; the event log records it'
complete -c backctl -n '__backctl_in user export' -l include-mfa -d 'Include the secrets of second factors; the event log records it'
complete -c backctl -n '__backctl_in user export' -l spreadsheet-safe -d 'Put \' before cells of CSV that a spreadsheet would run; they do not import unchanged'
complete -c backctl -n '__backctl_in user export' -l out -r -F -d 'Write to this new file, which appears when it is complete, and print a report'
complete -c backctl -n '__backctl_in user export' -l overwrite -d 'Replace the file of --out if it exists'
complete -c backctl -n '__backctl_in user export' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user export' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user export' -l fields -x -a '(__backctl_listed file size_bytes accounts hashes mfa changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user export' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user export' -l reason -x -d 'Record this reason with every change'

# backctl user import
complete -c backctl -n '__backctl_operand 1 user import' -r -F
complete -c backctl -n '__backctl_in user import' -l format -x -a 'jsonl json csv django kratos' -d 'Format of the accounts; by default from the ending of the name, else jsonl'
complete -c backctl -n '__backctl_in user import' -l map -x -d 'Read a member from another column, such as mail=email; mail= ignores the column. May be repeated'
complete -c backctl -n '__backctl_in user import' -l mode -x -a 'create upsert skip' -d 'A row whose account exists fails (create), updates the account (upsert), or changes nothing (skip)'
complete -c backctl -n '__backctl_in user import' -l update-secrets -d 'With --mode upsert, replace passwords and second factors too'
complete -c backctl -n '__backctl_in user import' -l generate-passwords -d 'Generate a password for each new account without one; needs --secret-file'
complete -c backctl -n '__backctl_in user import' -l all-or-nothing -d 'Import all rows in one transaction, or none if any of them fails'
complete -c backctl -n '__backctl_in user import' -l batch-size -x -d 'Rows per transaction, 1 to 10000; by default 1000'
complete -c backctl -n '__backctl_in user import' -l results -r -F -d 'Write what became of each row to this new file, as JSON lines'
complete -c backctl -n '__backctl_in user import' -l resume -r -F -d 'Continue an interrupted import, and the file that it wrote with --results'
complete -c backctl -n '__backctl_in user import' -l secret-file -r -F -d 'Write the generated passwords to this new file, as JSON lines; with --resume it may exist'
complete -c backctl -n '__backctl_in user import' -l max-errors -x -d 'Stop after more failed rows than this number, or percentage of the rows so far'
complete -c backctl -n '__backctl_in user import' -l max-changes -x -d 'Change nothing if more accounts would change than this number, or percentage of all accounts'
complete -c backctl -n '__backctl_in user import' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user import' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user import' -l fields -x -a '(__backctl_listed total created updated unchanged failed undone ignored errors password_schemes results_file changed dry_run secret_file)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user import' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user import' -l reason -x -d 'Record this reason with every change'

# backctl user mfa
complete -c backctl -n '__backctl_at user mfa' -a enroll -d 'Create a secret for an authenticator and show it once'
complete -c backctl -n '__backctl_at user mfa' -a confirm -d 'Turn the second factor on with a code'
complete -c backctl -n '__backctl_at user mfa' -a status -d 'Show the second factor of an account'
complete -c backctl -n '__backctl_at user mfa' -a disable -d 'Remove the second factor of an account'
complete -c backctl -n '__backctl_at user mfa' -a recovery-codes -d 'Replace the recovery codes with ten new ones, shown once'
complete -c backctl -n '__backctl_at user mfa' -a reencrypt -d 'Re-encrypt all secrets with the primary key'
complete -c backctl -n '__backctl_at user mfa' -s h -l help -d 'Show this message and exit'

# backctl user mfa enroll
complete -c backctl -n '__backctl_operand 1 user mfa enroll' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa enroll' -l algorithm -x -a 'sha1 sha256 sha512' -d 'Hash: sha1, sha256, sha512; some authenticators know sha1 only'
complete -c backctl -n '__backctl_in user mfa enroll' -l digits -x -d 'Number of digits of a code, 6 to 8'
complete -c backctl -n '__backctl_in user mfa enroll' -l period -x -d 'How long a code is valid, 10 to 300'
complete -c backctl -n '__backctl_in user mfa enroll' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user mfa enroll' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user mfa enroll' -l fields -x -a '(__backctl_listed user_id username mfa algorithm digits period enrolled_at confirmed_at recovery_codes_left changed dry_run secret uri)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user mfa enroll' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user mfa enroll' -l reason -x -d 'Record this reason with every change'

# backctl user mfa confirm
complete -c backctl -n '__backctl_operand 1 user mfa confirm' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa confirm' -l secret-file -r -F -d 'Write the recovery codes to this new file instead of printing them'
complete -c backctl -n '__backctl_in user mfa confirm' -l code-stdin -d 'Read the code from standard input'
complete -c backctl -n '__backctl_in user mfa confirm' -l code-file -r -F -d 'Read the code from a file, or \'-\''
complete -c backctl -n '__backctl_in user mfa confirm' -l code-fd -x -d 'Read the code from this descriptor'
complete -c backctl -n '__backctl_in user mfa confirm' -l code-env -x -d 'Read the code from this variable'
complete -c backctl -n '__backctl_in user mfa confirm' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user mfa confirm' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user mfa confirm' -l fields -x -a '(__backctl_listed user_id username mfa algorithm digits period enrolled_at confirmed_at recovery_codes_left changed dry_run recovery_codes secret_file)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user mfa confirm' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user mfa confirm' -l reason -x -d 'Record this reason with every change'

# backctl user mfa status
complete -c backctl -n '__backctl_operand 1 user mfa status' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa status' -l fields -x -a '(__backctl_listed user_id username mfa algorithm digits period enrolled_at confirmed_at recovery_codes_left)' -d 'Print only these fields, in this order'

# backctl user mfa disable
complete -c backctl -n '__backctl_operand 1 user mfa disable' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa disable' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user mfa disable' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user mfa disable' -l fields -x -a '(__backctl_listed user_id username mfa algorithm digits period enrolled_at confirmed_at recovery_codes_left changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user mfa disable' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user mfa disable' -l reason -x -d 'Record this reason with every change'

# backctl user mfa recovery-codes
complete -c backctl -n '__backctl_operand 1 user mfa recovery-codes' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -l secret-file -r -F -d 'Write the recovery codes to this new file instead of printing them'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -l fields -x -a '(__backctl_listed user_id username mfa algorithm digits period enrolled_at confirmed_at recovery_codes_left changed dry_run recovery_codes secret_file)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -l reason -x -d 'Record this reason with every change'

# backctl user mfa reencrypt
complete -c backctl -n '__backctl_in user mfa reencrypt' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in user mfa reencrypt' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in user mfa reencrypt' -l fields -x -a '(__backctl_listed moved unusable changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in user mfa reencrypt' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in user mfa reencrypt' -l reason -x -d 'Record this reason with every change'

# backctl role
complete -c backctl -n '__backctl_at role' -a list -d 'List the roles: the built-in ones, then the configured ones'
complete -c backctl -n '__backctl_at role' -a show -d 'Show a role and its permissions'
complete -c backctl -n '__backctl_at role' -a assign -d 'Assign a role to accounts, replacing their current one'
complete -c backctl -n '__backctl_at role' -s h -l help -d 'Show this message and exit'

# backctl role list
complete -c backctl -n '__backctl_in role list' -l fields -x -a '(__backctl_listed name description builtin permissions)' -d 'Print only these fields, in this order'

# backctl role show
complete -c backctl -n '__backctl_operand 1 role show' -x -a 'user moderator admin (__backctl_stored role)'
complete -c backctl -n '__backctl_in role show' -l fields -x -a '(__backctl_listed name description builtin permissions)' -d 'Print only these fields, in this order'

# backctl role assign
complete -c backctl -n '__backctl_operand 1 role assign' -x -a 'user moderator admin (__backctl_stored role)'
complete -c backctl -n '__backctl_operand 2+ role assign' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in role assign' -l from-file -r -F -d 'Read accounts from a file, one per line or as JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in role assign' -l max-changes -x -d 'Change nothing if more accounts would change than this number or percentage, for example 20 or 5%'
complete -c backctl -n '__backctl_in role assign' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in role assign' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in role assign' -l fields -x -a '(__backctl_listed id email username role status is_active locked_until has_password must_change_password mfa expires_at last_login_at created_at updated_at version password_imported changed dry_run ident error)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in role assign' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in role assign' -l reason -x -d 'Record this reason with every change'

# backctl access
complete -c backctl -n '__backctl_at access' -a check -d 'Check whether an account has a permission now: exit code 0 or 6'
complete -c backctl -n '__backctl_at access' -s h -l help -d 'Show this message and exit'

# backctl access check
complete -c backctl -n '__backctl_operand 1 access check' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in access check' -l explain -d 'Show the reasons for the answer'
complete -c backctl -n '__backctl_in access check' -l fields -x -a '(__backctl_listed ok ident user_id permission reason granted_by role role_permissions is_active expires_at)' -d 'Print only these fields, in this order'

# backctl token
complete -c backctl -n '__backctl_at token' -a issue -d 'Issue an access token to an account and print it'
complete -c backctl -n '__backctl_at token' -a verify -d 'Check whether an access token is valid, and print its claims'
complete -c backctl -n '__backctl_at token' -a inspect -d 'Show the contents of a token, without verifying it'
complete -c backctl -n '__backctl_at token' -a refresh -d 'Exchange a refresh token for a new pair of tokens'
complete -c backctl -n '__backctl_at token' -a revoke -d 'Revoke a token, a session, or many sessions'
complete -c backctl -n '__backctl_at token' -a list -d 'List the sessions of an account, oldest first'
complete -c backctl -n '__backctl_at token' -a gc -d 'Remove expired sessions, refresh tokens and revocations'
complete -c backctl -n '__backctl_at token' -s h -l help -d 'Show this message and exit'

# backctl token issue
complete -c backctl -n '__backctl_operand 1 token issue' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in token issue' -l ttl -x -d 'How long the token is valid, up to 1d'
complete -c backctl -n '__backctl_in token issue' -l audience -x -d 'Audience claim (`aud`), instead of tokens.audience'
complete -c backctl -n '__backctl_in token issue' -l scope -x -d 'Space-separated scopes'
complete -c backctl -n '__backctl_in token issue' -l pair -d 'Also issue a refresh token, on a second line'
complete -c backctl -n '__backctl_in token issue' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in token issue' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in token issue' -l fields -x -a '(__backctl_listed access_token token_type expires_in refresh_token expires_at refresh_expires_at session_id jti user_id audience role scope changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in token issue' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in token issue' -l reason -x -d 'Record this reason with every change'

# backctl token verify
complete -c backctl -n '__backctl_in token verify' -l audience -x -d 'Audience claim (`aud`), instead of tokens.audience'
complete -c backctl -n '__backctl_in token verify' -l offline -d 'Do not use the database; revocation is not checked'
complete -c backctl -n '__backctl_in token verify' -l batch -d 'Read one token per line from standard input and print one JSON object for each'
complete -c backctl -n '__backctl_in token verify' -l token-stdin -d 'Read the token from standard input'
complete -c backctl -n '__backctl_in token verify' -l token-file -r -F -d 'Read the token from a file, or \'-\''
complete -c backctl -n '__backctl_in token verify' -l token-fd -x -d 'Read the token from this descriptor'
complete -c backctl -n '__backctl_in token verify' -l token-env -x -d 'Read the token from this variable'
complete -c backctl -n '__backctl_in token verify' -l fields -x -a '(__backctl_listed ok reason problem hint iss aud sub client_id iat nbf exp jti sid role scope issued_at expires_at revocation line)' -d 'Print only these fields, in this order'

# backctl token inspect
complete -c backctl -n '__backctl_in token inspect' -l token-stdin -d 'Read the token from standard input'
complete -c backctl -n '__backctl_in token inspect' -l token-file -r -F -d 'Read the token from a file, or \'-\''
complete -c backctl -n '__backctl_in token inspect' -l token-fd -x -d 'Read the token from this descriptor'
complete -c backctl -n '__backctl_in token inspect' -l token-env -x -d 'Read the token from this variable'
complete -c backctl -n '__backctl_in token inspect' -l fields -x -a '(__backctl_listed verified kind header claims)' -d 'Print only these fields, in this order'

# backctl token refresh
complete -c backctl -n '__backctl_in token refresh' -l token-stdin -d 'Read the token from standard input'
complete -c backctl -n '__backctl_in token refresh' -l token-file -r -F -d 'Read the token from a file, or \'-\''
complete -c backctl -n '__backctl_in token refresh' -l token-fd -x -d 'Read the token from this descriptor'
complete -c backctl -n '__backctl_in token refresh' -l token-env -x -d 'Read the token from this variable'
complete -c backctl -n '__backctl_in token refresh' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in token refresh' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in token refresh' -l fields -x -a '(__backctl_listed access_token token_type expires_in refresh_token expires_at refresh_expires_at session_id jti user_id audience role scope changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in token refresh' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in token refresh' -l reason -x -d 'Record this reason with every change'

# backctl token revoke
complete -c backctl -n '__backctl_in token revoke' -l jti -x -d 'Revoke the access token with this id'
complete -c backctl -n '__backctl_in token revoke' -l session -x -d 'Revoke a session with all its tokens'
complete -c backctl -n '__backctl_in token revoke' -l user -x -a '(__backctl_stored account)' -d 'Revoke all sessions of this account'
complete -c backctl -n '__backctl_in token revoke' -l all -d 'Revoke all sessions of all accounts'
complete -c backctl -n '__backctl_in token revoke' -l token-stdin -d 'Read the token from standard input'
complete -c backctl -n '__backctl_in token revoke' -l token-file -r -F -d 'Read the token from a file, or \'-\''
complete -c backctl -n '__backctl_in token revoke' -l token-fd -x -d 'Read the token from this descriptor'
complete -c backctl -n '__backctl_in token revoke' -l token-env -x -d 'Read the token from this variable'
complete -c backctl -n '__backctl_in token revoke' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in token revoke' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in token revoke' -l fields -x -a '(__backctl_listed revoked id user_id revoked_sessions changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in token revoke' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in token revoke' -l reason -x -d 'Record this reason with every change'

# backctl token list
complete -c backctl -n '__backctl_operand 1 token list' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in token list' -l limit -x -d 'Page size, 1 to 1000; 50 unless given'
complete -c backctl -n '__backctl_in token list' -l cursor -x -d 'Continue after the previous page'
complete -c backctl -n '__backctl_in token list' -l all -d 'Print everything instead of one page'
complete -c backctl -n '__backctl_in token list' -l fields -x -a '(__backctl_listed id user_id state refreshable client_id issuer audience scope created_at issued_at expires_at latest_expires_at revoked_at revoked_because last_seen_at)' -d 'Print only these fields, in this order'

# backctl token gc
complete -c backctl -n '__backctl_in token gc' -l batch-size -x -d 'Rows of each kind per transaction; 1000 unless given'
complete -c backctl -n '__backctl_in token gc' -l older-than -x -d 'Remove what expired at least this long ago; 1d unless given'
complete -c backctl -n '__backctl_in token gc' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in token gc' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in token gc' -l fields -x -a '(__backctl_listed sessions refresh_tokens revocations changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in token gc' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in token gc' -l reason -x -d 'Record this reason with every change'

# backctl key
complete -c backctl -n '__backctl_at key' -a list -d 'List the keys, oldest first'
complete -c backctl -n '__backctl_at key' -a show -d 'Show a key, without its secret'
complete -c backctl -n '__backctl_at key' -a add -d 'Create a standby key, which is used once it is promoted'
complete -c backctl -n '__backctl_at key' -a promote -d 'Make a key the primary key of its purpose'
complete -c backctl -n '__backctl_at key' -a retire -d 'Retire a key that is not the primary key'
complete -c backctl -n '__backctl_at key' -a destroy -d 'Permanently destroy a key'
complete -c backctl -n '__backctl_at key' -a replace-lost -d 'Replace a keyring file that is lost and has no backup'
complete -c backctl -n '__backctl_at key' -a rotate -d 'Rotate keys that are older than a given age'
complete -c backctl -n '__backctl_at key' -a due -d 'Show what \'rotate\' with the same options would do'
complete -c backctl -n '__backctl_at key' -a jwks -d 'Print the public keys of the signing keys, as a JWK Set'
complete -c backctl -n '__backctl_at key' -a wrap -d 'Encrypt the keyring file with a passphrase'
complete -c backctl -n '__backctl_at key' -a import -d 'Import a private key in JWK or PEM form as a standby key'
complete -c backctl -n '__backctl_at key' -a export -d 'Print the public half of a key, or the private key'
complete -c backctl -n '__backctl_at key' -s h -l help -d 'Show this message and exit'

# backctl key list
complete -c backctl -n '__backctl_in key list' -l purpose -x -a 'sign encrypt audit index' -d 'Only keys of this purpose'
complete -c backctl -n '__backctl_in key list' -l fields -x -a '(__backctl_listed id purpose state kty alg use created_at promoted_at expires_at)' -d 'Print only these fields, in this order'

# backctl key show
complete -c backctl -n '__backctl_operand 1 key show' -x -a '(__backctl_stored key)'
complete -c backctl -n '__backctl_in key show' -l fields -x -a '(__backctl_listed id purpose state kty alg use created_at promoted_at expires_at)' -d 'Print only these fields, in this order'

# backctl key add
complete -c backctl -n '__backctl_in key add' -l purpose -x -a 'sign encrypt audit index' -d 'Purpose of the key'
complete -c backctl -n '__backctl_in key add' -l alg -x -a 'EdDSA ES256 RS256 HS256' -d 'Algorithm of a signing key; EdDSA unless given'
complete -c backctl -n '__backctl_in key add' -l kid -x -d 'Name of the new key; generated unless given'
complete -c backctl -n '__backctl_in key add' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key add' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key add' -l fields -x -a '(__backctl_listed id purpose state kty alg use created_at promoted_at expires_at changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key add' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key add' -l reason -x -d 'Record this reason with every change'

# backctl key promote
complete -c backctl -n '__backctl_operand 1 key promote' -x -a '(__backctl_stored key)'
complete -c backctl -n '__backctl_in key promote' -l overlap -x -d 'How long the retired signing key still verifies'
complete -c backctl -n '__backctl_in key promote' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key promote' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key promote' -l fields -x -a '(__backctl_listed id purpose state kty alg use created_at promoted_at expires_at changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key promote' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key promote' -l reason -x -d 'Record this reason with every change'

# backctl key retire
complete -c backctl -n '__backctl_operand 1 key retire' -x -a '(__backctl_stored key)'
complete -c backctl -n '__backctl_in key retire' -l overlap -x -d 'How long the retired signing key still verifies'
complete -c backctl -n '__backctl_in key retire' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key retire' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key retire' -l fields -x -a '(__backctl_listed id purpose state kty alg use created_at promoted_at expires_at changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key retire' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key retire' -l reason -x -d 'Record this reason with every change'

# backctl key destroy
complete -c backctl -n '__backctl_operand 1 key destroy' -x -a '(__backctl_stored key)'
complete -c backctl -n '__backctl_in key destroy' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key destroy' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key destroy' -l confirm -x -d 'Confirm with the name, number or id that the prompt asks for'
complete -c backctl -n '__backctl_in key destroy' -l fields -x -a '(__backctl_listed id purpose destroyed_at changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key destroy' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key destroy' -l reason -x -d 'Record this reason with every change'

# backctl key replace-lost
complete -c backctl -n '__backctl_in key replace-lost' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key replace-lost' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key replace-lost' -l confirm -x -d 'Confirm with the name, number or id that the prompt asks for'
complete -c backctl -n '__backctl_in key replace-lost' -l fields -x -a '(__backctl_listed file installation_id replaced unverified lost_key_ids mfa_disabled changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key replace-lost' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key replace-lost' -l reason -x -d 'Record this reason with every change'

# backctl key rotate
complete -c backctl -n '__backctl_in key rotate' -l purpose -x -a 'sign encrypt audit index' -d 'Only keys of this purpose, may be repeated; sign and encrypt unless given'
complete -c backctl -n '__backctl_in key rotate' -l if-older-than -x -d 'Rotate keys that have been in use for at least this long'
complete -c backctl -n '__backctl_in key rotate' -l overlap -x -d 'How long a successor is published before its use, and how long a retired signing key still verifies'
complete -c backctl -n '__backctl_in key rotate' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key rotate' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key rotate' -l fields -x -a '(__backctl_listed added_key_ids promoted_key_ids retired_key_ids changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key rotate' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key rotate' -l reason -x -d 'Record this reason with every change'

# backctl key due
complete -c backctl -n '__backctl_in key due' -l purpose -x -a 'sign encrypt audit index' -d 'Only keys of this purpose, may be repeated; sign and encrypt unless given'
complete -c backctl -n '__backctl_in key due' -l if-older-than -x -d 'Rotate keys that have been in use for at least this long'
complete -c backctl -n '__backctl_in key due' -l overlap -x -d 'How long a successor is published before its use, and how long a retired signing key still verifies'
complete -c backctl -n '__backctl_in key due' -l fields -x -a '(__backctl_listed ok purpose key_id primary_since step)' -d 'Print only these fields, in this order'

# backctl key jwks
complete -c backctl -n '__backctl_in key jwks' -l format -x -a 'jwks envoy istio' -d 'Format: a JWK Set, or the configuration of a proxy that contains it'
complete -c backctl -n '__backctl_in key jwks' -l fields -x -d 'Print only these fields, in this order'

# backctl key wrap
complete -c backctl -n '__backctl_in key wrap' -l none -d 'Store the keyring unencrypted again'
complete -c backctl -n '__backctl_in key wrap' -l passphrase-stdin -d 'Read the passphrase from standard input'
complete -c backctl -n '__backctl_in key wrap' -l passphrase-file -r -F -d 'Read the passphrase from a file, or \'-\''
complete -c backctl -n '__backctl_in key wrap' -l passphrase-fd -x -d 'Read the passphrase from this descriptor'
complete -c backctl -n '__backctl_in key wrap' -l passphrase-env -x -d 'Read the passphrase from this variable'
complete -c backctl -n '__backctl_in key wrap' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key wrap' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key wrap' -l fields -x -a '(__backctl_listed wrapped keys changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key wrap' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key wrap' -l reason -x -d 'Record this reason with every change'

# backctl key import
complete -c backctl -n '__backctl_in key import' -l purpose -x -a 'sign encrypt audit index' -d 'Purpose of the key'
complete -c backctl -n '__backctl_in key import' -l alg -x -a 'EdDSA ES256 RS256 HS256' -d 'Algorithm of a signing key; EdDSA unless given'
complete -c backctl -n '__backctl_in key import' -l kid -x -d 'Name of the new key; generated unless given'
complete -c backctl -n '__backctl_in key import' -l key-stdin -d 'Read the key from standard input'
complete -c backctl -n '__backctl_in key import' -l key-file -r -F -d 'Read the key from a file, or \'-\''
complete -c backctl -n '__backctl_in key import' -l key-fd -x -d 'Read the key from this descriptor'
complete -c backctl -n '__backctl_in key import' -l key-env -x -d 'Read the key from this variable'
complete -c backctl -n '__backctl_in key import' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key import' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key import' -l fields -x -a '(__backctl_listed id purpose state alg original_id changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key import' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key import' -l reason -x -d 'Record this reason with every change'

# backctl key export
complete -c backctl -n '__backctl_operand 1 key export' -x -a '(__backctl_stored key)'
complete -c backctl -n '__backctl_in key export' -l private -d 'Export the private key; the event log records it'
complete -c backctl -n '__backctl_in key export' -l form -x -a 'jwk pem' -d 'Format of the key'
complete -c backctl -n '__backctl_in key export' -l secret-file -r -F -d 'Write the private key to this new file instead of printing it'
complete -c backctl -n '__backctl_in key export' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in key export' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in key export' -l fields -x -a '(__backctl_listed id form private document changed dry_run secret_file)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in key export' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in key export' -l reason -x -d 'Record this reason with every change'

# backctl encrypt
complete -c backctl -n '__backctl_in encrypt' -l context -x -d 'Bind the value to this context, such as users.phone:1, or \'\' for none'
complete -c backctl -n '__backctl_in encrypt' -l context-template -x -d 'Context of a record: {id} is the value of its field `id`, {} the name of the encrypted field'
complete -c backctl -n '__backctl_in encrypt' -l lines -d 'Treat every line as a value'
complete -c backctl -n '__backctl_in encrypt' -l jsonl -x -d 'Read JSON objects, one per line, and process these strings in them; a? may be missing'
complete -c backctl -n '__backctl_in encrypt' -l csv -x -d 'Read CSV with a header, and process these columns'
complete -c backctl -n '__backctl_in encrypt' -l file -r -F -d 'Read this file, whole or as records, of any size; \'-\' is standard input'
complete -c backctl -n '__backctl_in encrypt' -l out -r -F -d 'Write to this new file, which appears when it is complete, and print a report'
complete -c backctl -n '__backctl_in encrypt' -l overwrite -d 'Replace the file of --out if it exists'
complete -c backctl -n '__backctl_in encrypt' -l all-or-nothing -d 'Write nothing if a record fails'
complete -c backctl -n '__backctl_in encrypt' -l trim-newline -d 'Remove one line end from the end of the value, such as echo adds'
complete -c backctl -n '__backctl_in encrypt' -l value-stdin -d 'Read the value from standard input'
complete -c backctl -n '__backctl_in encrypt' -l value-file -r -F -d 'Read the value from a file, or \'-\''
complete -c backctl -n '__backctl_in encrypt' -l value-fd -x -d 'Read the value from this descriptor'
complete -c backctl -n '__backctl_in encrypt' -l value-env -x -d 'Read the value from this variable'
complete -c backctl -n '__backctl_in encrypt' -l fields -x -a '(__backctl_listed value key_id changed file size_bytes records values changed_values failed_records)' -d 'Print only these fields, in this order'

# backctl decrypt
complete -c backctl -n '__backctl_in decrypt' -l context -x -d 'Bind the value to this context, such as users.phone:1, or \'\' for none'
complete -c backctl -n '__backctl_in decrypt' -l context-template -x -d 'Context of a record: {id} is the value of its field `id`, {} the name of the encrypted field'
complete -c backctl -n '__backctl_in decrypt' -l lines -d 'Treat every line as a value'
complete -c backctl -n '__backctl_in decrypt' -l jsonl -x -d 'Read JSON objects, one per line, and process these strings in them; a? may be missing'
complete -c backctl -n '__backctl_in decrypt' -l csv -x -d 'Read CSV with a header, and process these columns'
complete -c backctl -n '__backctl_in decrypt' -l file -r -F -d 'Read this file, whole or as records, of any size; \'-\' is standard input'
complete -c backctl -n '__backctl_in decrypt' -l out -r -F -d 'Write to this new file, which appears when it is complete, and print a report'
complete -c backctl -n '__backctl_in decrypt' -l overwrite -d 'Replace the file of --out if it exists'
complete -c backctl -n '__backctl_in decrypt' -l all-or-nothing -d 'Write nothing if a record fails'
complete -c backctl -n '__backctl_in decrypt' -l stream -d 'Write to standard output while the file is read, instead of after all of it was verified'
complete -c backctl -n '__backctl_in decrypt' -l value-stdin -d 'Read the value from standard input'
complete -c backctl -n '__backctl_in decrypt' -l value-file -r -F -d 'Read the value from a file, or \'-\''
complete -c backctl -n '__backctl_in decrypt' -l value-fd -x -d 'Read the value from this descriptor'
complete -c backctl -n '__backctl_in decrypt' -l value-env -x -d 'Read the value from this variable'
complete -c backctl -n '__backctl_in decrypt' -l fields -x -a '(__backctl_listed value base64 file size_bytes records values changed_values failed_records)' -d 'Print only these fields, in this order'

# backctl reencrypt
complete -c backctl -n '__backctl_in reencrypt' -l context -x -d 'Bind the value to this context, such as users.phone:1, or \'\' for none'
complete -c backctl -n '__backctl_in reencrypt' -l context-template -x -d 'Context of a record: {id} is the value of its field `id`, {} the name of the encrypted field'
complete -c backctl -n '__backctl_in reencrypt' -l lines -d 'Treat every line as a value'
complete -c backctl -n '__backctl_in reencrypt' -l jsonl -x -d 'Read JSON objects, one per line, and process these strings in them; a? may be missing'
complete -c backctl -n '__backctl_in reencrypt' -l csv -x -d 'Read CSV with a header, and process these columns'
complete -c backctl -n '__backctl_in reencrypt' -l file -r -F -d 'Read this file, whole or as records, of any size; \'-\' is standard input'
complete -c backctl -n '__backctl_in reencrypt' -l out -r -F -d 'Write to this new file, which appears when it is complete, and print a report'
complete -c backctl -n '__backctl_in reencrypt' -l overwrite -d 'Replace the file of --out if it exists'
complete -c backctl -n '__backctl_in reencrypt' -l all-or-nothing -d 'Write nothing if a record fails'
complete -c backctl -n '__backctl_in reencrypt' -l value-stdin -d 'Read the value from standard input'
complete -c backctl -n '__backctl_in reencrypt' -l value-file -r -F -d 'Read the value from a file, or \'-\''
complete -c backctl -n '__backctl_in reencrypt' -l value-fd -x -d 'Read the value from this descriptor'
complete -c backctl -n '__backctl_in reencrypt' -l value-env -x -d 'Read the value from this variable'
complete -c backctl -n '__backctl_in reencrypt' -l fields -x -a '(__backctl_listed value key_id changed file size_bytes records values changed_values failed_records)' -d 'Print only these fields, in this order'

# backctl cache
complete -c backctl -n '__backctl_at cache' -a get -d 'Print a cached value as JSON; exit code 3 if it is not cached'
complete -c backctl -n '__backctl_at cache' -a set -d 'Store a value in the cache, replacing any existing one'
complete -c backctl -n '__backctl_at cache' -a delete -d 'Delete a cache entry in all running services'
complete -c backctl -n '__backctl_at cache' -a list -d 'List the entries in the shared store, in no particular order'
complete -c backctl -n '__backctl_at cache' -a explain -d 'Show everything about a cache entry'
complete -c backctl -n '__backctl_at cache' -a invalidate -d 'Invalidate cache entries in all running services'
complete -c backctl -n '__backctl_at cache' -a stats -d 'Show the number of entries and the hit ratio'
complete -c backctl -n '__backctl_at cache' -a warm -d 'Store values in the cache before services need them'
complete -c backctl -n '__backctl_at cache' -a drain -d 'Write queued updates to the database'
complete -c backctl -n '__backctl_at cache' -a dead -d 'List, requeue and drop updates that failed too often'
complete -c backctl -n '__backctl_at cache' -s h -l help -d 'Show this message and exit'

# backctl cache get
complete -c backctl -n '__backctl_in cache get' -l raw -d 'Print a string without quotes, and bytes as they are'
complete -c backctl -n '__backctl_in cache get' -l fields -x -a '(__backctl_listed key value format)' -d 'Print only these fields, in this order'

# backctl cache set
complete -c backctl -n '__backctl_in cache set' -l from-file -r -F -d 'Read the value from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in cache set' -l raw -d 'Store the input as a string instead of parsing it as JSON'
complete -c backctl -n '__backctl_in cache set' -l base64 -d 'Decode the input as base64 and store the bytes'
complete -c backctl -n '__backctl_in cache set' -l ttl -x -d 'Time until the value is stale; cache.ttl by default'
complete -c backctl -n '__backctl_in cache set' -l tag -x -d 'Tag to invalidate the entry by; may be repeated'
complete -c backctl -n '__backctl_in cache set' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in cache set' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in cache set' -l fields -x -a '(__backctl_listed key ttl size_bytes tags changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in cache set' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in cache set' -l reason -x -d 'Record this reason with every change'

# backctl cache delete
complete -c backctl -n '__backctl_in cache delete' -l if-exists -d 'Succeed if the entry does not exist'
complete -c backctl -n '__backctl_in cache delete' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in cache delete' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in cache delete' -l fields -x -a '(__backctl_listed key changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in cache delete' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in cache delete' -l reason -x -d 'Record this reason with every change'

# backctl cache list
complete -c backctl -n '__backctl_in cache list' -l fields -x -a '(__backctl_listed key state age ttl size_bytes tags negative)' -d 'Print only these fields, in this order'

# backctl cache explain
complete -c backctl -n '__backctl_in cache explain' -l fields -x -a '(__backctl_listed key level state why age ttl stored_at renews_at stale_at expires_at size_bytes format negative signed tags epoch current_epoch writer renewed_by)' -d 'Print only these fields, in this order'

# backctl cache invalidate
complete -c backctl -n '__backctl_in cache invalidate' -l tag -x -d 'Invalidate entries with this tag; may be repeated'
complete -c backctl -n '__backctl_in cache invalidate' -l all -d 'Invalidate all entries; asks for confirmation'
complete -c backctl -n '__backctl_in cache invalidate' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in cache invalidate' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in cache invalidate' -l fields -x -a '(__backctl_listed pattern tags all entries size_bytes changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in cache invalidate' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in cache invalidate' -l reason -x -d 'Record this reason with every change'

# backctl cache stats
complete -c backctl -n '__backctl_in cache stats' -l fields -x -a '(__backctl_listed level entries size_bytes hit_ratio memory_hits store_hits loads renewals renewal_failures stale_served bypasses failures refused queued queue_oldest queue_lag dead writers)' -d 'Print only these fields, in this order'

# backctl cache warm
complete -c backctl -n '__backctl_at cache warm' -a users -d 'Store accounts in the cache before services need them'
complete -c backctl -n '__backctl_at cache warm' -s h -l help -d 'Show this message and exit'

# backctl cache warm users
complete -c backctl -n '__backctl_in cache warm users' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'Only accounts with this role; may be repeated'
complete -c backctl -n '__backctl_in cache warm users' -l status -x -a 'active closed expired locked' -d 'Only accounts with this status; may be repeated'
complete -c backctl -n '__backctl_in cache warm users' -l active -d 'Only accounts that can log in now (status active), or only the others'
complete -c backctl -n '__backctl_in cache warm users' -l inactive -d 'Only accounts that can log in now (status active), or only the others'
complete -c backctl -n '__backctl_in cache warm users' -l locked -d 'Only accounts with a lock after failed logins, even if closed or expired'
complete -c backctl -n '__backctl_in cache warm users' -l created-after -x -d 'Only accounts created at this time or later; 7d is 7 days ago'
complete -c backctl -n '__backctl_in cache warm users' -l created-before -x -d 'Only accounts created before this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in cache warm users' -l expires-before -x -d 'Only accounts that expire before this time; 7d is in 7 days'
complete -c backctl -n '__backctl_in cache warm users' -l last-login-before -x -d 'Only accounts without a login since this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in cache warm users' -l mfa -x -a 'off pending on' -d 'Only accounts with the second factor in this state; may be repeated'
complete -c backctl -n '__backctl_in cache warm users' -l must-change-password -d 'Only accounts that must change their password at the next login'
complete -c backctl -n '__backctl_in cache warm users' -l no-password -d 'Only accounts without a password'
complete -c backctl -n '__backctl_in cache warm users' -l email-domain -x -d 'Only accounts with an address in this domain'
complete -c backctl -n '__backctl_in cache warm users' -l search -x -d 'Only accounts with this text in the username or the address'
complete -c backctl -n '__backctl_in cache warm users' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in cache warm users' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in cache warm users' -l fields -x -a '(__backctl_listed accounts stored skipped changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in cache warm users' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in cache warm users' -l reason -x -d 'Record this reason with every change'

# backctl cache drain
complete -c backctl -n '__backctl_in cache drain' -l once -d 'Write the updates that are due, then exit; the default'
complete -c backctl -n '__backctl_in cache drain' -l follow -d 'Keep running, and write updates as they are queued'
complete -c backctl -n '__backctl_in cache drain' -l batch-size -x -d 'Updates per transaction, 1 to 10000; 1000 unless given'
complete -c backctl -n '__backctl_in cache drain' -l register -x -d 'Register the writers of a service: call MODULE:NAME(cache); may be repeated'
complete -c backctl -n '__backctl_in cache drain' -l set-aside-unknown -d 'Move updates to the dead-letter list if their writer is not registered'
complete -c backctl -n '__backctl_in cache drain' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in cache drain' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in cache drain' -l fields -x -a '(__backctl_listed written superseded retried dead set_aside waiting unknown_writers changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in cache drain' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in cache drain' -l reason -x -d 'Record this reason with every change'

# backctl cache dead
complete -c backctl -n '__backctl_at cache dead' -a list -d 'List dead updates, oldest first, with their errors'
complete -c backctl -n '__backctl_at cache dead' -a requeue -d 'Put dead updates back in the queue'
complete -c backctl -n '__backctl_at cache dead' -a drop -d 'Delete dead updates'
complete -c backctl -n '__backctl_at cache dead' -s h -l help -d 'Show this message and exit'

# backctl cache dead list
complete -c backctl -n '__backctl_in cache dead list' -l fields -x -a '(__backctl_listed id writer key size_bytes queued_at failed_at attempts error)' -d 'Print only these fields, in this order'

# backctl cache dead requeue
complete -c backctl -n '__backctl_in cache dead requeue' -l all -d 'Requeue all dead updates'
complete -c backctl -n '__backctl_in cache dead requeue' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in cache dead requeue' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in cache dead requeue' -l fields -x -a '(__backctl_listed updates changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in cache dead requeue' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in cache dead requeue' -l reason -x -d 'Record this reason with every change'

# backctl cache dead drop
complete -c backctl -n '__backctl_in cache dead drop' -l all -d 'Drop all dead updates'
complete -c backctl -n '__backctl_in cache dead drop' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in cache dead drop' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in cache dead drop' -l fields -x -a '(__backctl_listed updates changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in cache dead drop' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in cache dead drop' -l reason -x -d 'Record this reason with every change'

# backctl ratelimit
complete -c backctl -n '__backctl_at ratelimit' -a check -d 'Consume part of a limit: exit code 0, or 6 if it is reached'
complete -c backctl -n '__backctl_at ratelimit' -a run -d 'Run a program if the limit permits it'
complete -c backctl -n '__backctl_at ratelimit' -a peek -d 'Show what a check would answer now: exit code 0 or 6'
complete -c backctl -n '__backctl_at ratelimit' -a list -d 'List the identifiers that have consumed part of a limit'
complete -c backctl -n '__backctl_at ratelimit' -a reset -d 'Forget what an identifier has consumed'
complete -c backctl -n '__backctl_at ratelimit' -a simulate -d 'Show what a limit would have answered to recorded requests'
complete -c backctl -n '__backctl_at ratelimit' -a policy -d 'Show the configured rate limit policies'
complete -c backctl -n '__backctl_at ratelimit' -s h -l help -d 'Show this message and exit'

# backctl ratelimit check
complete -c backctl -n '__backctl_operand 1 ratelimit check' -x -a '(__backctl_stored policy)'
complete -c backctl -n '__backctl_in ratelimit check' -l rate -x -d 'Use this limit instead of a configured one, for example 100/1m'
complete -c backctl -n '__backctl_in ratelimit check' -l burst -x -d 'With --rate and gcra: how much is admitted at once'
complete -c backctl -n '__backctl_in ratelimit check' -l algorithm -x -a 'sliding-window sliding-counter gcra' -d 'With --rate: how requests are counted; sliding-window unless given'
complete -c backctl -n '__backctl_in ratelimit check' -l cost -x -d 'How much of the limit the request consumes'
complete -c backctl -n '__backctl_in ratelimit check' -l wait -x -d 'Wait up to this long until the limit permits the request'
complete -c backctl -n '__backctl_in ratelimit check' -l also -x -d 'Also check this configured policy: consume from all, or from none'
complete -c backctl -n '__backctl_in ratelimit check' -l from-file -r -F -d 'Check each line of a file: an identifier, or JSON with \'ident\' and \'cost\'; \'-\' is standard input'
complete -c backctl -n '__backctl_in ratelimit check' -l filter -d 'With --from-file: print the admitted lines instead of the answers'
complete -c backctl -n '__backctl_in ratelimit check' -l fields -x -a '(__backctl_listed ok policy ident limit remaining retry_after reset_after degraded window line error)' -d 'Print only these fields, in this order'

# backctl ratelimit run
complete -c backctl -n '__backctl_operand 1 ratelimit run' -x -a '(__backctl_stored policy)'
complete -c backctl -n '__backctl_in ratelimit run' -l rate -x -d 'Use this limit instead of a configured one, for example 100/1m'
complete -c backctl -n '__backctl_in ratelimit run' -l burst -x -d 'With --rate and gcra: how much is admitted at once'
complete -c backctl -n '__backctl_in ratelimit run' -l algorithm -x -a 'sliding-window sliding-counter gcra' -d 'With --rate: how requests are counted; sliding-window unless given'
complete -c backctl -n '__backctl_in ratelimit run' -l cost -x -d 'How much of the limit the request consumes'
complete -c backctl -n '__backctl_in ratelimit run' -l wait -x -d 'Wait up to this long until the limit permits the request'
complete -c backctl -n '__backctl_in ratelimit run' -l limited-exit -x -d 'Exit code if the limit is reached'
complete -c backctl -n '__backctl_in ratelimit run' -l fields -x -d 'Print only these fields, in this order'

# backctl ratelimit peek
complete -c backctl -n '__backctl_operand 1 ratelimit peek' -x -a '(__backctl_stored policy)'
complete -c backctl -n '__backctl_in ratelimit peek' -l rate -x -d 'Use this limit instead of a configured one, for example 100/1m'
complete -c backctl -n '__backctl_in ratelimit peek' -l burst -x -d 'With --rate and gcra: how much is admitted at once'
complete -c backctl -n '__backctl_in ratelimit peek' -l algorithm -x -a 'sliding-window sliding-counter gcra' -d 'With --rate: how requests are counted; sliding-window unless given'
complete -c backctl -n '__backctl_in ratelimit peek' -l cost -x -d 'How much of the limit the request consumes'
complete -c backctl -n '__backctl_in ratelimit peek' -l fields -x -a '(__backctl_listed ok policy ident limit remaining retry_after reset_after degraded window)' -d 'Print only these fields, in this order'

# backctl ratelimit list
complete -c backctl -n '__backctl_operand 1+ ratelimit list' -x -a '(__backctl_stored policy)'
complete -c backctl -n '__backctl_in ratelimit list' -l limited -d 'Only identifiers that could not make another request now'
complete -c backctl -n '__backctl_in ratelimit list' -l fields -x -a '(__backctl_listed ok policy ident limit remaining retry_after reset_after degraded window)' -d 'Print only these fields, in this order'

# backctl ratelimit reset
complete -c backctl -n '__backctl_operand 1 ratelimit reset' -x -a '(__backctl_stored policy)'
complete -c backctl -n '__backctl_in ratelimit reset' -l rate -x -d 'Use this limit instead of a configured one, for example 100/1m'
complete -c backctl -n '__backctl_in ratelimit reset' -l burst -x -d 'With --rate and gcra: how much is admitted at once'
complete -c backctl -n '__backctl_in ratelimit reset' -l algorithm -x -a 'sliding-window sliding-counter gcra' -d 'With --rate: how requests are counted; sliding-window unless given'
complete -c backctl -n '__backctl_in ratelimit reset' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in ratelimit reset' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in ratelimit reset' -l fields -x -a '(__backctl_listed policy ident changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in ratelimit reset' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in ratelimit reset' -l reason -x -d 'Record this reason with every change'

# backctl ratelimit simulate
complete -c backctl -n '__backctl_operand 1 ratelimit simulate' -x -a '(__backctl_stored policy)'
complete -c backctl -n '__backctl_in ratelimit simulate' -l log -r -F -d 'A log of requests; \'-\' is standard input'
complete -c backctl -n '__backctl_in ratelimit simulate' -l rate -x -d 'Use this limit instead of a configured one, for example 100/1m'
complete -c backctl -n '__backctl_in ratelimit simulate' -l burst -x -d 'With --rate and gcra: how much is admitted at once'
complete -c backctl -n '__backctl_in ratelimit simulate' -l algorithm -x -a 'sliding-window sliding-counter gcra' -d 'With --rate: how requests are counted; sliding-window unless given'
complete -c backctl -n '__backctl_in ratelimit simulate' -l time-field -x -d 'Field of JSON lines that contains the time'
complete -c backctl -n '__backctl_in ratelimit simulate' -l ident-field -x -d 'Field of JSON lines that contains the identifier'
complete -c backctl -n '__backctl_in ratelimit simulate' -l fields -x -a '(__backctl_listed ident requests admitted refused worst_window longest_wait)' -d 'Print only these fields, in this order'

# backctl ratelimit policy
complete -c backctl -n '__backctl_at ratelimit policy' -a list -d 'List the configured policies'
complete -c backctl -n '__backctl_at ratelimit policy' -a show -d 'Show a policy and what it admits at worst'
complete -c backctl -n '__backctl_at ratelimit policy' -s h -l help -d 'Show this message and exit'

# backctl ratelimit policy list
complete -c backctl -n '__backctl_in ratelimit policy list' -l fields -x -a '(__backctl_listed name algorithm limit window burst on_error worst_burst bytes_per_ident summary)' -d 'Print only these fields, in this order'

# backctl ratelimit policy show
complete -c backctl -n '__backctl_operand 1 ratelimit policy show' -x -a '(__backctl_stored policy)'
complete -c backctl -n '__backctl_in ratelimit policy show' -l fields -x -a '(__backctl_listed name algorithm limit window burst on_error worst_burst bytes_per_ident summary)' -d 'Print only these fields, in this order'

# backctl audit
complete -c backctl -n '__backctl_at audit' -a list -d 'List events, oldest first'
complete -c backctl -n '__backctl_at audit' -a show -d 'Show one event with its data'
complete -c backctl -n '__backctl_at audit' -a verify -d 'Verify that the event log is intact: exit code 0 or 6'
complete -c backctl -n '__backctl_at audit' -s h -l help -d 'Show this message and exit'

# backctl audit list
complete -c backctl -n '__backctl_in audit list' -l by -x -d 'Only events by this actor: its name, system user, or USER@HOST'
complete -c backctl -n '__backctl_in audit list' -l subject -x -a '(__backctl_stored account)' -d 'Only events about this account, even if deleted, or another subject'
complete -c backctl -n '__backctl_in audit list' -l type -x -a 'InstallationCreated SchemaUpgraded DatabaseRestored UserCreated UserImported UserSeeded UserEmailChanged UserUsernameChanged UserRoleChanged UserExpiryChanged UserActivated UserDeactivated UserPasswordChanged UserPasswordChangeRequired UserPasswordRehashed LoginSucceeded LoginFailed LoginChallenged UserLocked UserLockEnded MfaEnrolled MfaConfirmed MfaDisabled RecoveryCodesRenewed RecoveryCodeUsed UserDeleted KeyAdded KeyImported KeyPromoted KeyRetired KeyDestroyed KeyringRewrapped KeyringReplaced KeyExported AccountsExported RateLimitReset SessionOpened SessionRefreshed SessionRevoked SessionsRevoked RefreshTokenReused AccessTokenRevoked IssuerTokensRevoked' -d 'Only events of this type or glob, such as \'User*\'; may be repeated'
complete -c backctl -n '__backctl_in audit list' -l outcome -x -a 'success failure' -d 'Only refused attempts (failure), or only other events'
complete -c backctl -n '__backctl_in audit list' -l reason-contains -x -d 'Only events with this text in the reason, in any case'
complete -c backctl -n '__backctl_in audit list' -l since -x -d 'Only events at this time or later; 7d is 7 days ago'
complete -c backctl -n '__backctl_in audit list' -l until -x -d 'Only events before this time; 7d is 7 days ago'
complete -c backctl -n '__backctl_in audit list' -l trace-id -x -d 'Only events of this trace (TRACEPARENT)'
complete -c backctl -n '__backctl_in audit list' -l sort -x -a 'seq -seq' -d '\'seq\' shows the oldest first, \'-seq\' the newest first'
complete -c backctl -n '__backctl_in audit list' -l limit -x -d 'Page size, 1 to 1000; 50 unless given'
complete -c backctl -n '__backctl_in audit list' -l cursor -x -d 'Continue after the previous page'
complete -c backctl -n '__backctl_in audit list' -l all -d 'Print everything instead of one page'
complete -c backctl -n '__backctl_in audit list' -l fields -x -a '(__backctl_listed seq id occurred_at type subject subject_name actor os_user host reason trace_id data)' -d 'Print only these fields, in this order'

# backctl audit show
complete -c backctl -n '__backctl_in audit show' -l fields -x -a '(__backctl_listed seq id occurred_at type subject subject_name actor os_user host reason trace_id data)' -d 'Print only these fields, in this order'

# backctl audit verify
complete -c backctl -n '__backctl_in audit verify' -l fields -x -a '(__backctl_listed ok events erased unverified broken_seq problem)' -d 'Print only these fields, in this order'

# backctl config
complete -c backctl -n '__backctl_at config' -a show -d 'Show all settings that apply; secrets are masked'
complete -c backctl -n '__backctl_at config' -a path -d 'Print the path of the configuration file'
complete -c backctl -n '__backctl_at config' -a get -d 'Print the value of a setting; a secret is masked'
complete -c backctl -n '__backctl_at config' -a set -d 'Set a value in the configuration file'
complete -c backctl -n '__backctl_at config' -a unset -d 'Remove a setting from the configuration file'
complete -c backctl -n '__backctl_at config' -a validate -d 'List all errors in the configuration: exit code 0 or 9'
complete -c backctl -n '__backctl_at config' -s h -l help -d 'Show this message and exit'

# backctl config show
complete -c backctl -n '__backctl_in config show' -l origin -d 'Show where each value comes from'
complete -c backctl -n '__backctl_in config show' -l fields -x -a '(__backctl_listed key value origin)' -d 'Print only these fields, in this order'

# backctl config path
complete -c backctl -n '__backctl_in config path' -l fields -x -a '(__backctl_listed file exists)' -d 'Print only these fields, in this order'

# backctl config get
complete -c backctl -n '__backctl_operand 1 config get' -x -a 'protected database.url database.timeout database.connect_timeout database.statement_timeout database.lock_timeout redis.url redis.timeout redis.namespace keyring.path keyring.allow_group_read keyring.document keyring.passphrase accounts.allow_special_domains authentication.source_policy passwords.min_length passwords.bcrypt_cost tokens.issuer tokens.audience tokens.access_ttl tokens.refresh_ttl tokens.session_ttl tokens.leeway tokens.grace tokens.revocation_max_age cache.ttl cache.negative_ttl cache.stale_if_error cache.refresh_after cache.lock_timeout cache.max_staleness cache.memory_entries cache.queue_limit cache.queue_attempts sanitize.tags sanitize.attributes sanitize.url_schemes sanitize.max_bytes sanitize.max_depth'
complete -c backctl -n '__backctl_in config get' -l fields -x -a '(__backctl_listed key value origin)' -d 'Print only these fields, in this order'

# backctl config set
complete -c backctl -n '__backctl_operand 1 config set' -x -a 'protected database.url database.timeout database.connect_timeout database.statement_timeout database.lock_timeout redis.url redis.timeout redis.namespace keyring.path keyring.allow_group_read keyring.document keyring.passphrase accounts.allow_special_domains authentication.source_policy passwords.min_length passwords.bcrypt_cost tokens.issuer tokens.audience tokens.access_ttl tokens.refresh_ttl tokens.session_ttl tokens.leeway tokens.grace tokens.revocation_max_age cache.ttl cache.negative_ttl cache.stale_if_error cache.refresh_after cache.lock_timeout cache.max_staleness cache.memory_entries cache.queue_limit cache.queue_attempts sanitize.tags sanitize.attributes sanitize.url_schemes sanitize.max_bytes sanitize.max_depth'
complete -c backctl -n '__backctl_in config set' -l value-stdin -d 'Read the value from standard input'
complete -c backctl -n '__backctl_in config set' -l value-file -r -F -d 'Read the value from a file, or \'-\''
complete -c backctl -n '__backctl_in config set' -l value-fd -x -d 'Read the value from this descriptor'
complete -c backctl -n '__backctl_in config set' -l value-env -x -d 'Read the value from this variable'
complete -c backctl -n '__backctl_in config set' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in config set' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in config set' -l fields -x -a '(__backctl_listed key value file changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in config set' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in config set' -l reason -x -d 'Record this reason with every change'

# backctl config unset
complete -c backctl -n '__backctl_operand 1 config unset' -x -a 'protected database.url database.timeout database.connect_timeout database.statement_timeout database.lock_timeout redis.url redis.timeout redis.namespace keyring.path keyring.allow_group_read keyring.document keyring.passphrase accounts.allow_special_domains authentication.source_policy passwords.min_length passwords.bcrypt_cost tokens.issuer tokens.audience tokens.access_ttl tokens.refresh_ttl tokens.session_ttl tokens.leeway tokens.grace tokens.revocation_max_age cache.ttl cache.negative_ttl cache.stale_if_error cache.refresh_after cache.lock_timeout cache.max_staleness cache.memory_entries cache.queue_limit cache.queue_attempts sanitize.tags sanitize.attributes sanitize.url_schemes sanitize.max_bytes sanitize.max_depth'
complete -c backctl -n '__backctl_in config unset' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in config unset' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in config unset' -l fields -x -a '(__backctl_listed key file changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in config unset' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in config unset' -l reason -x -d 'Record this reason with every change'

# backctl config validate
complete -c backctl -n '__backctl_operand 1 config validate' -r -F
complete -c backctl -n '__backctl_in config validate' -l fields -x -a '(__backctl_listed message hint)' -d 'Print only these fields, in this order'

# backctl profile
complete -c backctl -n '__backctl_at profile' -a list -d 'List the profiles and their databases'
complete -c backctl -n '__backctl_at profile' -a show -d 'Show the settings of a profile; secrets are masked'
complete -c backctl -n '__backctl_at profile' -a current -d 'Print the name of the selected profile, or nothing'
complete -c backctl -n '__backctl_at profile' -a use -d 'Select the profile that commands use'
complete -c backctl -n '__backctl_at profile' -s h -l help -d 'Show this message and exit'

# backctl profile list
complete -c backctl -n '__backctl_in profile list' -l fields -x -a '(__backctl_listed name in_force protected database origin)' -d 'Print only these fields, in this order'

# backctl profile show
complete -c backctl -n '__backctl_operand 1 profile show' -x -a '(__backctl_stored profile)'
complete -c backctl -n '__backctl_in profile show' -l fields -x -a '(__backctl_listed key value origin)' -d 'Print only these fields, in this order'

# backctl profile current
complete -c backctl -n '__backctl_in profile current' -l fields -x -a '(__backctl_listed profile origin protected)' -d 'Print only these fields, in this order'

# backctl profile use
complete -c backctl -n '__backctl_operand 1 profile use' -x -a '(__backctl_stored profile)'
complete -c backctl -n '__backctl_in profile use' -l none -d 'Select no profile'
complete -c backctl -n '__backctl_in profile use' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in profile use' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in profile use' -l fields -x -a '(__backctl_listed profile file changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in profile use' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in profile use' -l reason -x -d 'Record this reason with every change'

# backctl db
complete -c backctl -n '__backctl_at db' -a upgrade -d 'Upgrade the schema to the revision of this backctl'
complete -c backctl -n '__backctl_at db' -a status -d 'Show the location, revision and contents of the database'
complete -c backctl -n '__backctl_at db' -a check -d 'Check the database for damage: exit code 0 or 6'
complete -c backctl -n '__backctl_at db' -a backup -d 'Copy the database to a new file while it is in use'
complete -c backctl -n '__backctl_at db' -a restore -d 'Replace the database with a copy while it is in use'
complete -c backctl -n '__backctl_at db' -a restored -d 'End all sessions after another program has restored a copy'
complete -c backctl -n '__backctl_at db' -s h -l help -d 'Show this message and exit'

# backctl db upgrade
complete -c backctl -n '__backctl_in db upgrade' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in db upgrade' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in db upgrade' -l fields -x -a '(__backctl_listed database previous_revision revision copy_file changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in db upgrade' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in db upgrade' -l reason -x -d 'Record this reason with every change'

# backctl db status
complete -c backctl -n '__backctl_in db status' -l fields -x -a '(__backctl_listed database state revision expected_revision accounts events size_bytes)' -d 'Print only these fields, in this order'

# backctl db check
complete -c backctl -n '__backctl_in db check' -l fields -x -a '(__backctl_listed check status finding hint failure)' -d 'Print only these fields, in this order'

# backctl db backup
complete -c backctl -n '__backctl_operand 1 db backup' -r -F
complete -c backctl -n '__backctl_in db backup' -l fields -x -a '(__backctl_listed file size_bytes sha256)' -d 'Print only these fields, in this order'

# backctl db restore
complete -c backctl -n '__backctl_operand 1 db restore' -r -F
complete -c backctl -n '__backctl_in db restore' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in db restore' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in db restore' -l fields -x -a '(__backctl_listed database file revision previous_revision last_event_at revoked_sessions backup_file lost_accounts lost_usernames accounts commands changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in db restore' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in db restore' -l reason -x -d 'Record this reason with every change'

# backctl db restored
complete -c backctl -n '__backctl_in db restored' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in db restored' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in db restored' -l fields -x -a '(__backctl_listed installation_id revoked_sessions changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in db restored' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in db restored' -l reason -x -d 'Record this reason with every change'

# backctl plan
complete -c backctl -n '__backctl_operand 1+ plan' -r -F
complete -c backctl -n '__backctl_in plan' -l prune -d 'Close the accounts that these seeds created and no longer list; --prune=delete deletes them'
complete -c backctl -n '__backctl_in plan' -l out -r -F -d 'Save the plan, without secrets, in this new file for \'backctl apply\''
complete -c backctl -n '__backctl_in plan' -l overwrite -d 'Replace the file of --out if it exists'
complete -c backctl -n '__backctl_in plan' -l detailed-exitcode -d 'Exit with 10 instead of 0 if anything would change'
complete -c backctl -n '__backctl_in plan' -l fields -x -a '(__backctl_listed action id email username seed changes)' -d 'Print only these fields, in this order'

# backctl apply
complete -c backctl -n '__backctl_operand 1+ apply' -r -F
complete -c backctl -n '__backctl_in apply' -l prune -d 'Close the accounts that these seeds created and no longer list; --prune=delete deletes them'
complete -c backctl -n '__backctl_in apply' -l all-or-nothing -d 'Make all changes in one transaction, or none if one of them fails'
complete -c backctl -n '__backctl_in apply' -l max-changes -x -d 'Change nothing if more accounts would change than this number or percentage, for example 20 or 5%'
complete -c backctl -n '__backctl_in apply' -l secret-file -r -F -d 'Write the passwords that seeds generate to this file, as JSON lines; add to it if it exists'
complete -c backctl -n '__backctl_in apply' -l wait-server -x -d 'Wait up to this long for PostgreSQL and Redis, for example 30s'
complete -c backctl -n '__backctl_in apply' -l schema -d 'Print the JSON Schema of seed files, for editors, and change nothing'
complete -c backctl -n '__backctl_in apply' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in apply' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in apply' -l confirm -x -d 'Confirm with the name, number or id that the prompt asks for'
complete -c backctl -n '__backctl_in apply' -l fields -x -a '(__backctl_listed names created updated opened closed deleted unchanged changed dry_run secret_file)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in apply' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in apply' -l reason -x -d 'Record this reason with every change'

# backctl sanitize
complete -c backctl -n '__backctl_in sanitize' -l format -x -a 'text json jsonl' -d 'Input format: a text, a JSON document, or one JSON document per line'
complete -c backctl -n '__backctl_in sanitize' -l explain -d 'Print what would be removed instead of the result'
complete -c backctl -n '__backctl_in sanitize' -l fields -x -a '(__backctl_listed value changed pointer part kind count line error)' -d 'Print only these fields, in this order'

# backctl init
complete -c backctl -n '__backctl_in init' -l calibrate -d 'Measure this machine and set the bcrypt cost (10–15) whose hashing time is closest to 250 ms'
complete -c backctl -n '__backctl_in init' -l wait-server -x -d 'Wait up to this long for PostgreSQL and Redis, for example 30s'
complete -c backctl -n '__backctl_in init' -s n -l dry-run -d 'Change nothing; show what would change'
complete -c backctl -n '__backctl_in init' -s y -l yes -d 'Confirm without a prompt'
complete -c backctl -n '__backctl_in init' -l fields -x -a '(__backctl_listed database keyring installation_id revision bcrypt_cost changed dry_run)' -d 'Print only these fields, in this order'
complete -c backctl -n '__backctl_in init' -l actor -x -d 'Record this name with the system user'
complete -c backctl -n '__backctl_in init' -l reason -x -d 'Record this reason with every change'

# backctl doctor
complete -c backctl -n '__backctl_in doctor' -l wait-server -x -d 'Wait up to this long for PostgreSQL and Redis, for example 30s'
complete -c backctl -n '__backctl_in doctor' -l fields -x -a '(__backctl_listed check status finding hint failure)' -d 'Print only these fields, in this order'

# backctl completion
complete -c backctl -n '__backctl_at completion' -a bash -d 'Print the completion script for bash'
complete -c backctl -n '__backctl_at completion' -a zsh -d 'Print the completion script for zsh'
complete -c backctl -n '__backctl_at completion' -a fish -d 'Print the completion script for fish'
complete -c backctl -n '__backctl_at completion' -s h -l help -d 'Show this message and exit'

# backctl completion bash
complete -c backctl -n '__backctl_in completion bash' -l fields -x -a '(__backctl_listed shell script)' -d 'Print only these fields, in this order'

# backctl completion zsh
complete -c backctl -n '__backctl_in completion zsh' -l fields -x -a '(__backctl_listed shell script)' -d 'Print only these fields, in this order'

# backctl completion fish
complete -c backctl -n '__backctl_in completion fish' -l fields -x -a '(__backctl_listed shell script)' -d 'Print only these fields, in this order'

# backctl version
complete -c backctl -n '__backctl_in version' -l fields -x -a '(__backctl_listed version commit python sqlite schema_revision libraries)' -d 'Print only these fields, in this order'

# backctl help
complete -c backctl -n '__backctl_at help' -a environment -d 'List the environment variables and their settings'
complete -c backctl -n '__backctl_at help' -a exit-codes -d 'List the exit codes and their meanings'
complete -c backctl -n '__backctl_at help' -a formatting -d 'Explain the formats of results: tables, JSON, CSV and TSV'
complete -c backctl -n '__backctl_at help' -a identities -d 'Explain how to name accounts'
complete -c backctl -n '__backctl_at help' -a options -d 'List the options that commands share'
complete -c backctl -n '__backctl_at help' -a time -d 'Explain how to write times and durations'
complete -c backctl -n '__backctl_at help' -a user -d 'Create, list and manage accounts'
complete -c backctl -n '__backctl_at help' -a role -d 'Show roles and their permissions, and assign them'
complete -c backctl -n '__backctl_at help' -a access -d 'Check the permissions of an account'
complete -c backctl -n '__backctl_at help' -a token -d 'Issue, verify, refresh and revoke tokens'
complete -c backctl -n '__backctl_at help' -a key -d 'List, rotate, publish, import and export keys'
complete -c backctl -n '__backctl_at help' -a encrypt -d 'Encrypt a value, chosen fields of records, or a file'
complete -c backctl -n '__backctl_at help' -a decrypt -d 'Decrypt a value, chosen fields of records, or a file'
complete -c backctl -n '__backctl_at help' -a reencrypt -d 'Re-encrypt a value, chosen fields of records, or a file'
complete -c backctl -n '__backctl_at help' -a cache -d 'Inspect, change and invalidate cached values'
complete -c backctl -n '__backctl_at help' -a ratelimit -d 'Check, inspect and reset rate limits'
complete -c backctl -n '__backctl_at help' -a audit -d 'Read and verify the event log'
complete -c backctl -n '__backctl_at help' -a config -d 'Show, validate and change the configuration'
complete -c backctl -n '__backctl_at help' -a profile -d 'List profiles and select one'
complete -c backctl -n '__backctl_at help' -a db -d 'Inspect, upgrade, back up and restore the database'
complete -c backctl -n '__backctl_at help' -a plan -d 'Show what applying seed files would change'
complete -c backctl -n '__backctl_at help' -a apply -d 'Create and change accounts so that they match seed files'
complete -c backctl -n '__backctl_at help' -a sanitize -d 'Remove HTML and control characters from text or JSON'
complete -c backctl -n '__backctl_at help' -a init -d 'Create the keyring and the database, if they do not exist'
complete -c backctl -n '__backctl_at help' -a doctor -d 'Check the configuration, the database, the keys and the files'
complete -c backctl -n '__backctl_at help' -a completion -d 'Print the completion script for a shell'
complete -c backctl -n '__backctl_at help' -a version -d 'Show the versions of backctl, its libraries and its schema'
complete -c backctl -n '__backctl_at help user' -a create -d 'Create an account'
complete -c backctl -n '__backctl_at help user' -a list -d 'List accounts, page by page'
complete -c backctl -n '__backctl_at help user' -a show -d 'Show an account'
complete -c backctl -n '__backctl_at help user' -a exists -d 'Check whether an account exists: exit code 0 or 3'
complete -c backctl -n '__backctl_at help user' -a count -d 'Count accounts'
complete -c backctl -n '__backctl_at help user' -a activate -d 'Activate accounts that were deactivated'
complete -c backctl -n '__backctl_at help user' -a unlock -d 'End the locks of accounts after failed logins'
complete -c backctl -n '__backctl_at help user' -a deactivate -d 'Deactivate accounts: nobody can log in to them'
complete -c backctl -n '__backctl_at help user' -a update -d 'Update the given attributes of an account'
complete -c backctl -n '__backctl_at help user' -a history -d 'Show the events of an account, oldest first'
complete -c backctl -n '__backctl_at help user' -a set-password -d 'Set the password of an account'
complete -c backctl -n '__backctl_at help user' -a check-password -d 'Check the password of an account: exit code 0 or 6'
complete -c backctl -n '__backctl_at help user' -a delete -d 'Permanently delete accounts; their events stay'
complete -c backctl -n '__backctl_at help user' -a export -d 'Export accounts as JSON lines, JSON or CSV'
complete -c backctl -n '__backctl_at help user' -a import -d 'Import accounts from JSON, CSV, Django or Ory Kratos'
complete -c backctl -n '__backctl_at help user' -a mfa -d 'Manage the second factors of accounts'
complete -c backctl -n '__backctl_at help user mfa' -a enroll -d 'Create a secret for an authenticator and show it once'
complete -c backctl -n '__backctl_at help user mfa' -a confirm -d 'Turn the second factor on with a code'
complete -c backctl -n '__backctl_at help user mfa' -a status -d 'Show the second factor of an account'
complete -c backctl -n '__backctl_at help user mfa' -a disable -d 'Remove the second factor of an account'
complete -c backctl -n '__backctl_at help user mfa' -a recovery-codes -d 'Replace the recovery codes with ten new ones, shown once'
complete -c backctl -n '__backctl_at help user mfa' -a reencrypt -d 'Re-encrypt all secrets with the primary key'
complete -c backctl -n '__backctl_at help role' -a list -d 'List the roles: the built-in ones, then the configured ones'
complete -c backctl -n '__backctl_at help role' -a show -d 'Show a role and its permissions'
complete -c backctl -n '__backctl_at help role' -a assign -d 'Assign a role to accounts, replacing their current one'
complete -c backctl -n '__backctl_at help access' -a check -d 'Check whether an account has a permission now: exit code 0 or 6'
complete -c backctl -n '__backctl_at help token' -a issue -d 'Issue an access token to an account and print it'
complete -c backctl -n '__backctl_at help token' -a verify -d 'Check whether an access token is valid, and print its claims'
complete -c backctl -n '__backctl_at help token' -a inspect -d 'Show the contents of a token, without verifying it'
complete -c backctl -n '__backctl_at help token' -a refresh -d 'Exchange a refresh token for a new pair of tokens'
complete -c backctl -n '__backctl_at help token' -a revoke -d 'Revoke a token, a session, or many sessions'
complete -c backctl -n '__backctl_at help token' -a list -d 'List the sessions of an account, oldest first'
complete -c backctl -n '__backctl_at help token' -a gc -d 'Remove expired sessions, refresh tokens and revocations'
complete -c backctl -n '__backctl_at help key' -a list -d 'List the keys, oldest first'
complete -c backctl -n '__backctl_at help key' -a show -d 'Show a key, without its secret'
complete -c backctl -n '__backctl_at help key' -a add -d 'Create a standby key, which is used once it is promoted'
complete -c backctl -n '__backctl_at help key' -a promote -d 'Make a key the primary key of its purpose'
complete -c backctl -n '__backctl_at help key' -a retire -d 'Retire a key that is not the primary key'
complete -c backctl -n '__backctl_at help key' -a destroy -d 'Permanently destroy a key'
complete -c backctl -n '__backctl_at help key' -a replace-lost -d 'Replace a keyring file that is lost and has no backup'
complete -c backctl -n '__backctl_at help key' -a rotate -d 'Rotate keys that are older than a given age'
complete -c backctl -n '__backctl_at help key' -a due -d 'Show what \'rotate\' with the same options would do'
complete -c backctl -n '__backctl_at help key' -a jwks -d 'Print the public keys of the signing keys, as a JWK Set'
complete -c backctl -n '__backctl_at help key' -a wrap -d 'Encrypt the keyring file with a passphrase'
complete -c backctl -n '__backctl_at help key' -a import -d 'Import a private key in JWK or PEM form as a standby key'
complete -c backctl -n '__backctl_at help key' -a export -d 'Print the public half of a key, or the private key'
complete -c backctl -n '__backctl_at help cache' -a get -d 'Print a cached value as JSON; exit code 3 if it is not cached'
complete -c backctl -n '__backctl_at help cache' -a set -d 'Store a value in the cache, replacing any existing one'
complete -c backctl -n '__backctl_at help cache' -a delete -d 'Delete a cache entry in all running services'
complete -c backctl -n '__backctl_at help cache' -a list -d 'List the entries in the shared store, in no particular order'
complete -c backctl -n '__backctl_at help cache' -a explain -d 'Show everything about a cache entry'
complete -c backctl -n '__backctl_at help cache' -a invalidate -d 'Invalidate cache entries in all running services'
complete -c backctl -n '__backctl_at help cache' -a stats -d 'Show the number of entries and the hit ratio'
complete -c backctl -n '__backctl_at help cache' -a warm -d 'Store values in the cache before services need them'
complete -c backctl -n '__backctl_at help cache' -a drain -d 'Write queued updates to the database'
complete -c backctl -n '__backctl_at help cache' -a dead -d 'List, requeue and drop updates that failed too often'
complete -c backctl -n '__backctl_at help cache warm' -a users -d 'Store accounts in the cache before services need them'
complete -c backctl -n '__backctl_at help cache dead' -a list -d 'List dead updates, oldest first, with their errors'
complete -c backctl -n '__backctl_at help cache dead' -a requeue -d 'Put dead updates back in the queue'
complete -c backctl -n '__backctl_at help cache dead' -a drop -d 'Delete dead updates'
complete -c backctl -n '__backctl_at help ratelimit' -a check -d 'Consume part of a limit: exit code 0, or 6 if it is reached'
complete -c backctl -n '__backctl_at help ratelimit' -a run -d 'Run a program if the limit permits it'
complete -c backctl -n '__backctl_at help ratelimit' -a peek -d 'Show what a check would answer now: exit code 0 or 6'
complete -c backctl -n '__backctl_at help ratelimit' -a list -d 'List the identifiers that have consumed part of a limit'
complete -c backctl -n '__backctl_at help ratelimit' -a reset -d 'Forget what an identifier has consumed'
complete -c backctl -n '__backctl_at help ratelimit' -a simulate -d 'Show what a limit would have answered to recorded requests'
complete -c backctl -n '__backctl_at help ratelimit' -a policy -d 'Show the configured rate limit policies'
complete -c backctl -n '__backctl_at help ratelimit policy' -a list -d 'List the configured policies'
complete -c backctl -n '__backctl_at help ratelimit policy' -a show -d 'Show a policy and what it admits at worst'
complete -c backctl -n '__backctl_at help audit' -a list -d 'List events, oldest first'
complete -c backctl -n '__backctl_at help audit' -a show -d 'Show one event with its data'
complete -c backctl -n '__backctl_at help audit' -a verify -d 'Verify that the event log is intact: exit code 0 or 6'
complete -c backctl -n '__backctl_at help config' -a show -d 'Show all settings that apply; secrets are masked'
complete -c backctl -n '__backctl_at help config' -a path -d 'Print the path of the configuration file'
complete -c backctl -n '__backctl_at help config' -a get -d 'Print the value of a setting; a secret is masked'
complete -c backctl -n '__backctl_at help config' -a set -d 'Set a value in the configuration file'
complete -c backctl -n '__backctl_at help config' -a unset -d 'Remove a setting from the configuration file'
complete -c backctl -n '__backctl_at help config' -a validate -d 'List all errors in the configuration: exit code 0 or 9'
complete -c backctl -n '__backctl_at help profile' -a list -d 'List the profiles and their databases'
complete -c backctl -n '__backctl_at help profile' -a show -d 'Show the settings of a profile; secrets are masked'
complete -c backctl -n '__backctl_at help profile' -a current -d 'Print the name of the selected profile, or nothing'
complete -c backctl -n '__backctl_at help profile' -a use -d 'Select the profile that commands use'
complete -c backctl -n '__backctl_at help db' -a upgrade -d 'Upgrade the schema to the revision of this backctl'
complete -c backctl -n '__backctl_at help db' -a status -d 'Show the location, revision and contents of the database'
complete -c backctl -n '__backctl_at help db' -a check -d 'Check the database for damage: exit code 0 or 6'
complete -c backctl -n '__backctl_at help db' -a backup -d 'Copy the database to a new file while it is in use'
complete -c backctl -n '__backctl_at help db' -a restore -d 'Replace the database with a copy while it is in use'
complete -c backctl -n '__backctl_at help db' -a restored -d 'End all sessions after another program has restored a copy'
complete -c backctl -n '__backctl_at help completion' -a bash -d 'Print the completion script for bash'
complete -c backctl -n '__backctl_at help completion' -a zsh -d 'Print the completion script for zsh'
complete -c backctl -n '__backctl_at help completion' -a fish -d 'Print the completion script for fish'
complete -c backctl -n '__backctl_at help' -s h -l help -d 'Show this message and exit'

# backctl help environment
complete -c backctl -n '__backctl_in help environment' -l fields -x -a '(__backctl_listed variable setting option meaning)' -d 'Print only these fields, in this order'

# backctl help exit-codes
complete -c backctl -n '__backctl_in help exit-codes' -l fields -x -a '(__backctl_listed code meaning)' -d 'Print only these fields, in this order'

# backctl help formatting
complete -c backctl -n '__backctl_in help formatting' -l fields -x -a '(__backctl_listed topic text)' -d 'Print only these fields, in this order'

# backctl help identities
complete -c backctl -n '__backctl_in help identities' -l fields -x -a '(__backctl_listed topic text)' -d 'Print only these fields, in this order'

# backctl help options
complete -c backctl -n '__backctl_in help options' -l fields -x -a '(__backctl_listed option value variable commands meaning)' -d 'Print only these fields, in this order'

# backctl help time
complete -c backctl -n '__backctl_in help time' -l fields -x -a '(__backctl_listed topic text)' -d 'Print only these fields, in this order'

# every command
complete -c backctl -n '__backctl_in_leaf' -s p -l profile -x -a '(__backctl_stored profile)' -d 'Use this profile'
complete -c backctl -n '__backctl_in_leaf' -l config -r -F -d 'Use this configuration file'
complete -c backctl -n '__backctl_in_leaf' -s o -l output -x -a 'table wide json jsonl csv tsv id headers' -d 'Output format; by default a table on a terminal and TSV elsewhere. \'wide\' is a table with all fields'
complete -c backctl -n '__backctl_in_leaf' -l no-header -d 'Omit the header line'
complete -c backctl -n '__backctl_in_leaf' -l empty -x -d 'Print this text in empty cells of tables, TSV and CSV'
complete -c backctl -n '__backctl_in_leaf' -s q -l quiet -d 'Suppress notices and the output of mutations and checks'
complete -c backctl -n '__backctl_in_leaf' -s v -l verbose -d 'Print details on standard error'
complete -c backctl -n '__backctl_in_leaf' -l no-color -d 'Use no colours'
complete -c backctl -n '__backctl_in_leaf' -l no-input -d 'Never prompt; fail if an answer is needed'
complete -c backctl -n '__backctl_in_leaf' -l timeout -x -d 'Wait at most this long for a lock or a server, for example 30s'
complete -c backctl -n '__backctl_in_leaf' -s h -l help -d 'Show this message and exit'

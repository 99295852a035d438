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
            case -p --profile --config --username --role --expires-at --expires-in --secret-file --password-file --password-fd --password-env --password-hash-file --password-hash-fd --password-hash-env -o --output --fields --timeout --actor --reason --created-after --created-before --email-domain --search --sort --limit --cursor --page --page-size --mfa-code-file --mfa-code-fd --mfa-code-env --from-file --max-changes --email --if-version --confirm --algorithm --digits --period --code-file --code-fd --code-env --ttl --audience --scope --token-file --token-fd --token-env --jti --session --user --batch-size --older-than --purpose --alg --kid --overlap --if-older-than --passphrase-file --passphrase-fd --passphrase-env --key-file --key-fd --key-env --form --context --context-template --jsonl --csv --file --out --value-file --value-fd --value-env --type --subject --since --until --trace-id --format
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
            case -p --profile --config --username --role --expires-at --expires-in --secret-file --password-file --password-fd --password-env --password-hash-file --password-hash-fd --password-hash-env -o --output --fields --timeout --actor --reason --created-after --created-before --email-domain --search --sort --limit --cursor --page --page-size --mfa-code-file --mfa-code-fd --mfa-code-env --from-file --max-changes --email --if-version --confirm --algorithm --digits --period --code-file --code-fd --code-env --ttl --audience --scope --token-file --token-fd --token-env --jti --session --user --batch-size --older-than --purpose --alg --kid --overlap --if-older-than --passphrase-file --passphrase-fd --passphrase-env --key-file --key-fd --key-env --form --context --context-template --jsonl --csv --file --out --value-file --value-fd --value-env --type --subject --since --until --trace-id --format
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
    string match -qr '^[A-Za-z0-9@._+-]*$' -- "$prefix"
    and command -sq $program
    or return
    command $program __complete $argv[1] "$prefix" --profile "$profile" --config "$config" 2>/dev/null </dev/null |
        string match -r '^[A-Za-z0-9][A-Za-z0-9@._+-]*$'
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
        case 'user create *' 'user list *' 'user show *' 'user exists *' 'user count *' 'user set-password *' 'user check-password *' 'user activate *' 'user deactivate *' 'user update *' 'user delete *' 'user history *' 'user mfa enroll *' 'user mfa confirm *' 'user mfa status *' 'user mfa disable *' 'user mfa recovery-codes *' 'user mfa reencrypt *' 'role list *' 'role show *' 'role assign *' 'access check *' 'token issue *' 'token verify *' 'token inspect *' 'token refresh *' 'token revoke *' 'token list *' 'token gc *' 'key list *' 'key show *' 'key add *' 'key promote *' 'key retire *' 'key destroy *' 'key rotate *' 'key due *' 'key jwks *' 'key wrap *' 'key import *' 'key export *' 'encrypt *' 'decrypt *' 'reencrypt *' 'audit list *' 'audit verify *' 'config show *' 'config path *' 'config get *' 'config set *' 'config unset *' 'config validate *' 'profile list *' 'profile show *' 'profile use *' 'db upgrade *' 'db status *' 'db check *' 'db backup *' 'sanitize *' 'init *' 'doctor *' 'completion bash *' 'completion zsh *' 'completion fish *' 'help exit-codes *'
            return 0
    end
    return 1
end

complete -c backctl -f

# backctl
complete -c backctl -n '__backctl_at' -a user -d 'Create, list and administer accounts'
complete -c backctl -n '__backctl_at' -a role -d 'Show the roles and their permissions, and assign them'
complete -c backctl -n '__backctl_at' -a access -d 'Ask what an account may do'
complete -c backctl -n '__backctl_at' -a token -d 'Issue, verify, refresh and revoke the tokens of accounts'
complete -c backctl -n '__backctl_at' -a key -d 'Rotate, publish and move the keys that sign and encrypt'
complete -c backctl -n '__backctl_at' -a encrypt -d 'Encrypt a value, chosen fields of records, or a file'
complete -c backctl -n '__backctl_at' -a decrypt -d 'Decrypt a value, chosen fields of records, or a file'
complete -c backctl -n '__backctl_at' -a reencrypt -d 'Move what is encrypted to the primary key'
complete -c backctl -n '__backctl_at' -a audit -d 'Read and verify the log of everything that happened'
complete -c backctl -n '__backctl_at' -a config -d 'Show, check and change the configuration'
complete -c backctl -n '__backctl_at' -a profile -d 'See the configured databases and choose among them'
complete -c backctl -n '__backctl_at' -a db -d 'Look after the database: its revision, its health, its copies'
complete -c backctl -n '__backctl_at' -a sanitize -d 'Make text or JSON that others wrote harmless'
complete -c backctl -n '__backctl_at' -a init -d 'Create the keyring and the database, or say that they exist'
complete -c backctl -n '__backctl_at' -a doctor -d 'Check that everything backctl relies on is in order'
complete -c backctl -n '__backctl_at' -a completion -d 'Print the script that makes a shell complete what is typed'
complete -c backctl -n '__backctl_at' -a help -d 'Explain what every command shares, such as exit codes'
complete -c backctl -n '__backctl_at' -s p -l profile -x -a '(__backctl_stored profile)' -d 'Profile to work with'
complete -c backctl -n '__backctl_at' -l config -r -F -d 'Configuration file instead of the usual ones'
complete -c backctl -n '__backctl_at' -s v -l verbose -d 'Say more on standard error'
complete -c backctl -n '__backctl_at' -l version -d 'Show the version and exit'
complete -c backctl -n '__backctl_at' -s h -l help -d 'Show this message and exit'

# backctl user
complete -c backctl -n '__backctl_at user' -a create -d 'Create an account'
complete -c backctl -n '__backctl_at user' -a list -d 'List accounts, page by page'
complete -c backctl -n '__backctl_at user' -a show -d 'Show an account'
complete -c backctl -n '__backctl_at user' -a exists -d 'Say whether an account exists: exit code 0 or 3'
complete -c backctl -n '__backctl_at user' -a count -d 'Count accounts'
complete -c backctl -n '__backctl_at user' -a set-password -d 'Give an account another password'
complete -c backctl -n '__backctl_at user' -a check-password -d 'Say whether a password opens an account: exit code 0 or 6'
complete -c backctl -n '__backctl_at user' -a activate -d 'Open closed accounts'
complete -c backctl -n '__backctl_at user' -a deactivate -d 'Close accounts; nobody can log in to them any more'
complete -c backctl -n '__backctl_at user' -a update -d 'Change what is given of an account, and nothing else'
complete -c backctl -n '__backctl_at user' -a delete -d 'Delete accounts for good; their events stay'
complete -c backctl -n '__backctl_at user' -a history -d 'Show what happened to an account, oldest first'
complete -c backctl -n '__backctl_at user' -a mfa -d 'Give an account a second factor, or take it away'
complete -c backctl -n '__backctl_at user' -s h -l help -d 'Show this message and exit'

# backctl user create
complete -c backctl -n '__backctl_in user create' -l username -x -d '3 to 50 letters, digits, \'.\', \'_\' or \'-\''
complete -c backctl -n '__backctl_in user create' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'What the account may do; \'user\' unless given'
complete -c backctl -n '__backctl_in user create' -l expires-at -x -d 'End the account at this time, such as 2026-12-31'
complete -c backctl -n '__backctl_in user create' -l expires-in -x -d 'End the account after this time, such as 8h or 30d'
complete -c backctl -n '__backctl_in user create' -l generate-password -d 'Make a password and print it once'
complete -c backctl -n '__backctl_in user create' -l no-password -d 'Nobody can log in to the account'
complete -c backctl -n '__backctl_in user create' -l secret-file -r -F -d 'Write the made password to this new file instead'
complete -c backctl -n '__backctl_in user create' -l must-change-password -d 'Another password has to be chosen at the next login'
complete -c backctl -n '__backctl_in user create' -l if-not-exists -d 'Leave an account with this address as it is, and be content'
complete -c backctl -n '__backctl_in user create' -l upsert -d 'Give an account with this address what is given here, but for the password'
complete -c backctl -n '__backctl_in user create' -l password-stdin -d 'Read the password from standard input'
complete -c backctl -n '__backctl_in user create' -l password-file -r -F -d 'Read the password from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in user create' -l password-fd -x -d 'Read the password from an open file descriptor'
complete -c backctl -n '__backctl_in user create' -l password-env -x -d 'Take the password from an environment variable'
complete -c backctl -n '__backctl_in user create' -l password-hash-stdin -d 'Read the password hash from standard input'
complete -c backctl -n '__backctl_in user create' -l password-hash-file -r -F -d 'Read the password hash from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in user create' -l password-hash-fd -x -d 'Read the password hash from an open file descriptor'
complete -c backctl -n '__backctl_in user create' -l password-hash-env -x -d 'Take the password hash from an environment variable'
complete -c backctl -n '__backctl_in user create' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user create' -s y -l yes -d 'Confirm without being asked'

# backctl user list
complete -c backctl -n '__backctl_in user list' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'With this role'
complete -c backctl -n '__backctl_in user list' -l active -d 'Open or closed accounts only'
complete -c backctl -n '__backctl_in user list' -l inactive -d 'Open or closed accounts only'
complete -c backctl -n '__backctl_in user list' -l created-after -x -d 'Created at this time or later'
complete -c backctl -n '__backctl_in user list' -l created-before -x -d 'Created before this time'
complete -c backctl -n '__backctl_in user list' -l email-domain -x -d 'With an address in this domain'
complete -c backctl -n '__backctl_in user list' -l search -x -d 'With this in the username or the address'
complete -c backctl -n '__backctl_in user list' -l sort -x -d 'By created_at, email, username or id; \'-\' before it reverses'
complete -c backctl -n '__backctl_in user list' -l limit -x -d 'At most N items, 1 to 1000; 50 unless given'
complete -c backctl -n '__backctl_in user list' -l cursor -x -d 'Continue after the previous page'
complete -c backctl -n '__backctl_in user list' -l page -x -d 'The page with this number, from 1'
complete -c backctl -n '__backctl_in user list' -l page-size -x -d 'Accounts on a numbered page'
complete -c backctl -n '__backctl_in user list' -l all -d 'Everything instead of a page, in constant memory'

# backctl user show
complete -c backctl -n '__backctl_operand 1 user show' -x -a '(__backctl_stored account)'

# backctl user exists
complete -c backctl -n '__backctl_operand 1 user exists' -x -a '(__backctl_stored account)'

# backctl user count
complete -c backctl -n '__backctl_in user count' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'With this role'
complete -c backctl -n '__backctl_in user count' -l active -d 'Open or closed accounts only'
complete -c backctl -n '__backctl_in user count' -l inactive -d 'Open or closed accounts only'
complete -c backctl -n '__backctl_in user count' -l created-after -x -d 'Created at this time or later'
complete -c backctl -n '__backctl_in user count' -l created-before -x -d 'Created before this time'
complete -c backctl -n '__backctl_in user count' -l email-domain -x -d 'With an address in this domain'
complete -c backctl -n '__backctl_in user count' -l search -x -d 'With this in the username or the address'

# backctl user set-password
complete -c backctl -n '__backctl_operand 1 user set-password' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user set-password' -l generate-password -d 'Make a password and print it once'
complete -c backctl -n '__backctl_in user set-password' -l secret-file -r -F -d 'Write the made password to this new file instead'
complete -c backctl -n '__backctl_in user set-password' -l must-change-password -d 'Another password has to be chosen at the next login'
complete -c backctl -n '__backctl_in user set-password' -l password-stdin -d 'Read the password from standard input'
complete -c backctl -n '__backctl_in user set-password' -l password-file -r -F -d 'Read the password from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in user set-password' -l password-fd -x -d 'Read the password from an open file descriptor'
complete -c backctl -n '__backctl_in user set-password' -l password-env -x -d 'Take the password from an environment variable'
complete -c backctl -n '__backctl_in user set-password' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user set-password' -s y -l yes -d 'Confirm without being asked'

# backctl user check-password
complete -c backctl -n '__backctl_operand 1 user check-password' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user check-password' -l password-stdin -d 'Read the password from standard input'
complete -c backctl -n '__backctl_in user check-password' -l password-file -r -F -d 'Read the password from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in user check-password' -l password-fd -x -d 'Read the password from an open file descriptor'
complete -c backctl -n '__backctl_in user check-password' -l password-env -x -d 'Take the password from an environment variable'
complete -c backctl -n '__backctl_in user check-password' -l mfa-code-stdin -d 'Read the mfa code from standard input'
complete -c backctl -n '__backctl_in user check-password' -l mfa-code-file -r -F -d 'Read the mfa code from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in user check-password' -l mfa-code-fd -x -d 'Read the mfa code from an open file descriptor'
complete -c backctl -n '__backctl_in user check-password' -l mfa-code-env -x -d 'Take the mfa code from an environment variable'

# backctl user activate
complete -c backctl -n '__backctl_operand 1+ user activate' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user activate' -l from-file -r -F -d 'Take identities from a file, one a line or JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in user activate' -l max-changes -x -d 'Change nothing if more accounts would change than this number, or than a percentage of all, such as 5%'
complete -c backctl -n '__backctl_in user activate' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user activate' -s y -l yes -d 'Confirm without being asked'

# backctl user deactivate
complete -c backctl -n '__backctl_operand 1+ user deactivate' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user deactivate' -l from-file -r -F -d 'Take identities from a file, one a line or JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in user deactivate' -l max-changes -x -d 'Change nothing if more accounts would change than this number, or than a percentage of all, such as 5%'
complete -c backctl -n '__backctl_in user deactivate' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user deactivate' -s y -l yes -d 'Confirm without being asked'

# backctl user update
complete -c backctl -n '__backctl_operand 1 user update' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user update' -l email -x -d 'The new e-mail address'
complete -c backctl -n '__backctl_in user update' -l username -x -d 'The new username'
complete -c backctl -n '__backctl_in user update' -l role -x -a 'user moderator admin (__backctl_stored role)' -d 'The new role'
complete -c backctl -n '__backctl_in user update' -l expires-at -x -d 'End the account at this time, such as 2026-12-31'
complete -c backctl -n '__backctl_in user update' -l expires-in -x -d 'End the account after this time, such as 8h or 30d'
complete -c backctl -n '__backctl_in user update' -l no-expiry -d 'The account does not end by itself'
complete -c backctl -n '__backctl_in user update' -l if-version -x -d 'Only if the account still has this version'
complete -c backctl -n '__backctl_in user update' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user update' -s y -l yes -d 'Confirm without being asked'

# backctl user delete
complete -c backctl -n '__backctl_operand 1+ user delete' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user delete' -l erase -d 'Blank the data of their events too; actors and reasons stay'
complete -c backctl -n '__backctl_in user delete' -l if-exists -d 'Be content when there is no such account'
complete -c backctl -n '__backctl_in user delete' -l from-file -r -F -d 'Take identities from a file, one a line or JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in user delete' -l max-changes -x -d 'Change nothing if more accounts would change than this number, or than a percentage of all, such as 5%'
complete -c backctl -n '__backctl_in user delete' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user delete' -s y -l yes -d 'Confirm without being asked'
complete -c backctl -n '__backctl_in user delete' -l confirm -x -d 'Confirm by naming what is destroyed'

# backctl user history
complete -c backctl -n '__backctl_operand 1 user history' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user history' -l sort -x -d '\'seq\' is oldest first, \'-seq\' newest first'
complete -c backctl -n '__backctl_in user history' -l limit -x -d 'At most N items, 1 to 1000; 50 unless given'
complete -c backctl -n '__backctl_in user history' -l cursor -x -d 'Continue after the previous page'
complete -c backctl -n '__backctl_in user history' -l all -d 'Everything instead of a page, in constant memory'

# backctl user mfa
complete -c backctl -n '__backctl_at user mfa' -a enroll -d 'Make a secret for an authenticator, and show it once'
complete -c backctl -n '__backctl_at user mfa' -a confirm -d 'Turn the second factor on with a code of it'
complete -c backctl -n '__backctl_at user mfa' -a status -d 'Show the second factor of an account'
complete -c backctl -n '__backctl_at user mfa' -a disable -d 'Take the second factor away, with its recovery codes'
complete -c backctl -n '__backctl_at user mfa' -a recovery-codes -d 'Make ten new recovery codes; those before are void'
complete -c backctl -n '__backctl_at user mfa' -a reencrypt -d 'Move all secrets to the primary key'
complete -c backctl -n '__backctl_at user mfa' -s h -l help -d 'Show this message and exit'

# backctl user mfa enroll
complete -c backctl -n '__backctl_operand 1 user mfa enroll' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa enroll' -l algorithm -x -a 'sha1 sha256 sha512' -d 'One of sha1, sha256, sha512; some authenticators know sha1 only'
complete -c backctl -n '__backctl_in user mfa enroll' -l digits -x -d 'Digits of a code, 6 to 8'
complete -c backctl -n '__backctl_in user mfa enroll' -l period -x -d 'How long a code counts, 10 to 300'
complete -c backctl -n '__backctl_in user mfa enroll' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user mfa enroll' -s y -l yes -d 'Confirm without being asked'

# backctl user mfa confirm
complete -c backctl -n '__backctl_operand 1 user mfa confirm' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa confirm' -l secret-file -r -F -d 'Write the recovery codes to this new file instead'
complete -c backctl -n '__backctl_in user mfa confirm' -l code-stdin -d 'Read the code from standard input'
complete -c backctl -n '__backctl_in user mfa confirm' -l code-file -r -F -d 'Read the code from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in user mfa confirm' -l code-fd -x -d 'Read the code from an open file descriptor'
complete -c backctl -n '__backctl_in user mfa confirm' -l code-env -x -d 'Take the code from an environment variable'
complete -c backctl -n '__backctl_in user mfa confirm' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user mfa confirm' -s y -l yes -d 'Confirm without being asked'

# backctl user mfa status
complete -c backctl -n '__backctl_operand 1 user mfa status' -x -a '(__backctl_stored account)'

# backctl user mfa disable
complete -c backctl -n '__backctl_operand 1 user mfa disable' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa disable' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user mfa disable' -s y -l yes -d 'Confirm without being asked'

# backctl user mfa recovery-codes
complete -c backctl -n '__backctl_operand 1 user mfa recovery-codes' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -l secret-file -r -F -d 'Write the recovery codes to this new file instead'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user mfa recovery-codes' -s y -l yes -d 'Confirm without being asked'

# backctl user mfa reencrypt
complete -c backctl -n '__backctl_in user mfa reencrypt' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in user mfa reencrypt' -s y -l yes -d 'Confirm without being asked'

# backctl role
complete -c backctl -n '__backctl_at role' -a list -d 'List the roles: the built-in ones, then the configured ones'
complete -c backctl -n '__backctl_at role' -a show -d 'Show a role and what it may do'
complete -c backctl -n '__backctl_at role' -a assign -d 'Give accounts a role instead of the one they have'
complete -c backctl -n '__backctl_at role' -s h -l help -d 'Show this message and exit'

# backctl role show
complete -c backctl -n '__backctl_operand 1 role show' -x -a 'user moderator admin (__backctl_stored role)'

# backctl role assign
complete -c backctl -n '__backctl_operand 1 role assign' -x -a 'user moderator admin (__backctl_stored role)'
complete -c backctl -n '__backctl_operand 2+ role assign' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in role assign' -l from-file -r -F -d 'Take identities from a file, one a line or JSON lines; \'-\' is standard input'
complete -c backctl -n '__backctl_in role assign' -l max-changes -x -d 'Change nothing if more accounts would change than this number, or than a percentage of all, such as 5%'
complete -c backctl -n '__backctl_in role assign' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in role assign' -s y -l yes -d 'Confirm without being asked'

# backctl access
complete -c backctl -n '__backctl_at access' -a check -d 'Say whether an account may do something now: exit code 0 or 6'
complete -c backctl -n '__backctl_at access' -s h -l help -d 'Show this message and exit'

# backctl access check
complete -c backctl -n '__backctl_operand 1 access check' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in access check' -l explain -d 'Show everything that decides it'

# backctl token
complete -c backctl -n '__backctl_at token' -a issue -d 'Issue an access token to an account and print it'
complete -c backctl -n '__backctl_at token' -a verify -d 'Verify an access token, and print what it says'
complete -c backctl -n '__backctl_at token' -a inspect -d 'Show what a token says about itself, without any check'
complete -c backctl -n '__backctl_at token' -a refresh -d 'Redeem a refresh token for an access token and the next one'
complete -c backctl -n '__backctl_at token' -a revoke -d 'Revoke tokens: one, those of a session or of an account, or all'
complete -c backctl -n '__backctl_at token' -a list -d 'List the sessions of an account, the oldest first'
complete -c backctl -n '__backctl_at token' -a gc -d 'Remove sessions, refresh tokens and revocations that are past'
complete -c backctl -n '__backctl_at token' -s h -l help -d 'Show this message and exit'

# backctl token issue
complete -c backctl -n '__backctl_operand 1 token issue' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in token issue' -l ttl -x -d 'How long it counts, up to 1d, instead of the usual'
complete -c backctl -n '__backctl_in token issue' -l audience -x -d 'Whom the token is for, instead of tokens.audience'
complete -c backctl -n '__backctl_in token issue' -l scope -x -d 'What it is good for, words with a space between'
complete -c backctl -n '__backctl_in token issue' -l pair -d 'Issue a refresh token, too, on a second line'
complete -c backctl -n '__backctl_in token issue' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in token issue' -s y -l yes -d 'Confirm without being asked'

# backctl token verify
complete -c backctl -n '__backctl_in token verify' -l audience -x -d 'Whom the token is for, instead of tokens.audience'
complete -c backctl -n '__backctl_in token verify' -l offline -d 'Ask no database: whether it was revoked stays unknown'
complete -c backctl -n '__backctl_in token verify' -l batch -d 'Read one token a line from standard input and answer each with one of JSON'
complete -c backctl -n '__backctl_in token verify' -l token-stdin -d 'Read the token from standard input'
complete -c backctl -n '__backctl_in token verify' -l token-file -r -F -d 'Read the token from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in token verify' -l token-fd -x -d 'Read the token from an open file descriptor'
complete -c backctl -n '__backctl_in token verify' -l token-env -x -d 'Take the token from an environment variable'

# backctl token inspect
complete -c backctl -n '__backctl_in token inspect' -l token-stdin -d 'Read the token from standard input'
complete -c backctl -n '__backctl_in token inspect' -l token-file -r -F -d 'Read the token from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in token inspect' -l token-fd -x -d 'Read the token from an open file descriptor'
complete -c backctl -n '__backctl_in token inspect' -l token-env -x -d 'Take the token from an environment variable'

# backctl token refresh
complete -c backctl -n '__backctl_in token refresh' -l token-stdin -d 'Read the token from standard input'
complete -c backctl -n '__backctl_in token refresh' -l token-file -r -F -d 'Read the token from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in token refresh' -l token-fd -x -d 'Read the token from an open file descriptor'
complete -c backctl -n '__backctl_in token refresh' -l token-env -x -d 'Take the token from an environment variable'
complete -c backctl -n '__backctl_in token refresh' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in token refresh' -s y -l yes -d 'Confirm without being asked'

# backctl token revoke
complete -c backctl -n '__backctl_in token revoke' -l jti -x -d 'The access token with this identifier'
complete -c backctl -n '__backctl_in token revoke' -l session -x -d 'One session with all its tokens'
complete -c backctl -n '__backctl_in token revoke' -l user -x -a '(__backctl_stored account)' -d 'Every session of this account'
complete -c backctl -n '__backctl_in token revoke' -l all -d 'Everything: every session of everybody'
complete -c backctl -n '__backctl_in token revoke' -l token-stdin -d 'Read the token from standard input'
complete -c backctl -n '__backctl_in token revoke' -l token-file -r -F -d 'Read the token from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in token revoke' -l token-fd -x -d 'Read the token from an open file descriptor'
complete -c backctl -n '__backctl_in token revoke' -l token-env -x -d 'Take the token from an environment variable'
complete -c backctl -n '__backctl_in token revoke' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in token revoke' -s y -l yes -d 'Confirm without being asked'

# backctl token list
complete -c backctl -n '__backctl_operand 1 token list' -x -a '(__backctl_stored account)'
complete -c backctl -n '__backctl_in token list' -l limit -x -d 'At most N items, 1 to 1000; 50 unless given'
complete -c backctl -n '__backctl_in token list' -l cursor -x -d 'Continue after the previous page'
complete -c backctl -n '__backctl_in token list' -l all -d 'Everything instead of a page, in constant memory'

# backctl token gc
complete -c backctl -n '__backctl_in token gc' -l batch-size -x -d 'Rows of a kind in one transaction; 1000 unless given'
complete -c backctl -n '__backctl_in token gc' -l older-than -x -d 'Only what has been past for this long; 1d unless given'
complete -c backctl -n '__backctl_in token gc' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in token gc' -s y -l yes -d 'Confirm without being asked'

# backctl key
complete -c backctl -n '__backctl_at key' -a list -d 'List the keys, in the order in which they came'
complete -c backctl -n '__backctl_at key' -a show -d 'Show one key; never the secret in it'
complete -c backctl -n '__backctl_at key' -a add -d 'Make a key and publish it; it is used once it is promoted'
complete -c backctl -n '__backctl_at key' -a promote -d 'Use a key from now on; the one in use retires'
complete -c backctl -n '__backctl_at key' -a retire -d 'Let a key that is not in use verify and decrypt only'
complete -c backctl -n '__backctl_at key' -a destroy -d 'Give a key up for good; its name stays taken'
complete -c backctl -n '__backctl_at key' -a rotate -d 'Publish a successor, or let it take over, when that is due'
complete -c backctl -n '__backctl_at key' -a due -d 'Say what \'rotate\' with the same flags would do'
complete -c backctl -n '__backctl_at key' -a jwks -d 'Print what verifiers need: the public keys, as a JWK Set'
complete -c backctl -n '__backctl_at key' -a wrap -d 'Store the keyring under a passphrase'
complete -c backctl -n '__backctl_at key' -a import -d 'Take in a private key that was made elsewhere, JWK or PEM'
complete -c backctl -n '__backctl_at key' -a export -d 'Print the public half of a key, or with --private all of it'
complete -c backctl -n '__backctl_at key' -s h -l help -d 'Show this message and exit'

# backctl key list
complete -c backctl -n '__backctl_in key list' -l purpose -x -a 'sign encrypt audit index' -d 'Of this purpose only'

# backctl key add
complete -c backctl -n '__backctl_in key add' -l purpose -x -a 'sign encrypt audit index' -d 'What the key is for'
complete -c backctl -n '__backctl_in key add' -l alg -x -a 'EdDSA ES256 RS256 HS256' -d 'Algorithm of a signing key; EdDSA unless given'
complete -c backctl -n '__backctl_in key add' -l kid -x -d 'Name of the key; made up unless given'
complete -c backctl -n '__backctl_in key add' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in key add' -s y -l yes -d 'Confirm without being asked'

# backctl key promote
complete -c backctl -n '__backctl_in key promote' -l overlap -x -d 'How long a retired signing key still verifies from now on'
complete -c backctl -n '__backctl_in key promote' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in key promote' -s y -l yes -d 'Confirm without being asked'

# backctl key retire
complete -c backctl -n '__backctl_in key retire' -l overlap -x -d 'How long a retired signing key still verifies from now on'
complete -c backctl -n '__backctl_in key retire' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in key retire' -s y -l yes -d 'Confirm without being asked'

# backctl key destroy
complete -c backctl -n '__backctl_in key destroy' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in key destroy' -s y -l yes -d 'Confirm without being asked'
complete -c backctl -n '__backctl_in key destroy' -l confirm -x -d 'Confirm by naming what is destroyed'

# backctl key rotate
complete -c backctl -n '__backctl_in key rotate' -l purpose -x -a 'sign encrypt audit index' -d 'Only this purpose; may be repeated. Else sign and encrypt'
complete -c backctl -n '__backctl_in key rotate' -l if-older-than -x -d 'Replace a key that has been in use for so long'
complete -c backctl -n '__backctl_in key rotate' -l overlap -x -d 'How long a retired signing key still verifies, and a successor is published before its use'
complete -c backctl -n '__backctl_in key rotate' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in key rotate' -s y -l yes -d 'Confirm without being asked'

# backctl key due
complete -c backctl -n '__backctl_in key due' -l purpose -x -a 'sign encrypt audit index' -d 'Only this purpose; may be repeated. Else sign and encrypt'
complete -c backctl -n '__backctl_in key due' -l if-older-than -x -d 'Replace a key that has been in use for so long'
complete -c backctl -n '__backctl_in key due' -l overlap -x -d 'How long a retired signing key still verifies, and a successor is published before its use'

# backctl key wrap
complete -c backctl -n '__backctl_in key wrap' -l none -d 'Store the keyring in plain again'
complete -c backctl -n '__backctl_in key wrap' -l passphrase-stdin -d 'Read the passphrase from standard input'
complete -c backctl -n '__backctl_in key wrap' -l passphrase-file -r -F -d 'Read the passphrase from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in key wrap' -l passphrase-fd -x -d 'Read the passphrase from an open file descriptor'
complete -c backctl -n '__backctl_in key wrap' -l passphrase-env -x -d 'Take the passphrase from an environment variable'
complete -c backctl -n '__backctl_in key wrap' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in key wrap' -s y -l yes -d 'Confirm without being asked'

# backctl key import
complete -c backctl -n '__backctl_in key import' -l purpose -x -a 'sign encrypt audit index' -d 'What the key is for'
complete -c backctl -n '__backctl_in key import' -l alg -x -a 'EdDSA ES256 RS256 HS256' -d 'Algorithm of a signing key; EdDSA unless given'
complete -c backctl -n '__backctl_in key import' -l kid -x -d 'Name of the key; made up unless given'
complete -c backctl -n '__backctl_in key import' -l key-stdin -d 'Read the key from standard input'
complete -c backctl -n '__backctl_in key import' -l key-file -r -F -d 'Read the key from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in key import' -l key-fd -x -d 'Read the key from an open file descriptor'
complete -c backctl -n '__backctl_in key import' -l key-env -x -d 'Take the key from an environment variable'
complete -c backctl -n '__backctl_in key import' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in key import' -s y -l yes -d 'Confirm without being asked'

# backctl key export
complete -c backctl -n '__backctl_in key export' -l private -d 'The key itself, not its public half; the log is told'
complete -c backctl -n '__backctl_in key export' -l form -x -a 'jwk pem' -d 'How it is written'
complete -c backctl -n '__backctl_in key export' -l secret-file -r -F -d 'Write the private key to this new file instead'
complete -c backctl -n '__backctl_in key export' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in key export' -s y -l yes -d 'Confirm without being asked'

# backctl encrypt
complete -c backctl -n '__backctl_in encrypt' -l context -x -d 'Where the value lives, such as users.phone:1; \'\' for nowhere'
complete -c backctl -n '__backctl_in encrypt' -l trim-newline -d 'Drop one line end at the end of the value, as echo writes it'
complete -c backctl -n '__backctl_in encrypt' -l context-template -x -d 'The same for records: {id} is what their field holds, {} the name of the field at hand'
complete -c backctl -n '__backctl_in encrypt' -l lines -d 'Every line is a value'
complete -c backctl -n '__backctl_in encrypt' -l jsonl -x -d 'Lines are JSON objects: these strings in them; a? may be missing'
complete -c backctl -n '__backctl_in encrypt' -l csv -x -d 'CSV with a header: the cells of these columns'
complete -c backctl -n '__backctl_in encrypt' -l file -r -F -d 'Take a file of any size, whole or as records; \'-\' is standard input'
complete -c backctl -n '__backctl_in encrypt' -l out -r -F -d 'Write a new file, which appears when it is complete, and print a report'
complete -c backctl -n '__backctl_in encrypt' -l overwrite -d 'Replace the file of --out where it exists'
complete -c backctl -n '__backctl_in encrypt' -l all-or-nothing -d 'Write nothing when a record fails'
complete -c backctl -n '__backctl_in encrypt' -l value-stdin -d 'Read the value from standard input'
complete -c backctl -n '__backctl_in encrypt' -l value-file -r -F -d 'Read the value from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in encrypt' -l value-fd -x -d 'Read the value from an open file descriptor'
complete -c backctl -n '__backctl_in encrypt' -l value-env -x -d 'Take the value from an environment variable'

# backctl decrypt
complete -c backctl -n '__backctl_in decrypt' -l context -x -d 'Where the value lives, such as users.phone:1; \'\' for nowhere'
complete -c backctl -n '__backctl_in decrypt' -l context-template -x -d 'The same for records: {id} is what their field holds, {} the name of the field at hand'
complete -c backctl -n '__backctl_in decrypt' -l lines -d 'Every line is a value'
complete -c backctl -n '__backctl_in decrypt' -l jsonl -x -d 'Lines are JSON objects: these strings in them; a? may be missing'
complete -c backctl -n '__backctl_in decrypt' -l csv -x -d 'CSV with a header: the cells of these columns'
complete -c backctl -n '__backctl_in decrypt' -l file -r -F -d 'Take a file of any size, whole or as records; \'-\' is standard input'
complete -c backctl -n '__backctl_in decrypt' -l out -r -F -d 'Write a new file, which appears when it is complete, and print a report'
complete -c backctl -n '__backctl_in decrypt' -l overwrite -d 'Replace the file of --out where it exists'
complete -c backctl -n '__backctl_in decrypt' -l all-or-nothing -d 'Write nothing when a record fails'
complete -c backctl -n '__backctl_in decrypt' -l stream -d 'Write a file to standard output as it is read; without it, when all of it is known to be genuine'
complete -c backctl -n '__backctl_in decrypt' -l value-stdin -d 'Read the value from standard input'
complete -c backctl -n '__backctl_in decrypt' -l value-file -r -F -d 'Read the value from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in decrypt' -l value-fd -x -d 'Read the value from an open file descriptor'
complete -c backctl -n '__backctl_in decrypt' -l value-env -x -d 'Take the value from an environment variable'

# backctl reencrypt
complete -c backctl -n '__backctl_in reencrypt' -l context -x -d 'Where the value lives, such as users.phone:1; \'\' for nowhere'
complete -c backctl -n '__backctl_in reencrypt' -l context-template -x -d 'The same for records: {id} is what their field holds, {} the name of the field at hand'
complete -c backctl -n '__backctl_in reencrypt' -l lines -d 'Every line is a value'
complete -c backctl -n '__backctl_in reencrypt' -l jsonl -x -d 'Lines are JSON objects: these strings in them; a? may be missing'
complete -c backctl -n '__backctl_in reencrypt' -l csv -x -d 'CSV with a header: the cells of these columns'
complete -c backctl -n '__backctl_in reencrypt' -l file -r -F -d 'Take a file of any size, whole or as records; \'-\' is standard input'
complete -c backctl -n '__backctl_in reencrypt' -l out -r -F -d 'Write a new file, which appears when it is complete, and print a report'
complete -c backctl -n '__backctl_in reencrypt' -l overwrite -d 'Replace the file of --out where it exists'
complete -c backctl -n '__backctl_in reencrypt' -l all-or-nothing -d 'Write nothing when a record fails'
complete -c backctl -n '__backctl_in reencrypt' -l value-stdin -d 'Read the value from standard input'
complete -c backctl -n '__backctl_in reencrypt' -l value-file -r -F -d 'Read the value from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in reencrypt' -l value-fd -x -d 'Read the value from an open file descriptor'
complete -c backctl -n '__backctl_in reencrypt' -l value-env -x -d 'Take the value from an environment variable'

# backctl audit
complete -c backctl -n '__backctl_at audit' -a list -d 'List events, oldest first'
complete -c backctl -n '__backctl_at audit' -a verify -d 'Prove that the log is whole: exit code 0 or 6'
complete -c backctl -n '__backctl_at audit' -s h -l help -d 'Show this message and exit'

# backctl audit list
complete -c backctl -n '__backctl_in audit list' -l type -x -a 'InstallationCreated SchemaUpgraded UserCreated UserEmailChanged UserUsernameChanged UserRoleChanged UserExpiryChanged UserActivated UserDeactivated UserPasswordChanged UserPasswordRehashed LoginSucceeded LoginFailed LoginChallenged UserLocked MfaEnrolled MfaConfirmed MfaDisabled RecoveryCodesRenewed RecoveryCodeUsed UserDeleted KeyAdded KeyImported KeyPromoted KeyRetired KeyDestroyed KeyringRewrapped KeyExported SessionOpened SessionRefreshed SessionRevoked SessionsRevoked RefreshTokenReused AccessTokenRevoked IssuerTokensRevoked' -d 'Of this type, e.g. UserCreated'
complete -c backctl -n '__backctl_in audit list' -l subject -x -a '(__backctl_stored account)' -d 'About this account, or the thing with this id'
complete -c backctl -n '__backctl_in audit list' -l since -x -d 'At this time or later'
complete -c backctl -n '__backctl_in audit list' -l until -x -d 'Before this time'
complete -c backctl -n '__backctl_in audit list' -l trace-id -x -d 'Of this trace (TRACEPARENT)'
complete -c backctl -n '__backctl_in audit list' -l sort -x -d '\'seq\' is oldest first, \'-seq\' newest first'
complete -c backctl -n '__backctl_in audit list' -l limit -x -d 'At most N items, 1 to 1000; 50 unless given'
complete -c backctl -n '__backctl_in audit list' -l cursor -x -d 'Continue after the previous page'
complete -c backctl -n '__backctl_in audit list' -l all -d 'Everything instead of a page, in constant memory'

# backctl config
complete -c backctl -n '__backctl_at config' -a show -d 'Show every value in force; secrets are masked'
complete -c backctl -n '__backctl_at config' -a path -d 'Print the configuration file in force, or where yours would be'
complete -c backctl -n '__backctl_at config' -a get -d 'Print one value; a secret is masked'
complete -c backctl -n '__backctl_at config' -a set -d 'Write one value to the configuration file'
complete -c backctl -n '__backctl_at config' -a unset -d 'Take one value out of the configuration file'
complete -c backctl -n '__backctl_at config' -a validate -d 'List everything wrong with the configuration: exit code 0 or 9'
complete -c backctl -n '__backctl_at config' -s h -l help -d 'Show this message and exit'

# backctl config show
complete -c backctl -n '__backctl_in config show' -l origin -d 'Say where each value comes from'

# backctl config get
complete -c backctl -n '__backctl_operand 1 config get' -x -a 'protected database.url database.timeout database.connect_timeout database.statement_timeout database.lock_timeout keyring.path keyring.allow_group_read keyring.document keyring.passphrase accounts.allow_special_domains passwords.min_length passwords.bcrypt_cost tokens.issuer tokens.audience tokens.access_ttl tokens.refresh_ttl tokens.session_ttl tokens.leeway tokens.grace sanitize.tags sanitize.attributes sanitize.url_schemes sanitize.max_bytes sanitize.max_depth'

# backctl config set
complete -c backctl -n '__backctl_operand 1 config set' -x -a 'protected database.url database.timeout database.connect_timeout database.statement_timeout database.lock_timeout keyring.path keyring.allow_group_read keyring.document keyring.passphrase accounts.allow_special_domains passwords.min_length passwords.bcrypt_cost tokens.issuer tokens.audience tokens.access_ttl tokens.refresh_ttl tokens.session_ttl tokens.leeway tokens.grace sanitize.tags sanitize.attributes sanitize.url_schemes sanitize.max_bytes sanitize.max_depth'
complete -c backctl -n '__backctl_in config set' -l value-stdin -d 'Read the value from standard input'
complete -c backctl -n '__backctl_in config set' -l value-file -r -F -d 'Read the value from a file; \'-\' is standard input'
complete -c backctl -n '__backctl_in config set' -l value-fd -x -d 'Read the value from an open file descriptor'
complete -c backctl -n '__backctl_in config set' -l value-env -x -d 'Take the value from an environment variable'
complete -c backctl -n '__backctl_in config set' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in config set' -s y -l yes -d 'Confirm without being asked'

# backctl config unset
complete -c backctl -n '__backctl_operand 1 config unset' -x -a 'protected database.url database.timeout database.connect_timeout database.statement_timeout database.lock_timeout keyring.path keyring.allow_group_read keyring.document keyring.passphrase accounts.allow_special_domains passwords.min_length passwords.bcrypt_cost tokens.issuer tokens.audience tokens.access_ttl tokens.refresh_ttl tokens.session_ttl tokens.leeway tokens.grace sanitize.tags sanitize.attributes sanitize.url_schemes sanitize.max_bytes sanitize.max_depth'
complete -c backctl -n '__backctl_in config unset' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in config unset' -s y -l yes -d 'Confirm without being asked'

# backctl config validate
complete -c backctl -n '__backctl_operand 1 config validate' -r -F

# backctl profile
complete -c backctl -n '__backctl_at profile' -a list -d 'List the profiles: the database of each, and its origin'
complete -c backctl -n '__backctl_at profile' -a show -d 'Show the settings of a profile, and where each comes from'
complete -c backctl -n '__backctl_at profile' -a use -d 'Select the profile that commands work on from now on'
complete -c backctl -n '__backctl_at profile' -s h -l help -d 'Show this message and exit'

# backctl profile show
complete -c backctl -n '__backctl_operand 1 profile show' -x -a '(__backctl_stored profile)'

# backctl profile use
complete -c backctl -n '__backctl_operand 1 profile use' -x -a '(__backctl_stored profile)'
complete -c backctl -n '__backctl_in profile use' -l none -d 'Work without a profile from now on'
complete -c backctl -n '__backctl_in profile use' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in profile use' -s y -l yes -d 'Confirm without being asked'

# backctl db
complete -c backctl -n '__backctl_at db' -a upgrade -d 'Bring the schema to the revision of this backctl'
complete -c backctl -n '__backctl_at db' -a status -d 'Say where the database is, its revision, and what it holds'
complete -c backctl -n '__backctl_at db' -a check -d 'Compare the database with what it should be: exit code 0 or 6'
complete -c backctl -n '__backctl_at db' -a backup -d 'Copy the database to a new file while others work with it'
complete -c backctl -n '__backctl_at db' -s h -l help -d 'Show this message and exit'

# backctl db upgrade
complete -c backctl -n '__backctl_in db upgrade' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in db upgrade' -s y -l yes -d 'Confirm without being asked'

# backctl db backup
complete -c backctl -n '__backctl_operand 1 db backup' -r -F

# backctl sanitize
complete -c backctl -n '__backctl_in sanitize' -l format -x -a 'text json jsonl' -d 'What is read: one text, one JSON document, or one document a line'
complete -c backctl -n '__backctl_in sanitize' -l explain -d 'Say what would be changed instead of the result'

# backctl init
complete -c backctl -n '__backctl_in init' -l calibrate -d 'Measure this machine and set the hash cost that takes nearest 250 ms'
complete -c backctl -n '__backctl_in init' -s n -l dry-run -d 'Do everything, then undo it'
complete -c backctl -n '__backctl_in init' -s y -l yes -d 'Confirm without being asked'

# backctl completion
complete -c backctl -n '__backctl_at completion' -a bash -d 'Print the script for bash'
complete -c backctl -n '__backctl_at completion' -a zsh -d 'Print the script for zsh'
complete -c backctl -n '__backctl_at completion' -a fish -d 'Print the script for fish'
complete -c backctl -n '__backctl_at completion' -s h -l help -d 'Show this message and exit'

# backctl help
complete -c backctl -n '__backctl_at help' -a exit-codes -d 'List the exit codes and what they mean'
complete -c backctl -n '__backctl_at help' -s h -l help -d 'Show this message and exit'

# every command
complete -c backctl -n '__backctl_in_leaf' -s p -l profile -x -a '(__backctl_stored profile)' -d 'Profile to work with'
complete -c backctl -n '__backctl_in_leaf' -l config -r -F -d 'Configuration file instead of the usual ones'
complete -c backctl -n '__backctl_in_leaf' -s o -l output -x -a 'table json jsonl csv tsv id' -d 'Form of the result; a table on a terminal, tsv in a pipe'
complete -c backctl -n '__backctl_in_leaf' -l fields -x -d 'Members to print, in this order'
complete -c backctl -n '__backctl_in_leaf' -l no-header -d 'Leave the header line out'
complete -c backctl -n '__backctl_in_leaf' -s q -l quiet -d 'No notices, and no result of changes and checks'
complete -c backctl -n '__backctl_in_leaf' -s v -l verbose -d 'Say more on standard error'
complete -c backctl -n '__backctl_in_leaf' -l no-color -d 'No colours, ever'
complete -c backctl -n '__backctl_in_leaf' -l no-input -d 'Never ask; fail where an answer is needed'
complete -c backctl -n '__backctl_in_leaf' -l timeout -x -d 'Longest wait for a lock or a server, such as 30s'
complete -c backctl -n '__backctl_in_leaf' -l actor -x -d 'Name recorded beside the system\'s user'
complete -c backctl -n '__backctl_in_leaf' -l reason -x -d 'Reason recorded with every change'
complete -c backctl -n '__backctl_in_leaf' -s h -l help -d 'Show this message and exit'

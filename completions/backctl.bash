# Completion of backctl for bash, from 3.2 on, without further packages. Made by 'backctl completion bash'.

_backctl_at() { # sets words, operands and flags to what may follow the words $1
    local shared=' -p=@profile --profile=@profile --config=FILE -o=table|wide|json|jsonl|csv|tsv|id|headers --output=table|wide|json|jsonl|csv|tsv|id|headers --no-header --empty=TEXT -q --quiet -v --verbose --no-color --no-input --timeout=TEXT -h --help'
    words='' operands=(TEXT) flags=''
    case $1 in
        'backctl') words='user role access token key encrypt decrypt reencrypt cache ratelimit audit config profile db plan apply sanitize init doctor completion version help' flags=" -p=@profile --profile=@profile --config=FILE -v --verbose --version -h --help" ;;
        'backctl user') words='create list show exists count activate unlock deactivate update history set-password check-password delete export import mfa' flags=" -h --help" ;;
        'backctl user create') operands=(TEXT TEXT) flags=" --username=TEXT --role=user|moderator|admin|@role --expires-at=TEXT --expires-in=TEXT --generate-password --no-password --secret-file=FILE --must-change-password --if-not-exists --upsert --password-stdin --password-file=FILE --password-fd=TEXT --password-env=TEXT --password-hash-stdin --password-hash-file=FILE --password-hash-fd=TEXT --password-hash-env=TEXT -n --dry-run -y --yes --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported|changed|dry_run|password|secret_file --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user list') flags=" --role=user|moderator|admin|@role --status=active|closed|expired|locked --active --inactive --locked --created-after=TEXT --created-before=TEXT --expires-before=TEXT --last-login-before=TEXT --mfa=off|pending|on --must-change-password --no-password --email-domain=TEXT --search=TEXT --limit=TEXT --cursor=TEXT --all --sort=created_at|email|username|id|-created_at|-email|-username|-id --page=TEXT --page-size=TEXT --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported$shared" ;;
        'backctl user show') operands=(@account TEXT) flags=" --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported|last_seen_at$shared" ;;
        'backctl user exists') operands=(@account TEXT) flags=" --fields=,ok|ident|user_id$shared" ;;
        'backctl user count') flags=" --role=user|moderator|admin|@role --status=active|closed|expired|locked --active --inactive --locked --created-after=TEXT --created-before=TEXT --expires-before=TEXT --last-login-before=TEXT --mfa=off|pending|on --must-change-password --no-password --email-domain=TEXT --search=TEXT --fields=,count$shared" ;;
        'backctl user activate') operands=(@account) flags=" --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported|changed|dry_run|ident|error --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user unlock') operands=(@account) flags=" --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported|changed|dry_run|ident|error --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user deactivate') operands=(@account) flags=" --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported|changed|dry_run|ident|error --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user update') operands=(@account TEXT) flags=" --email=TEXT --username=TEXT --role=user|moderator|admin|@role --expires-at=TEXT --expires-in=TEXT --no-expiry --if-version=TEXT -n --dry-run -y --yes --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user history') operands=(@account TEXT) flags=" --sort=seq|-seq --limit=TEXT --cursor=TEXT --all --fields=,seq|id|occurred_at|type|subject|subject_name|actor|os_user|host|reason|trace_id|data$shared" ;;
        'backctl user set-password') operands=(@account TEXT) flags=" --generate-password --secret-file=FILE --must-change-password --password-stdin --password-file=FILE --password-fd=TEXT --password-env=TEXT -n --dry-run -y --yes --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported|changed|dry_run|password|secret_file --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user check-password') operands=(@account TEXT) flags=" --source=TEXT --password-stdin --password-file=FILE --password-fd=TEXT --password-env=TEXT --mfa-code-stdin --mfa-code-file=FILE --mfa-code-fd=TEXT --mfa-code-env=TEXT --fields=,ok|ident|outcome|locked_until|user_id|second_factor|recovery_codes_left|retry_after --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user delete') operands=(@account) flags=" --erase --if-exists --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes --confirm=TEXT --fields=,id|email|username|erased_events|changed|dry_run|ident|error --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user export') flags=" --role=user|moderator|admin|@role --status=active|closed|expired|locked --active --inactive --locked --created-after=TEXT --created-before=TEXT --expires-before=TEXT --last-login-before=TEXT --mfa=off|pending|on --must-change-password --no-password --email-domain=TEXT --search=TEXT --format=jsonl|json|csv --include-hashes --include-mfa --spreadsheet-safe --out=FILE --overwrite -n --dry-run -y --yes --fields=,file|size_bytes|accounts|hashes|mfa|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user import') operands=(FILE TEXT) flags=" --format=jsonl|json|csv|django|kratos --map=TEXT --mode=create|upsert|skip --update-secrets --generate-passwords --all-or-nothing --batch-size=TEXT --results=FILE --resume=FILE --secret-file=FILE --max-errors=TEXT --max-changes=TEXT -n --dry-run -y --yes --fields=,total|created|updated|unchanged|failed|undone|ignored|errors|password_schemes|results_file|changed|dry_run|secret_file --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user mfa') words='enroll confirm status disable recovery-codes reencrypt' flags=" -h --help" ;;
        'backctl user mfa enroll') operands=(@account TEXT) flags=" --algorithm=sha1|sha256|sha512 --digits=TEXT --period=TEXT -n --dry-run -y --yes --fields=,user_id|username|mfa|algorithm|digits|period|enrolled_at|confirmed_at|recovery_codes_left|changed|dry_run|secret|uri --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user mfa confirm') operands=(@account TEXT) flags=" --secret-file=FILE --code-stdin --code-file=FILE --code-fd=TEXT --code-env=TEXT -n --dry-run -y --yes --fields=,user_id|username|mfa|algorithm|digits|period|enrolled_at|confirmed_at|recovery_codes_left|changed|dry_run|recovery_codes|secret_file --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user mfa status') operands=(@account TEXT) flags=" --fields=,user_id|username|mfa|algorithm|digits|period|enrolled_at|confirmed_at|recovery_codes_left$shared" ;;
        'backctl user mfa disable') operands=(@account TEXT) flags=" -n --dry-run -y --yes --fields=,user_id|username|mfa|algorithm|digits|period|enrolled_at|confirmed_at|recovery_codes_left|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user mfa recovery-codes') operands=(@account TEXT) flags=" --secret-file=FILE -n --dry-run -y --yes --fields=,user_id|username|mfa|algorithm|digits|period|enrolled_at|confirmed_at|recovery_codes_left|changed|dry_run|recovery_codes|secret_file --actor=TEXT --reason=TEXT$shared" ;;
        'backctl user mfa reencrypt') flags=" -n --dry-run -y --yes --fields=,moved|unusable|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl role') words='list show assign' flags=" -h --help" ;;
        'backctl role list') flags=" --fields=,name|description|builtin|permissions$shared" ;;
        'backctl role show') operands=('user|moderator|admin|@role' TEXT) flags=" --fields=,name|description|builtin|permissions$shared" ;;
        'backctl role assign') operands=('user|moderator|admin|@role' @account) flags=" --from-file=FILE --max-changes=TEXT -n --dry-run -y --yes --fields=,id|email|username|role|status|is_active|locked_until|has_password|must_change_password|mfa|expires_at|last_login_at|created_at|updated_at|version|password_imported|changed|dry_run|ident|error --actor=TEXT --reason=TEXT$shared" ;;
        'backctl access') words='check' flags=" -h --help" ;;
        'backctl access check') operands=(@account TEXT TEXT) flags=" --explain --fields=,ok|ident|user_id|permission|reason|granted_by|role|role_permissions|is_active|expires_at$shared" ;;
        'backctl token') words='issue verify inspect refresh revoke list gc' flags=" -h --help" ;;
        'backctl token issue') operands=(@account TEXT) flags=" --ttl=TEXT --audience=TEXT --scope=TEXT --pair -n --dry-run -y --yes --fields=,access_token|token_type|expires_in|refresh_token|expires_at|refresh_expires_at|session_id|jti|user_id|audience|role|scope|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl token verify') flags=" --audience=TEXT --offline --batch --token-stdin --token-file=FILE --token-fd=TEXT --token-env=TEXT --fields=,ok|reason|problem|hint|iss|aud|sub|client_id|iat|nbf|exp|jti|sid|role|scope|issued_at|expires_at|revocation|line$shared" ;;
        'backctl token inspect') flags=" --token-stdin --token-file=FILE --token-fd=TEXT --token-env=TEXT --fields=,verified|kind|header|claims$shared" ;;
        'backctl token refresh') flags=" --token-stdin --token-file=FILE --token-fd=TEXT --token-env=TEXT -n --dry-run -y --yes --fields=,access_token|token_type|expires_in|refresh_token|expires_at|refresh_expires_at|session_id|jti|user_id|audience|role|scope|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl token revoke') flags=" --jti=TEXT --session=TEXT --user=@account --all --token-stdin --token-file=FILE --token-fd=TEXT --token-env=TEXT -n --dry-run -y --yes --fields=,revoked|id|user_id|revoked_sessions|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl token list') operands=(@account TEXT) flags=" --limit=TEXT --cursor=TEXT --all --fields=,id|user_id|state|refreshable|client_id|issuer|audience|scope|created_at|issued_at|expires_at|latest_expires_at|revoked_at|revoked_because|last_seen_at$shared" ;;
        'backctl token gc') flags=" --batch-size=TEXT --older-than=TEXT -n --dry-run -y --yes --fields=,sessions|refresh_tokens|revocations|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key') words='list show add promote retire destroy replace-lost rotate due jwks wrap import export' flags=" -h --help" ;;
        'backctl key list') flags=" --purpose=sign|encrypt|audit|index --fields=,id|purpose|state|kty|alg|use|created_at|promoted_at|expires_at$shared" ;;
        'backctl key show') operands=(@key TEXT) flags=" --fields=,id|purpose|state|kty|alg|use|created_at|promoted_at|expires_at$shared" ;;
        'backctl key add') flags=" --purpose=sign|encrypt|audit|index --alg=EdDSA|ES256|RS256|HS256 --kid=TEXT -n --dry-run -y --yes --fields=,id|purpose|state|kty|alg|use|created_at|promoted_at|expires_at|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key promote') operands=(@key TEXT) flags=" --overlap=TEXT -n --dry-run -y --yes --fields=,id|purpose|state|kty|alg|use|created_at|promoted_at|expires_at|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key retire') operands=(@key TEXT) flags=" --overlap=TEXT -n --dry-run -y --yes --fields=,id|purpose|state|kty|alg|use|created_at|promoted_at|expires_at|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key destroy') operands=(@key TEXT) flags=" -n --dry-run -y --yes --confirm=TEXT --fields=,id|purpose|destroyed_at|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key replace-lost') flags=" -n --dry-run -y --yes --confirm=TEXT --fields=,file|installation_id|replaced|unverified|lost_key_ids|mfa_disabled|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key rotate') flags=" --purpose=sign|encrypt|audit|index --if-older-than=TEXT --overlap=TEXT -n --dry-run -y --yes --fields=,added_key_ids|promoted_key_ids|retired_key_ids|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key due') flags=" --purpose=sign|encrypt|audit|index --if-older-than=TEXT --overlap=TEXT --fields=,ok|purpose|key_id|primary_since|step$shared" ;;
        'backctl key jwks') flags=" --format=jwks|envoy|istio --fields=TEXT$shared" ;;
        'backctl key wrap') flags=" --none --passphrase-stdin --passphrase-file=FILE --passphrase-fd=TEXT --passphrase-env=TEXT -n --dry-run -y --yes --fields=,wrapped|keys|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key import') flags=" --purpose=sign|encrypt|audit|index --alg=EdDSA|ES256|RS256|HS256 --kid=TEXT --key-stdin --key-file=FILE --key-fd=TEXT --key-env=TEXT -n --dry-run -y --yes --fields=,id|purpose|state|alg|original_id|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl key export') operands=(@key TEXT) flags=" --private --form=jwk|pem --secret-file=FILE -n --dry-run -y --yes --fields=,id|form|private|document|changed|dry_run|secret_file --actor=TEXT --reason=TEXT$shared" ;;
        'backctl encrypt') flags=" --context=TEXT --context-template=TEXT --lines --jsonl=TEXT --csv=TEXT --file=FILE --out=FILE --overwrite --all-or-nothing --trim-newline --value-stdin --value-file=FILE --value-fd=TEXT --value-env=TEXT --fields=,value|key_id|changed|file|size_bytes|records|values|changed_values|failed_records$shared" ;;
        'backctl decrypt') flags=" --context=TEXT --context-template=TEXT --lines --jsonl=TEXT --csv=TEXT --file=FILE --out=FILE --overwrite --all-or-nothing --stream --value-stdin --value-file=FILE --value-fd=TEXT --value-env=TEXT --fields=,value|base64|file|size_bytes|records|values|changed_values|failed_records$shared" ;;
        'backctl reencrypt') flags=" --context=TEXT --context-template=TEXT --lines --jsonl=TEXT --csv=TEXT --file=FILE --out=FILE --overwrite --all-or-nothing --value-stdin --value-file=FILE --value-fd=TEXT --value-env=TEXT --fields=,value|key_id|changed|file|size_bytes|records|values|changed_values|failed_records$shared" ;;
        'backctl cache') words='get set delete list explain invalidate stats warm drain dead' flags=" -h --help" ;;
        'backctl cache get') operands=(TEXT TEXT) flags=" --raw --fields=,key|value|format$shared" ;;
        'backctl cache set') operands=(TEXT TEXT TEXT) flags=" --from-file=FILE --raw --base64 --ttl=TEXT --tag=TEXT -n --dry-run -y --yes --fields=,key|ttl|size_bytes|tags|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl cache delete') operands=(TEXT TEXT) flags=" --if-exists -n --dry-run -y --yes --fields=,key|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl cache list') operands=(TEXT TEXT) flags=" --fields=,key|state|age|ttl|size_bytes|tags|negative$shared" ;;
        'backctl cache explain') operands=(TEXT TEXT) flags=" --fields=,key|level|state|why|age|ttl|stored_at|renews_at|stale_at|expires_at|size_bytes|format|negative|signed|tags|epoch|current_epoch|writer|renewed_by$shared" ;;
        'backctl cache invalidate') operands=(TEXT TEXT) flags=" --tag=TEXT --all -n --dry-run -y --yes --fields=,pattern|tags|all|entries|size_bytes|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl cache stats') flags=" --fields=,level|entries|size_bytes|hit_ratio|memory_hits|store_hits|loads|renewals|renewal_failures|stale_served|bypasses|failures|refused|queued|queue_oldest|queue_lag|dead|writers$shared" ;;
        'backctl cache warm') words='users' flags=" -h --help" ;;
        'backctl cache warm users') flags=" --role=user|moderator|admin|@role --status=active|closed|expired|locked --active --inactive --locked --created-after=TEXT --created-before=TEXT --expires-before=TEXT --last-login-before=TEXT --mfa=off|pending|on --must-change-password --no-password --email-domain=TEXT --search=TEXT -n --dry-run -y --yes --fields=,accounts|stored|skipped|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl cache drain') flags=" --once --follow --batch-size=TEXT --register=TEXT --set-aside-unknown -n --dry-run -y --yes --fields=,written|superseded|retried|dead|set_aside|waiting|unknown_writers|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl cache dead') words='list requeue drop' flags=" -h --help" ;;
        'backctl cache dead list') flags=" --fields=,id|writer|key|size_bytes|queued_at|failed_at|attempts|error$shared" ;;
        'backctl cache dead requeue') operands=(TEXT) flags=" --all -n --dry-run -y --yes --fields=,updates|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl cache dead drop') operands=(TEXT) flags=" --all -n --dry-run -y --yes --fields=,updates|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl ratelimit') words='check run peek list reset simulate policy' flags=" -h --help" ;;
        'backctl ratelimit check') operands=(@policy TEXT TEXT) flags=" --rate=TEXT --burst=TEXT --algorithm=sliding-window|sliding-counter|gcra --cost=TEXT --wait=TEXT --also=TEXT --from-file=FILE --filter --fields=,ok|policy|ident|limit|remaining|retry_after|reset_after|degraded|window|line|error$shared" ;;
        'backctl ratelimit run') operands=(@policy TEXT TEXT) flags=" --rate=TEXT --burst=TEXT --algorithm=sliding-window|sliding-counter|gcra --cost=TEXT --wait=TEXT --limited-exit=TEXT --fields=TEXT$shared" ;;
        'backctl ratelimit peek') operands=(@policy TEXT TEXT) flags=" --rate=TEXT --burst=TEXT --algorithm=sliding-window|sliding-counter|gcra --cost=TEXT --fields=,ok|policy|ident|limit|remaining|retry_after|reset_after|degraded|window$shared" ;;
        'backctl ratelimit list') operands=(@policy) flags=" --limited --fields=,ok|policy|ident|limit|remaining|retry_after|reset_after|degraded|window$shared" ;;
        'backctl ratelimit reset') operands=(@policy TEXT TEXT) flags=" --rate=TEXT --burst=TEXT --algorithm=sliding-window|sliding-counter|gcra -n --dry-run -y --yes --fields=,policy|ident|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl ratelimit simulate') operands=(@policy TEXT) flags=" --log=FILE --rate=TEXT --burst=TEXT --algorithm=sliding-window|sliding-counter|gcra --time-field=TEXT --ident-field=TEXT --fields=,ident|requests|admitted|refused|worst_window|longest_wait$shared" ;;
        'backctl ratelimit policy') words='list show' flags=" -h --help" ;;
        'backctl ratelimit policy list') flags=" --fields=,name|algorithm|limit|window|burst|on_error|worst_burst|bytes_per_ident|summary$shared" ;;
        'backctl ratelimit policy show') operands=(@policy TEXT) flags=" --fields=,name|algorithm|limit|window|burst|on_error|worst_burst|bytes_per_ident|summary$shared" ;;
        'backctl audit') words='list show verify' flags=" -h --help" ;;
        'backctl audit list') flags=" --by=TEXT --subject=@account --type=InstallationCreated|SchemaUpgraded|DatabaseRestored|UserCreated|UserImported|UserSeeded|UserEmailChanged|UserUsernameChanged|UserRoleChanged|UserExpiryChanged|UserActivated|UserDeactivated|UserPasswordChanged|UserPasswordChangeRequired|UserPasswordRehashed|LoginSucceeded|LoginFailed|LoginChallenged|UserLocked|UserLockEnded|MfaEnrolled|MfaConfirmed|MfaDisabled|RecoveryCodesRenewed|RecoveryCodeUsed|UserDeleted|KeyAdded|KeyImported|KeyPromoted|KeyRetired|KeyDestroyed|KeyringRewrapped|KeyringReplaced|KeyExported|AccountsExported|RateLimitReset|SessionOpened|SessionRefreshed|SessionRevoked|SessionsRevoked|RefreshTokenReused|AccessTokenRevoked|IssuerTokensRevoked --outcome=success|failure --reason-contains=TEXT --since=TEXT --until=TEXT --trace-id=TEXT --sort=seq|-seq --limit=TEXT --cursor=TEXT --all --fields=,seq|id|occurred_at|type|subject|subject_name|actor|os_user|host|reason|trace_id|data$shared" ;;
        'backctl audit show') operands=(TEXT TEXT) flags=" --fields=,seq|id|occurred_at|type|subject|subject_name|actor|os_user|host|reason|trace_id|data$shared" ;;
        'backctl audit verify') flags=" --fields=,ok|events|erased|unverified|broken_seq|problem$shared" ;;
        'backctl config') words='show path get set unset validate' flags=" -h --help" ;;
        'backctl config show') flags=" --origin --fields=,key|value|origin$shared" ;;
        'backctl config path') flags=" --fields=,file|exists$shared" ;;
        'backctl config get') operands=('protected|database.url|database.timeout|database.connect_timeout|database.statement_timeout|database.lock_timeout|redis.url|redis.timeout|redis.namespace|keyring.path|keyring.allow_group_read|keyring.document|keyring.passphrase|accounts.allow_special_domains|authentication.source_policy|passwords.min_length|passwords.bcrypt_cost|tokens.issuer|tokens.audience|tokens.access_ttl|tokens.refresh_ttl|tokens.session_ttl|tokens.leeway|tokens.grace|tokens.revocation_max_age|cache.ttl|cache.negative_ttl|cache.stale_if_error|cache.refresh_after|cache.lock_timeout|cache.max_staleness|cache.memory_entries|cache.queue_limit|cache.queue_attempts|sanitize.tags|sanitize.attributes|sanitize.url_schemes|sanitize.max_bytes|sanitize.max_depth' TEXT) flags=" --fields=,key|value|origin$shared" ;;
        'backctl config set') operands=('protected|database.url|database.timeout|database.connect_timeout|database.statement_timeout|database.lock_timeout|redis.url|redis.timeout|redis.namespace|keyring.path|keyring.allow_group_read|keyring.document|keyring.passphrase|accounts.allow_special_domains|authentication.source_policy|passwords.min_length|passwords.bcrypt_cost|tokens.issuer|tokens.audience|tokens.access_ttl|tokens.refresh_ttl|tokens.session_ttl|tokens.leeway|tokens.grace|tokens.revocation_max_age|cache.ttl|cache.negative_ttl|cache.stale_if_error|cache.refresh_after|cache.lock_timeout|cache.max_staleness|cache.memory_entries|cache.queue_limit|cache.queue_attempts|sanitize.tags|sanitize.attributes|sanitize.url_schemes|sanitize.max_bytes|sanitize.max_depth' TEXT TEXT) flags=" --value-stdin --value-file=FILE --value-fd=TEXT --value-env=TEXT -n --dry-run -y --yes --fields=,key|value|file|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl config unset') operands=('protected|database.url|database.timeout|database.connect_timeout|database.statement_timeout|database.lock_timeout|redis.url|redis.timeout|redis.namespace|keyring.path|keyring.allow_group_read|keyring.document|keyring.passphrase|accounts.allow_special_domains|authentication.source_policy|passwords.min_length|passwords.bcrypt_cost|tokens.issuer|tokens.audience|tokens.access_ttl|tokens.refresh_ttl|tokens.session_ttl|tokens.leeway|tokens.grace|tokens.revocation_max_age|cache.ttl|cache.negative_ttl|cache.stale_if_error|cache.refresh_after|cache.lock_timeout|cache.max_staleness|cache.memory_entries|cache.queue_limit|cache.queue_attempts|sanitize.tags|sanitize.attributes|sanitize.url_schemes|sanitize.max_bytes|sanitize.max_depth' TEXT) flags=" -n --dry-run -y --yes --fields=,key|file|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl config validate') operands=(FILE TEXT) flags=" --fields=,message|hint$shared" ;;
        'backctl profile') words='list show current use' flags=" -h --help" ;;
        'backctl profile list') flags=" --fields=,name|in_force|protected|database|origin$shared" ;;
        'backctl profile show') operands=(@profile TEXT) flags=" --fields=,key|value|origin$shared" ;;
        'backctl profile current') flags=" --fields=,profile|origin|protected$shared" ;;
        'backctl profile use') operands=(@profile TEXT) flags=" --none -n --dry-run -y --yes --fields=,profile|file|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl db') words='upgrade status check backup restore restored' flags=" -h --help" ;;
        'backctl db upgrade') flags=" -n --dry-run -y --yes --fields=,database|previous_revision|revision|copy_file|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl db status') flags=" --fields=,database|state|revision|expected_revision|accounts|events|size_bytes$shared" ;;
        'backctl db check') flags=" --fields=,check|status|finding|hint|failure$shared" ;;
        'backctl db backup') operands=(FILE TEXT) flags=" --fields=,file|size_bytes|sha256$shared" ;;
        'backctl db restore') operands=(FILE TEXT) flags=" -n --dry-run -y --yes --fields=,database|file|revision|previous_revision|last_event_at|revoked_sessions|backup_file|lost_accounts|lost_usernames|accounts|commands|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl db restored') flags=" -n --dry-run -y --yes --fields=,installation_id|revoked_sessions|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl plan') operands=(FILE) flags=" --prune --out=FILE --overwrite --detailed-exitcode --fields=,action|id|email|username|seed|changes$shared" ;;
        'backctl apply') operands=(FILE) flags=" --prune --all-or-nothing --max-changes=TEXT --secret-file=FILE --wait-server=TEXT --schema -n --dry-run -y --yes --confirm=TEXT --fields=,names|created|updated|opened|closed|deleted|unchanged|changed|dry_run|secret_file --actor=TEXT --reason=TEXT$shared" ;;
        'backctl sanitize') flags=" --format=text|json|jsonl --explain --fields=,value|changed|pointer|part|kind|count|line|error$shared" ;;
        'backctl init') flags=" --calibrate --wait-server=TEXT -n --dry-run -y --yes --fields=,database|keyring|installation_id|revision|bcrypt_cost|changed|dry_run --actor=TEXT --reason=TEXT$shared" ;;
        'backctl doctor') flags=" --wait-server=TEXT --fields=,check|status|finding|hint|failure$shared" ;;
        'backctl completion') words='bash zsh fish' flags=" -h --help" ;;
        'backctl completion bash') flags=" --fields=,shell|script$shared" ;;
        'backctl completion zsh') flags=" --fields=,shell|script$shared" ;;
        'backctl completion fish') flags=" --fields=,shell|script$shared" ;;
        'backctl version') flags=" --fields=,version|commit|python|sqlite|schema_revision|libraries$shared" ;;
        'backctl help') words='environment exit-codes formatting identities options time user role access token key encrypt decrypt reencrypt cache ratelimit audit config profile db plan apply sanitize init doctor completion version' flags=" -h --help" ;;
        'backctl help environment') flags=" --fields=,variable|setting|option|meaning$shared" ;;
        'backctl help exit-codes') flags=" --fields=,code|meaning$shared" ;;
        'backctl help formatting') flags=" --fields=,topic|text$shared" ;;
        'backctl help identities') flags=" --fields=,topic|text$shared" ;;
        'backctl help options') flags=" --fields=,option|value|variable|commands|meaning$shared" ;;
        'backctl help time') flags=" --fields=,topic|text$shared" ;;
        'backctl help '*) _backctl_at "backctl ${1#backctl help }" && operands=(TEXT) flags='' ;;
    esac
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

"""The first words of commands, known without importing their modules."""

from typing import NamedTuple


class Entry(NamedTuple):
    """A word: the module that declares it as `app`, its help, and whether it is a command by itself."""

    module: str
    help: str
    verb: bool = False


_HERE = "backctl.presentation.commands."

NOUNS: dict[str, Entry] = {
    "user": Entry(_HERE + "user", "Create, list and manage accounts."),
    "role": Entry(_HERE + "role", "Show roles and their permissions, and assign them."),
    "access": Entry(_HERE + "access", "Check the permissions of an account."),
    "token": Entry(_HERE + "token", "Issue, verify, refresh and revoke tokens."),
    "key": Entry(_HERE + "key", "List, rotate, publish, import and export keys."),
    "encrypt": Entry(_HERE + "encrypt", "Encrypt a value, chosen fields of records, or a file.", verb=True),
    "decrypt": Entry(_HERE + "decrypt", "Decrypt a value, chosen fields of records, or a file.", verb=True),
    "reencrypt": Entry(_HERE + "reencrypt", "Re-encrypt a value, chosen fields of records, or a file.", verb=True),
    "cache": Entry(_HERE + "cache", "Inspect, change and invalidate cached values."),
    "ratelimit": Entry(_HERE + "ratelimit", "Check, inspect and reset rate limits."),
    "audit": Entry(_HERE + "audit", "Read and verify the event log."),
    "config": Entry(_HERE + "config", "Show, validate and change the configuration."),
    "profile": Entry(_HERE + "profile", "List profiles and select one."),
    "db": Entry(_HERE + "db", "Inspect, upgrade, back up and restore the database."),
    "plan": Entry(_HERE + "plan", "Show what applying seed files would change.", verb=True),
    "apply": Entry(_HERE + "apply", "Create and change accounts so that they match seed files.", verb=True),
    "sanitize": Entry(_HERE + "sanitize", "Remove HTML and control characters from text or JSON.", verb=True),
    "init": Entry(_HERE + "init", "Create the keyring and the database, if they do not exist.", verb=True),
    "doctor": Entry(_HERE + "doctor", "Check the configuration, the database, the keys and the files.", verb=True),
    "completion": Entry(_HERE + "completion", "Print the completion script for a shell."),
    "version": Entry(_HERE + "version", "Show the versions of backctl, its libraries and its schema.", verb=True),
    "help": Entry(_HERE + "help", "Show the help of a command, or of a topic such as options."),
}
"""In the order of the help. To add a noun, add a line here and a module to this package."""

WITHIN: dict[str, dict[str, Entry]] = {
    "cache": {
        "warm": Entry(_HERE + "cache_warm", "Store values in the cache before services need them."),
        "drain": Entry(_HERE + "cache_drain", "Write queued updates to the database.", verb=True),
        "dead": Entry(_HERE + "cache_dead", "List, requeue and drop updates that failed too often."),
    },
    "ratelimit": {"policy": Entry(_HERE + "ratelimit_policy", "Show the configured rate limit policies.")},
    "key": {
        "export": Entry(_HERE + "key_export", "Print the public half of a key, or the private key.", verb=True),
    },
    "user": {
        "set-password": Entry(_HERE + "user_set_password", "Set the password of an account.", verb=True),
        "check-password": Entry(
            _HERE + "user_check_password", "Check the password of an account: exit code 0 or 6.", verb=True
        ),
        "delete": Entry(_HERE + "user_delete", "Permanently delete accounts; their events stay.", verb=True),
        "export": Entry(_HERE + "user_export", "Export accounts as JSON lines, JSON or CSV.", verb=True),
        "import": Entry(_HERE + "user_import", "Import accounts from JSON, CSV, Django or Ory Kratos.", verb=True),
        "mfa": Entry(_HERE + "user_mfa", "Manage the second factors of accounts."),
    },
}
"""The nouns within a noun, and its commands with modules of their own. Imported when their own name is typed."""

"""Which words stand first on the command line, known without importing what they lead to."""

from typing import NamedTuple


class Entry(NamedTuple):
    """A first word: the module whose `app` it opens, its line in the help, and whether it is a verb by itself."""

    module: str
    help: str
    verb: bool = False


_HERE = "backctl.presentation.commands."

NOUNS: dict[str, Entry] = {
    "user": Entry(_HERE + "user", "Create, list and administer accounts."),
    "role": Entry(_HERE + "role", "Show the roles and their permissions, and assign them."),
    "access": Entry(_HERE + "access", "Ask what an account may do."),
    "token": Entry(_HERE + "token", "Issue, verify, refresh and revoke the tokens of accounts."),
    "key": Entry(_HERE + "key", "Rotate, publish and move the keys that sign and encrypt."),
    "encrypt": Entry(_HERE + "encrypt", "Encrypt a value, chosen fields of records, or a file.", verb=True),
    "decrypt": Entry(_HERE + "decrypt", "Decrypt a value, chosen fields of records, or a file.", verb=True),
    "reencrypt": Entry(_HERE + "reencrypt", "Move what is encrypted to the primary key.", verb=True),
    "audit": Entry(_HERE + "audit", "Read and verify the log of everything that happened."),
    "config": Entry(_HERE + "config", "Show, check and change the configuration."),
    "profile": Entry(_HERE + "profile", "See the configured databases and choose among them."),
    "db": Entry(_HERE + "db", "Look after the database: its revision, its health, its copies."),
    "sanitize": Entry(_HERE + "sanitize", "Make text or JSON that others wrote harmless.", verb=True),
    "init": Entry(_HERE + "init", "Create the keyring and the database, or say that they exist.", verb=True),
    "doctor": Entry(_HERE + "doctor", "Check that everything backctl relies on is in order.", verb=True),
    "completion": Entry(_HERE + "completion", "Print the script that makes a shell complete what is typed."),
    "help": Entry(_HERE + "help", "Explain what every command shares, such as exit codes."),
}
"""In the order of the help. Adding a noun means adding a line here and a module beside this one."""

WITHIN: dict[str, dict[str, Entry]] = {
    "user": {"mfa": Entry(_HERE + "user_mfa", "Give an account a second factor, or take it away.")},
}
"""The nouns below a noun, imported when their own name is typed."""

"""Recognizes secrets in arguments, which the history of the shell and the list of processes show.

The errors never repeat the secret.
"""

from collections.abc import Collection, Sequence

from backctl.domain.errors import UsageError
from backctl.domain.quoting import quoted
from backctl.presentation.parameters import SOURCES

_WORDS = {
    "password": "password",
    "passwd": "password",
    "pass": "password",
    "pwd": "password",
    "pw": "password",
    "passphrase": "passphrase",
    "secret": "secret",
    "token": "token",
    "access-token": "token",
    "refresh-token": "token",
    "api-key": "key",
    "private-key": "key",
    "mfa-code": "code",
    "otp": "code",
    "totp": "code",
}
"""Names of options that mean a secret in every command, with the kind of the secret."""


_REMEDIES = {
    "token": "revoke the token",
    "code": "wait for the next code",
    "value": "change the value if it is secret",
}
"""What to do after a secret was exposed, by its kind; for other kinds, change it."""


def exposed_option(
    option: str,
    secrets: Sequence[str],
    following: Sequence[str],
    options: Collection[str] = (),
    *,
    takes_plaintext: bool = False,
) -> UsageError | None:
    """Return the error for an option that would take a secret, but does not exist or takes no value.

    Returns None for any other option. `secrets` are the secrets of the command, `following` are the arguments from the
    option on, and `options` are the options that exist: an existing option after this one is not its value.
    `takes_plaintext`: the command encrypts or decrypts, so `--key` means a secret key and not the name of something.
    """
    name = option.lstrip("-").lower().removesuffix("-stdin")
    kind = _WORDS.get(name, name)
    meant = next((secret for secret in secrets if kind in (secret, secret.rpartition("-")[2])), None)
    if meant is None and name not in _WORDS and not (name == "key" and takes_plaintext):
        return None
    problem = f"option {quoted(option)} takes no value" if option in options else f"there is no option {quoted(option)}"
    use = f"use {_ways(meant)}" if meant else "no command takes a secret as an argument"
    if "=" not in following[0] and (len(following) == 1 or following[1].partition("=")[0] in options):
        return UsageError(problem, hint=use)
    label = kind.replace("-", " ")
    return UsageError(
        f"{problem}, and the {label} is now in the history of the shell and was visible in the list of processes",
        hint=f"{_remedy(label)}{', and' if meant else ';'} {use}",
    )


def exposed_argument(secrets: Sequence[str]) -> UsageError:
    """Return the error for an unexpected argument of a command that reads secrets: it may be one."""
    kind = secrets[0].rpartition("-")[2]
    return UsageError(
        "unexpected argument, which is not shown because it may be a secret",
        hint=f"do not pass a {kind} as an argument: use {_ways(secrets[0])}; if you passed one, {_remedy(kind)}",
    )


def refuse_single_dash(word: str, secrets: Sequence[str], args: Sequence[str]) -> None:
    """Raise UsageError if `word` of `args` is the name of a secret after one dash, such as `-password`.

    The parser would read it as `-p assword`, and its error would contain the next argument, the secret.
    """
    option = word.partition("=")[0]
    if option[1:].lower() in _WORDS:
        error = exposed_option(option, secrets, args[list(args).index(word) :])
        if error is not None:
            raise error


def _remedy(label: str) -> str:
    return _REMEDIES.get(label, f"change the {label}")


def _ways(secret: str) -> str:
    flags = [f"--{secret}-{source}" for source in SOURCES]
    return f"{', '.join(flags[:-1])} or {flags[-1]}"

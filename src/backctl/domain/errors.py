"""Everything that can go wrong, as one tree.

A class says which *kind* of failure it is; presentation maps kinds to exit codes in one table. `code` is the stable
string a script may match on: codes are append-only. Messages are lower case without a full stop, quote the offending
value through `quoted`, and never contain a secret. The next step belongs in `hint`.
"""

import unicodedata
from errno import EDQUOT, EFBIG, EMFILE, ENFILE, ENOMEM, ENOSPC
from typing import ClassVar

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escaped(text: str) -> str:
    """`text` with control, format, bidirectional and unpaired surrogate characters written as escapes.

    Safe to show on a terminal: no character of the answer moves the cursor or reorders its neighbours.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character in _BIDI_CONTROLS or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character
        for character in text
    )


def masked(text: str) -> str:
    """`text` with all but the first letters of every token in it taken out: one given in a wrong place is not told."""
    if "eyJ" not in text and "bkr_" not in text:
        return text
    import re

    return re.sub(r"(bkr_|eyJ)[\w.-]{8,}", r"\1…", text)


def quoted(text: str, *, limit: int = 80) -> str:
    """`text` in single quotes, escaped, and cut after `limit` code points: safe in a message and on a terminal.

    It shows no token, whatever it was taken for.
    """
    text = masked(text)
    shown = escaped(text[:limit])
    return f"'{shown}…'" if len(text) > limit else f"'{shown}'"


class BackctlError(Exception):
    """The root of the tree. Raise a leaf, never this."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


# The kinds. Each has one exit code.


class InvalidInput(BackctlError):
    """The caller's words are wrong; nothing was looked up or changed."""

    code = "input.invalid"


class NotFound(BackctlError):
    """The thing named does not exist."""

    code = "not_found"


class Conflict(BackctlError):
    """It exists already, or somebody else changed it meanwhile."""

    code = "conflict"


class Unavailable(BackctlError):
    """A backend cannot answer at the moment; the same call may succeed later."""

    code = "backend.unavailable"
    retryable = True


class AnswerIsNo(BackctlError):
    """The question was understood and the answer is no."""

    code = "answer.no"


class PartialFailure(BackctlError):
    """Some items of a batch failed; the report names them."""

    code = "batch.partial"


class Refused(BackctlError):
    """A guard stands in the way: no confirmation, over a bound, the last administrator."""

    code = "refused"


class Unusable(BackctlError):
    """Configuration, schema, storage or key material cannot be used; nothing was touched."""

    code = "unusable"


# Input.


class UsageError(InvalidInput):
    code = "usage"


class InvalidEmail(InvalidInput):
    code = "user.email_invalid"


class InvalidUsername(InvalidInput):
    code = "user.username_invalid"


class InvalidIdentity(InvalidInput):
    code = "identity.invalid"


class InvalidPassword(InvalidInput):
    code = "password.invalid"


class WeakPassword(InvalidInput):
    """Reports every broken rule at once; `violations` are short phrases without the password."""

    code = "password.weak"

    def __init__(self, violations: tuple[str, ...]) -> None:
        super().__init__(
            "the password is too weak: " + "; ".join(violations),
            hint="choose a longer, less guessable password, or use --generate-password",
        )
        self.violations = violations


class InvalidPasswordHash(InvalidInput):
    code = "password.hash_invalid"


class InvalidKey(InvalidInput):
    code = "key.invalid"


class InvalidJson(InvalidInput):
    code = "json.invalid"


class InputTooLarge(InvalidInput):
    code = "input.too_large"


class InputTooDeep(InvalidInput):
    code = "input.too_deep"


class InvalidPermission(InvalidInput):
    code = "permission.invalid"


class InvalidCursor(InvalidInput):
    code = "cursor.invalid"


class UnknownRole(InvalidInput):
    code = "role.unknown"


class InvalidDuration(InvalidInput):
    code = "duration.invalid"


class UnknownProfile(InvalidInput):
    code = "profile.unknown"


class UnknownSetting(InvalidInput):
    code = "config.key_unknown"


class InvalidSetting(InvalidInput):
    code = "config.value_invalid"


# Accounts.


class UserNotFound(NotFound):
    code = "user.not_found"

    def __init__(self, ident: str) -> None:
        super().__init__(
            f"there is no account {quoted(ident)}",
            hint="run 'backctl user list --search TEXT' to search names and addresses",
        )


class RoleNotFound(NotFound):
    code = "role.not_found"


class EmailTaken(Conflict):
    code = "user.email_taken"


class UsernameTaken(Conflict):
    code = "user.username_taken"


class UserChangedMeanwhile(Conflict):
    code = "user.changed_meanwhile"


class MfaAlreadyOn(Conflict):
    code = "mfa.already_on"


class MfaNotPending(Conflict):
    """There is nothing to confirm."""

    code = "mfa.not_pending"


class MfaNotOn(Conflict):
    code = "mfa.not_on"


class FileTaken(Conflict):
    code = "file.exists"


class LastAdministrator(Refused):
    code = "user.last_administrator"


class AccountUnusable(AnswerIsNo):
    """The account is inactive or expired, or its owner has to choose another password before anything else."""

    code = "user.unusable"


class MfaCodeWrong(AnswerIsNo):
    """Whatever is wrong with a code. No message repeats it."""

    code = "mfa.code_wrong"


# Tokens. No message repeats any part of a token.


class TokenInvalid(AnswerIsNo):
    """It is no access token of ours: its form, its header, its signature or what it says."""

    code = "token.invalid"


class TokenExpired(AnswerIsNo):
    """It was one of ours, and its time is over."""

    code = "token.expired"


class TokenNotYetValid(AnswerIsNo):
    """It is one of ours, from a clock that is ahead of this one."""

    code = "token.not_yet_valid"


class TokenUnknown(AnswerIsNo):
    """A well-formed refresh token that was never issued here, or is long past."""

    code = "token.unknown"


class TokenRevoked(AnswerIsNo):
    """It, its session or its account was ended before its time."""

    code = "token.revoked"


class TokenReused(AnswerIsNo):
    """A refresh token was used before; its whole session is revoked."""

    code = "token.reused"


class TokenNotFound(NotFound):
    code = "token.not_found"


class SessionNotFound(NotFound):
    code = "session.not_found"


# Encryption.


class DecryptFailed(AnswerIsNo):
    """One answer to whatever is wrong, so that nobody learns from it how near a forgery came."""

    code = "decrypt.failed"

    def __init__(self) -> None:
        super().__init__(
            "decryption failed",
            hint="check the context and the keyring, and that the data is intact; decrypt whole files with --file",
        )


# Storage and keys.


class KeyNotFound(NotFound):
    code = "key.not_found"


class KeyTaken(Conflict):
    code = "key.exists"


class KeyInUse(Refused):
    """Something needs the key as it is."""

    code = "key.in_use"


class KeyUnfit(Refused):
    """The key is in a state from which there is no way to the one asked for."""

    code = "key.unfit"


class DatabaseUnavailable(Unavailable):
    code = "database.unavailable"


class TransactionAborted(DatabaseUnavailable):
    """The database gave a whole transaction up; nothing of it was made, and it may be tried again from its start."""

    code = "database.transaction_aborted"


class ConnectionLost(TransactionAborted):
    """The connection broke before the transaction was made."""

    code = "database.connection_lost"


class OutcomeUnknown(DatabaseUnavailable):
    """The connection broke while the change was made, and nobody can tell whether it was: look before repeating."""

    code = "database.outcome_unknown"


class DatabaseLocked(Unavailable):
    code = "database.locked"


class DatabaseFull(Unavailable):
    code = "database.full"


class DiskFull(Unavailable):
    """There is no room for a file that is not the database."""

    code = "disk.full"

    def __init__(self, file: str) -> None:
        super().__init__(
            f"no space left for {quoted(file, limit=400)}: the disk or a quota is full", hint="free some disk space"
        )

    @staticmethod
    def is_meant_by(error: OSError) -> bool:
        return error.errno in (ENOSPC, EDQUOT, EFBIG)


class MemoryExhausted(Unavailable):
    code = "resources.memory"


class ThreadsExhausted(Unavailable):
    code = "resources.threads"


class FilesExhausted(Unavailable):
    code = "resources.files"


def exhaustion_of(error: BaseException) -> Unavailable | None:
    """What this process or machine has run out of, when an error of Python's own says so; None for other errors.

    Whoever turns errors of the system into others asks here first: too many open files are not a missing permission.
    """
    number = error.errno if isinstance(error, OSError) else None
    # A module for which there is no memory fails with the words of the C library.
    words = str(error) if isinstance(error, (ImportError, SystemError)) else ""
    unloadable = "allocate memory" in words or "failed to map segment" in words
    # Python itself, where there was none for a MemoryError.
    unsaid = "without exception set" in words or "without setting an exception" in words
    if isinstance(error, MemoryError) or number == ENOMEM or unloadable or unsaid:
        return MemoryExhausted(
            "there is not enough memory", hint="free some memory, or raise the limit with 'ulimit -v'"
        )
    if number in (EMFILE, ENFILE):
        return FilesExhausted("too many files are open", hint="close some files, or raise the limit with 'ulimit -n'")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return no_more_threads()
    return None


def no_more_threads() -> ThreadsExhausted:
    return ThreadsExhausted(
        "cannot start another thread or process", hint="stop other programs, or raise the limit with 'ulimit -u'"
    )


def raise_exhaustion(error: BaseException) -> None:
    """Raises what `exhaustion_of` finds."""
    exhausted = exhaustion_of(error)
    if exhausted is not None:
        raise exhausted from error


class InstallationLocked(Unavailable):
    code = "installation.locked"


class KeyringLocked(Unavailable):
    code = "keyring.locked"


class DatabaseUnusable(Unusable):
    code = "database.unusable"


class DatabaseMissing(Unusable):
    code = "database.missing"


class SchemaOutdated(Unusable):
    code = "database.schema_older"


class SchemaTooNew(Unusable):
    code = "database.schema_newer"


class FolderUnusable(Unusable):
    code = "storage.folder_unusable"


class KeyringMissing(Unusable):
    code = "keyring.missing"


class KeyringDamaged(Unusable):
    code = "keyring.damaged"


class KeyringExposed(Unusable):
    code = "keyring.exposed"


class KeyringSealed(Unusable):
    """It is wrapped under a passphrase and does not open. Whether that is the passphrase's fault cannot be told."""

    code = "keyring.sealed"


class KeyringUnreadable(Unusable):
    code = "keyring.unreadable"


class KeyringReadOnly(Unusable):
    code = "keyring.read_only"


class KeyringMismatch(Unusable):
    code = "keyring.mismatch"


class PasswordHashUnsupported(Unusable):
    """A stored hash is of a function that this machine cannot compute: no answer, rather than a wrong one."""

    code = "password.hash_unsupported"


class MfaSecretUnusable(Unusable):
    """What is stored of a second factor cannot be read: its key is not here, or it was tampered with."""

    code = "mfa.secret_unusable"


class InvalidConfiguration(Unusable):
    code = "config.invalid"


# Guards.


class ConfirmationRequired(Refused):
    code = "confirmation.required"


class TooManyChanges(Refused):
    code = "changes.too_many"

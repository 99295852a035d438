"""All errors, as one class hierarchy.

The base class of an error is its *kind*; presentation maps kinds to exit codes in one table. `code` is the stable
string that scripts match on; codes are append-only. Messages are lower case without a full stop, quote the offending
value with `quoted`, and never contain a secret. `hint` says what to do next.

The file is long because it is the complete list of codes: a new code must differ from all others.
"""

from errno import EDQUOT, EFBIG, EMFILE, ENFILE, ENOMEM, ENOSPC
from typing import ClassVar, Self

from backctl.domain.quoting import quoted

PROGRAM = "backctl"


class Hint(str):
    """What to do about an error. The placeholder `{backctl}` in it stands for the program.

    As a string it names the program `backctl`, for programs that import the package. The command line fills in the
    program with the options that select the same installation; see `for_program`.
    """

    __slots__ = ("_template",)

    _template: str

    def __new__(cls, template: str) -> Self:
        if isinstance(template, cls):
            return template
        hint = super().__new__(cls, template.replace("{backctl}", PROGRAM))
        hint._template = template
        return hint

    def for_program(self, program: str) -> str:
        """Return the hint with `program`, a command with options, in place of the placeholder."""
        return self._template.replace("{backctl}", program)


class BackctlError(Exception):
    """The base class of all errors. Raise a subclass, never this class."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = None if hint is None else Hint(hint)


# The kinds; each has one exit code.


class InvalidInput(BackctlError):
    """The input is invalid; nothing was looked up or changed."""

    code = "input.invalid"


class NotFound(BackctlError):
    """The named object does not exist."""

    code = "not_found"


class Conflict(BackctlError):
    """The object already exists, or was changed concurrently."""

    code = "conflict"


class Unavailable(BackctlError):
    """A backend is temporarily unavailable; the same call may succeed later."""

    code = "backend.unavailable"
    retryable = True


class AnswerIsNo(BackctlError):
    """The check ran and its result is negative, such as a wrong password or an expired token."""

    code = "answer.no"


class PartialFailure(BackctlError):
    """Some items of a batch failed; the report names them."""

    code = "batch.partial"


class Refused(BackctlError):
    """A safety check prevents the operation: missing confirmation, too many changes, the last administrator."""

    code = "refused"


class Unusable(BackctlError):
    """Configuration, schema, storage or key material cannot be used; nothing was changed."""

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
    """Reports all violated rules at once; `violations` are short phrases that do not contain the password."""

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


class InvalidRateLimit(InvalidInput):
    """A rate limit policy, a cost or an identifier with impossible values."""

    code = "ratelimit.invalid"


class InvalidCacheEntry(InvalidInput):
    """A key, a tag, a TTL or a value that cannot be cached."""

    code = "cache.invalid"


class UnknownProfile(InvalidInput):
    code = "profile.unknown"


class UnknownSetting(InvalidInput):
    code = "config.key_unknown"


class InvalidSeed(InvalidInput):
    """A seed file cannot be read or declares something impossible; the message contains the file and the line."""

    code = "seed.invalid"


class InvalidSetting(InvalidInput):
    code = "config.value_invalid"


# Accounts.


class UserNotFound(NotFound):
    code = "user.not_found"

    def __init__(self, ident: str, *, hint: str | None = None) -> None:
        super().__init__(
            f"there is no account {quoted(ident)}",
            hint=hint or "run '{backctl} user list --search TEXT' to search names and addresses",
        )


class EventNotFound(NotFound):
    code = "event.not_found"


class RoleNotFound(NotFound):
    code = "role.not_found"


class PolicyNotFound(NotFound):
    code = "ratelimit.policy_not_found"


class CacheEntryNotFound(NotFound):
    code = "cache.not_found"


class DeadUpdateNotFound(NotFound):
    code = "cache.update_not_found"


class EmailTaken(Conflict):
    code = "user.email_taken"


class UsernameTaken(Conflict):
    code = "user.username_taken"


class IdTaken(Conflict):
    code = "user.id_taken"


class AccountAmbiguous(Conflict):
    """The id and the names of a record belong to different accounts."""

    code = "user.ambiguous"


class RowRepeated(Conflict):
    """An earlier row of the same import has the same id or name."""

    code = "import.repeated"


class SeedRepeated(InvalidInput):
    """Two entries of seed files mean the same account."""

    code = "seed.repeated"


class InvalidPlan(InvalidInput):
    """The text is not a saved plan of this program."""

    code = "plan.invalid"


class PlanElsewhere(Conflict):
    """A saved plan was made for another installation."""

    code = "plan.other_installation"


class PlanStale(Conflict):
    """An account of a saved plan has changed since the plan was made."""

    code = "plan.stale"


class UserChangedMeanwhile(Conflict):
    code = "user.changed_meanwhile"


class MfaAlreadyOn(Conflict):
    code = "mfa.already_on"


class MfaNotPending(Conflict):
    """The account has no unconfirmed second factor."""

    code = "mfa.not_pending"


class MfaNotOn(Conflict):
    code = "mfa.not_on"


class FileTaken(Conflict):
    code = "file.exists"


class LastAdministrator(Refused):
    code = "user.last_administrator"


class AccountUnusable(AnswerIsNo):
    """The account is inactive or expired, or its owner must change the password first."""

    code = "user.unusable"


class MfaCodeWrong(AnswerIsNo):
    """A code is wrong, for any reason. No message contains the code."""

    code = "mfa.code_wrong"


# Tokens. No message contains any part of a token.


class TokenInvalid(AnswerIsNo):
    """The token is not valid here: its format, header, signature or claims are wrong."""

    code = "token.invalid"


class TokenExpired(AnswerIsNo):
    """The token was issued here and has expired."""

    code = "token.expired"


class TokenNotYetValid(AnswerIsNo):
    """The token was issued here, by a clock that is ahead of this one."""

    code = "token.not_yet_valid"


class TokenUnknown(AnswerIsNo):
    """A well-formed refresh token that was never issued here, or was removed after it expired."""

    code = "token.unknown"


class TokenRevoked(AnswerIsNo):
    """The token or its session was revoked, or its account was deactivated, before the token expired."""

    code = "token.revoked"


class TokenReused(AnswerIsNo):
    """A refresh token was used a second time; its session is revoked."""

    code = "token.reused"


class TokenNotFound(NotFound):
    code = "token.not_found"


class SessionNotFound(NotFound):
    code = "session.not_found"


# Encryption.


class DecryptFailed(AnswerIsNo):
    """Decryption failed. The message is the same for every cause, so that it does not help a forger."""

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


class CacheReserved(Refused):
    """The namespace of the key is written only by backctl itself."""

    code = "cache.reserved"


class QueueFull(Unavailable):
    """The write-behind queue has reached its limit."""

    code = "cache.queue_full"


class KeyInUse(Refused):
    """The key is still needed."""

    code = "key.in_use"


class KeyUnfit(Refused):
    """The key cannot change from its state to the requested one."""

    code = "key.unfit"


class DatabaseUnavailable(Unavailable):
    code = "database.unavailable"


class TransactionAborted(DatabaseUnavailable):
    """The database rolled back the whole transaction. Nothing was changed; retry it from the start."""

    code = "database.transaction_aborted"


class ConnectionLost(TransactionAborted):
    """The connection broke before the transaction was committed."""

    code = "database.connection_lost"


class OutcomeUnknown(DatabaseUnavailable):
    """The connection broke during the commit. The change may or may not be stored: check before retrying."""

    code = "database.outcome_unknown"


class RedisUnavailable(Unavailable):
    code = "redis.unavailable"


class DatabaseLocked(Unavailable):
    code = "database.locked"


class DatabaseFull(Unavailable):
    code = "database.full"


class DiskFull(Unavailable):
    """There is no space for a file other than the database."""

    code = "disk.full"

    def __init__(self, file: str) -> None:
        super().__init__(
            f"no space left for {quoted(file, limit=400)}: the disk or a quota is full", hint="free some disk space"
        )

    @staticmethod
    def is_meant_by(error: OSError) -> bool:
        return error.errno in (ENOSPC, EDQUOT, EFBIG)


class ResourcesExhausted(Unavailable):
    """This process or machine has run out of something, which says nothing about the installation."""

    code = "resources.exhausted"


class MemoryExhausted(ResourcesExhausted):
    code = "resources.memory"


class ThreadsExhausted(ResourcesExhausted):
    code = "resources.threads"


class FilesExhausted(ResourcesExhausted):
    code = "resources.files"


def exhaustion_of(error: BaseException) -> ResourcesExhausted | None:
    """Return the error for a resource that this process or machine has run out of; None for other errors.

    Call this before you translate a system error: too many open files, for example, is not a missing permission.
    """
    number = error.errno if isinstance(error, OSError) else None
    # Importing a module without enough memory fails with a message of the C library.
    words = str(error) if isinstance(error, (ImportError, SystemError)) else ""
    unloadable = "allocate memory" in words or "failed to map segment" in words
    # Messages of Python when it could not even allocate a MemoryError.
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
    """Raise the error that `exhaustion_of` returns, if any."""
    exhausted = exhaustion_of(error)
    if exhausted is not None:
        raise exhausted from error


class InstallationLocked(Unavailable):
    code = "installation.locked"


class KeyringLocked(Unavailable):
    code = "keyring.locked"


class DatabaseUnusable(Unusable):
    code = "database.unusable"


class DatabaseMismatch(Unusable):
    """A copy belongs to another installation than the database that it would replace."""

    code = "database.mismatch"


class DatabaseDamaged(DatabaseUnusable):
    """A row has an impossible value, which another program has written."""

    code = "database.damaged"


class DamagedLimit(Unusable):
    """The stored state of one identifier is damaged; those of others are not affected."""

    code = "ratelimit.damaged"


class RedisUnusable(Unusable):
    code = "redis.unusable"


class InstallationMissing(Unusable):
    """There is no installation at the configured place. Only `init` and `user create` create one."""

    code = "installation.missing"


class DatabaseMissing(Unusable):
    """The database does not exist on its server, or the file of a database was removed."""

    code = "database.missing"


class SchemaOutdated(Unusable):
    code = "database.schema_older"


class SchemaTooNew(Unusable):
    code = "database.schema_newer"


class FolderUnusable(Unusable):
    code = "storage.folder_unusable"


class HomeMissing(FolderUnusable):
    """The process has no home folder: no HOME, and no entry for its user in the user database."""

    code = "storage.home_missing"


class TemporaryFolderUnusable(FolderUnusable):
    """No temporary file can be created."""

    code = "storage.temporary_folder_unusable"


class ClockUnusable(Unusable):
    code = "clock.unusable"


SET_CLOCK = "set the clock of this machine"


def clock_fault_of(error: BaseException) -> ClockUnusable | None:
    """Return the error for a clock whose time Python cannot represent, in 64 bits of nanoseconds; None for others."""
    if isinstance(error, OverflowError) and "timestamp" in str(error):
        return ClockUnusable("the system clock shows a time after 2262", hint=SET_CLOCK)
    return None


class KeyringMissing(Unusable):
    code = "keyring.missing"


REPLACE_KEYRING = "restore it from a backup; if there is none, run '{backctl} key replace-lost'"
"""The hint for a keyring file that does not exist."""


class KeyringDamaged(Unusable):
    code = "keyring.damaged"


class KeyringExposed(Unusable):
    code = "keyring.exposed"


class KeyringSealed(Unusable):
    """The keyring is encrypted with a passphrase and cannot be opened: the passphrase is wrong or the file damaged."""

    code = "keyring.sealed"


class KeyringUnreadable(Unusable):
    code = "keyring.unreadable"


class KeyringReadOnly(Unusable):
    code = "keyring.read_only"


class KeyringMismatch(Unusable):
    code = "keyring.mismatch"


class PasswordHashUnsupported(Unusable):
    """A stored hash uses a function that this machine cannot compute, so the password cannot be checked."""

    code = "password.hash_unsupported"


class MfaSecretUnusable(Unusable):
    """The stored secret of a second factor cannot be read: its key is missing, or the secret was tampered with."""

    code = "mfa.secret_unusable"


class InvalidConfiguration(Unusable):
    code = "config.invalid"


# Guards.


class ConfirmationRequired(Refused):
    code = "confirmation.required"


class TooManyChanges(Refused):
    code = "changes.too_many"

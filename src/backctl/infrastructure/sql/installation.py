"""What every installation is: a keyring, and the database written with it, wherever each of them lies."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from backctl.application.ports import AddressParser, Clock, IdSource, KeyringChange, Reader, UnitOfWork
from backctl.application.views import Change
from backctl.domain.errors import DatabaseUnusable, KeyringMismatch, KeyringReadOnly, quoted
from backctl.domain.values import Actor, checked_reason
from backctl.infrastructure.files import durable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backctl.application.database_views import InstallationView
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.keyring.file import KeyFile
    from backctl.infrastructure.keyring.given import GivenKeyring
    from backctl.infrastructure.keyring.text import Passphrase
    from backctl.infrastructure.sql.migrator import UpgradeRecord
    from backctl.infrastructure.sql.schema import StoredInstallation


class KeyedInstallation(ABC):
    """Opened when it is first needed. Close it when done; asked again, it opens again.

    `label` is how the database is shown. `notice` is told in one line what was created or migrated. `trace_id` is
    recorded with every event.
    """

    def __init__(
        self,
        *,
        label: str,
        keyring: Path,
        given: "GivenKeyring | None",
        passphrase: "Passphrase | None",
        allow_group_read: bool,
        notice: Callable[[str], None],
        clock: Clock,
        new_id: IdSource,
        addresses: AddressParser,
        bcrypt_cost: int,
        trace_id: str | None,
    ) -> None:
        self.label = label
        self.keyring = keyring
        """Where the keyring's file is, or would be if the keyring were not given."""
        self.given = given
        self._passphrase = passphrase
        self._allow_group_read = allow_group_read
        self._notice = notice
        self.clock = clock
        self._new_id = new_id
        self._addresses = addresses
        self._bcrypt_cost = bcrypt_cost
        self._trace_id = trace_id
        self._engine: Engine | None = None

    def close(self) -> None:
        """Close what was opened; asked again, it is opened again."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        self.__dict__.pop("key_file", None)

    @property
    def keys(self) -> "KeyFile | GivenKeyring":
        """The keyring's source, whether it is there or not."""
        return self.key_file if self.given is None else self.given

    @cached_property
    def key_file(self) -> "KeyFile":
        """The keyring's file, whether it is there or not."""
        from backctl.infrastructure.keyring.file import KeyFile  # a read of accounts needs no key

        return KeyFile(self.keyring, allow_group_read=self._allow_group_read, passphrase=self._passphrase)

    @property
    @abstractmethod
    def is_fresh(self) -> bool:
        """Whether a write would create the installation, and a read finds it empty."""

    def create(self, actor: Actor, *, reason: str | None = None, dry_run: bool = False) -> "Change[InstallationView]":
        """Make what is missing; `changed` is False when nothing is. With `dry_run` nothing is left of it.

        Raises InvalidInput for the reason, KeyringMissing for a database without its keyring; FolderUnusable,
        InstallationLocked, DatabaseFull, and a server's DatabaseLocked, DatabaseUnavailable, DatabaseUnusable.
        """
        return self._created(actor, checked_reason(reason), dry_run=dry_run)

    def unit_of_work(self, *, actor: Actor, reason: str | None, dry_run: bool, creates: bool = False) -> UnitOfWork:
        """A transaction not yet begun; see the port.

        Raises InvalidInput for the reason, DatabaseMissing, DatabaseUnusable, DatabaseUnavailable, SchemaOutdated,
        SchemaTooNew and what the keyring's file raises.
        """
        return self._begun(actor, checked_reason(reason), dry_run=dry_run, creates=creates)

    @abstractmethod
    def _created(self, actor: Actor, reason: str | None, *, dry_run: bool) -> "Change[InstallationView]":
        """What is there after making what is missing."""

    @abstractmethod
    def _begun(self, actor: Actor, reason: str | None, *, dry_run: bool, creates: bool) -> UnitOfWork:
        """A unit of work on what is there, on what it makes, or on nothing."""

    @abstractmethod
    def stored(self) -> "StoredInstallation":
        """What the database says about itself, whatever its revision. Raises DatabaseMissing, DatabaseUnusable."""

    @abstractmethod
    def reader(self) -> Reader:
        """The read side. Creates nothing."""

    @abstractmethod
    def _opened(self) -> "tuple[StoredInstallation, Keyring]":
        """What a database of the right revision says about itself, and the keyring that matches it."""

    def describe(self) -> "InstallationView":
        """What is there. Raises what opening it raises."""
        return self._described(self._opened()[0])

    def open_keyring(self) -> "Keyring":
        """The keyring, read anew when its file was replaced.

        Raises KeyringMissing, KeyringUnreadable, KeyringExposed, KeyringDamaged, KeyringSealed.
        """
        return self.keys.current()

    @property
    def keyring_label(self) -> str:
        """Where the keyring comes from, as it is shown."""
        return str(self.keyring) if self.given is None else self.given.label

    def has_keyring(self) -> bool:
        """Whether a keyring is given, or its file is there, in whatever state. Raises FolderUnusable."""
        return self.given is not None or durable.exists(self.keyring)

    def known_keyring(self) -> "Keyring":
        """The keyring; one without keys on a fresh machine. Opens no database and creates nothing."""
        return self.open_keyring()

    @abstractmethod
    def keyring_change(self, *, actor: Actor, reason: str | None, dry_run: bool) -> KeyringChange:
        """A change of the keyring, not yet begun; on a fresh machine the installation is created first.

        Raises what `unit_of_work` raises.
        """

    def _keyring_change(self, actor: Actor, reason: str | None, *, dry_run: bool, timeout_us: int) -> KeyringChange:
        if self.given is not None:
            raise KeyringReadOnly(
                f"the keyring comes from {self.given.label} and cannot be changed there",
                hint="change the keys where its file is kept, and give the new one from there",
            )
        from backctl.infrastructure.keyring.change import FileKeyringChange
        from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork

        work = cast(SqlUnitOfWork, self.unit_of_work(actor=actor, reason=reason, dry_run=dry_run, creates=True))
        return FileKeyringChange(
            self.key_file,
            work,
            timeout_us=timeout_us,
            dry_run=dry_run,
        )

    def blind_index(self, text: str) -> str:
        """HMAC-SHA256 of the text under the keyring's `index` key, in hexadecimal."""
        import hmac

        return hmac.digest(self.open_keyring().primary("index").secret_bytes(), text.encode(), "sha256").hex()

    def audit_keys(self, kids: Sequence[str]) -> dict[str, bytes]:
        """kid → key of every audit key, those that a log was written with among them. Raises also KeyringMismatch."""
        keyring = self.open_keyring()
        check_match(kids, keyring)
        return keyring.secrets("audit")

    def upgrade_record(self, stored: "StoredInstallation", actor: Actor, reason: str | None) -> "UpgradeRecord":
        """What will be recorded of an upgrade from the revision of `stored`, whose keyring this is."""
        from backctl.infrastructure.sql.migrator import UpgradeRecord

        return UpgradeRecord(
            installation_id=stored.installation_id,
            key=self.open_keyring().primary("audit"),
            actor=actor,
            reason=reason,
            trace_id=self._trace_id,
            now=self.clock(),
            event_id=self._new_id(),
        )

    def _described(self, stored: "StoredInstallation") -> "InstallationView":
        from backctl.application.database_views import InstallationView

        return InstallationView(
            database=self.label,
            keyring=self.keyring_label,
            installation_id=stored.installation_id,
            revision=stored.revision,
            bcrypt_cost=self._bcrypt_cost,
        )

    def _work(self, engine: "Engine", actor: Actor, reason: str | None, *, dry_run: bool) -> UnitOfWork:
        from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork

        return SqlUnitOfWork(
            engine,
            actor=actor,
            reason=reason,
            addresses=self._addresses,
            audit_key=self.open_keyring().primary("audit"),
            clock=self.clock,
            new_id=self._new_id,
            dry_run=dry_run,
            trace_id=self._trace_id,
        )


def check_match(kids: Sequence[str], keyring: "Keyring") -> None:
    """Raises KeyringMismatch when the keyring lacks one of the audit keys that the database's events were written with.

    A database that names none was tampered with, for it is made with one: DatabaseUnusable.
    """
    if not kids:
        raise DatabaseUnusable(
            "the database does not say which audit keys it was written with", hint="restore it from a backup"
        )
    lacking = sorted(set(kids) - set(keyring.secrets("audit")))
    if lacking:
        raise KeyringMismatch(
            f"the keyring belongs to another installation: it lacks the audit key {quoted(lacking[0])}",
            hint="name the keyring that was made with this database, or restore it from a backup",
        )

"""An installation whose database is a PostgreSQL server's; its keyring is a file all the same.

It is named by its URL, so no command but `init` creates anything of it, and none but `db upgrade` changes its schema:
others may be working on it with a program of another version.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from backctl.application.ports import AddressParser, Clock, IdSource, KeyringChange, Reader, UnitOfWork
from backctl.application.views import Change
from backctl.domain.errors import DatabaseMissing, KeyringMissing, quoted
from backctl.domain.values import Actor
from backctl.infrastructure.files import durable
from backctl.infrastructure.postgres.connection import PostgresDatabase
from backctl.infrastructure.sql.installation import KeyedInstallation, check_match

if TYPE_CHECKING:
    from backctl.application.database_views import InstallationView
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.keyring.given import GivenKeyring
    from backctl.infrastructure.keyring.text import Passphrase
    from backctl.infrastructure.postgres.reader import PostgresReader
    from backctl.infrastructure.sql.schema import StoredInstallation


class ServerInstallation(KeyedInstallation):
    """A keyring and the database on a server that is written with it."""

    def __init__(
        self,
        *,
        database: PostgresDatabase,
        keyring: Path,
        given: "GivenKeyring | None" = None,
        passphrase: "Passphrase | None" = None,
        allow_group_read: bool,
        notice: Callable[[str], None],
        clock: Clock,
        new_id: IdSource,
        addresses: AddressParser,
        bcrypt_cost: int,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(
            label=database.label,
            keyring=keyring,
            given=given,
            passphrase=passphrase,
            allow_group_read=allow_group_read,
            notice=notice,
            clock=clock,
            new_id=new_id,
            addresses=addresses,
            bcrypt_cost=bcrypt_cost,
            trace_id=trace_id,
        )
        self.database = database
        self._reader: PostgresReader | None = None

    def close(self) -> None:
        """Close what was opened; asked again, it is opened again."""
        super().close()
        self._reader = None
        self.database.close()

    @property
    def is_fresh(self) -> bool:
        """Never: a server has been named."""
        return False

    def _created(self, actor: Actor, reason: str | None, *, dry_run: bool) -> "Change[InstallationView]":
        if self._exists():
            self._require_keyring()
            return Change(self.describe(), changed=False)
        try:
            view = self._rehearsed(actor, reason) if dry_run else self._made(actor, reason)
        except OSError as error:
            raise durable.unusable(self.keyring.parent, error) from None
        if view is None:  # another process was quicker
            return Change(self.describe(), changed=False)
        return Change(view, changed=True)

    def stored(self) -> "StoredInstallation":
        return self.database.stored()

    def _begun(self, actor: Actor, reason: str | None, *, dry_run: bool, creates: bool) -> UnitOfWork:
        """On what is there: no use case of accounts makes anything of a server's."""
        if self._engine is None:
            from backctl.infrastructure.postgres.engine import postgres_engine

            keyring = self._keyring_of_something()
            engine = postgres_engine(self.database, lambda stored: check_match(stored.audit_kids, keyring))
            try:
                with self.database.mapped_faults(), engine.connect() as connection:
                    connection.begin()  # what is wrong is told before anything slow is begun
            except BaseException:
                engine.dispose()
                raise
            self._engine = engine
        return self._work(self._engine, actor, reason, dry_run=dry_run)

    def keyring_change(self, *, actor: Actor, reason: str | None, dry_run: bool) -> KeyringChange:
        return self._keyring_change(actor, reason, dry_run=dry_run, timeout_us=self.database.limits.lock_us)

    def reader(self) -> Reader:
        """The read side. Raises what opening it raises."""
        if self._reader is None:
            from backctl.infrastructure.postgres.reader import PostgresReader

            self._reader = PostgresReader(self.database, addresses=self._addresses)
        return self._reader

    def _opened(self) -> "tuple[StoredInstallation, Keyring]":
        from backctl.infrastructure.sql.schema import require_current

        stored, keyring = self.stored(), self.open_keyring()
        check_match(stored.audit_kids, keyring)
        require_current(stored, self.label)
        return stored, keyring

    def _keyring_of_something(self) -> "Keyring":
        """The keyring. Where database and keyring are both missing, the former is what has to be told."""
        try:
            return self.open_keyring()
        except KeyringMissing:
            self.stored()
            raise

    # Creation.

    def _exists(self) -> bool:
        try:
            self.stored()
        except DatabaseMissing:
            return False
        return True

    def _require_keyring(self) -> None:
        """Raises KeyringMissing for a database without its keyring: a new key could not replace the lost one."""
        if not self.has_keyring():
            raise KeyringMissing(
                f"there is no keyring {quoted(str(self.keyring), limit=400)} for the database",
                hint="bring it from the machine where 'backctl init' was run, or from a backup; it is never made anew",
            )

    def _made(self, actor: Actor, reason: str | None) -> "InstallationView | None":
        """The tables, and the keyring linked to its name before they are committed: whoever sees them finds their keys.

        A failure in between leaves a keyring without a database, which the next `init` completes.
        """
        with ExitStack() as held:
            if self.given is None:
                folder = self.keyring.parent
                durable.make_folder(folder)
                held.enter_context(durable.locked(folder, timeout_us=self.database.limits.lock_us))
                for temporary in durable.left_over(self.keyring):
                    temporary.unlink(missing_ok=True)
            made = [self.label]
            link: Callable[[], None] = _nothing
            if self.has_keyring():
                keyring = self.keys.read()
            else:
                keyring = self._new_keyring()
                staged = self.key_file.stage(keyring)
                held.callback(staged.unlink)
                made.insert(0, str(self.keyring))

                def link() -> None:
                    durable.link_staged(staged, self.keyring)

            view = self._filled(actor, reason, keyring, before_commit=link, dry_run=False)
            if view is None:
                self._require_keyring()
                return None
        self._notice(f"created {' and '.join(made)}")
        return view

    def _rehearsed(self, actor: Actor, reason: str | None) -> "InstallationView | None":
        if self.has_keyring():
            keyring = self.keys.read()
        else:
            durable.require_writable(self.keyring.parent)
            keyring = self._new_keyring()
        return self._filled(actor, reason, keyring, before_commit=_nothing, dry_run=True)

    def _filled(
        self,
        actor: Actor,
        reason: str | None,
        keyring: "Keyring",
        *,
        before_commit: Callable[[], None],
        dry_run: bool,
    ) -> "InstallationView | None":
        import uuid

        from backctl.infrastructure.postgres.migrator import create_schema
        from backctl.infrastructure.sql.migrator import Founding

        founding = Founding(
            installation_id=str(uuid.uuid4()),
            keyring=keyring,
            actor=actor,
            reason=reason,
            trace_id=self._trace_id,
            now=self.clock(),
            event_id=self._new_id(),
        )
        stored = create_schema(self.database, founding, before_commit=before_commit, dry_run=dry_run)
        return None if stored is None else self._described(stored)

    def _new_keyring(self) -> "Keyring":
        from backctl.infrastructure.keyring.maker import make_keyring

        return make_keyring(self.clock())


def _nothing() -> None:
    """There is nothing to put in place."""

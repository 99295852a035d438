"""Chooses the installation by the configured URL, and provides the handle that services use."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Final

from backctl.infrastructure.forks import start_over_in_children

if TYPE_CHECKING:
    from backctl.application.attribution import Attribution
    from backctl.application.database_views import InstallationView
    from backctl.application.ports.security import KeyringChange, KeyringReplacement
    from backctl.application.ports.storage import DatabaseCare, HealthProbe, Reader, UnitOfWork
    from backctl.application.ports.write_behind import UpdateTarget
    from backctl.application.views import Change
    from backctl.application.waiting import Server
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.installation import Dependencies, Installation
    from backctl.settings import LoadedSettings


def sqlite(loaded: "LoadedSettings", dependencies: "Dependencies") -> "Installation":
    """Create the installation of an SQLite file."""
    from backctl.infrastructure.sqlite.installation import SqliteInstallation

    return SqliteInstallation(
        Path(loaded.database_url.removeprefix("sqlite:///")),
        dependencies,
        fresh_allowed=not loaded.names_storage,
        timeout_us=loaded.settings.database.timeout,
    )


def postgresql(loaded: "LoadedSettings", dependencies: "Dependencies") -> "Installation":
    """Create the installation of a PostgreSQL database."""
    from backctl.infrastructure.postgres.installation import PostgresInstallation
    from backctl.infrastructure.postgres.timeouts import Timeouts
    from backctl.settings import redact_url

    url, database = loaded.database_url, loaded.settings.database
    limits = Timeouts(
        connect_us=min(database.connect_timeout, database.timeout),
        statement_us=min(database.statement_timeout, database.timeout),
        lock_us=min(database.lock_timeout, database.timeout),
    )
    return PostgresInstallation(url, dependencies, label=redact_url(url), limits=limits)


Adapter = Callable[["LoadedSettings", "Dependencies"], "Installation"]

ADAPTERS: Final[Mapping[str, Adapter]] = {"sqlite": sqlite, "postgresql": postgresql, "postgres": postgresql}
"""The adapter of each URL scheme that `database.url` accepts."""


class Storage:
    """The lazy handle to the installation that services use. It stays valid after `close`.

    Works in any thread and after a fork. Chooses the installation and loads its code at the first call.
    """

    def __init__(self, loaded: "LoadedSettings", dependencies: "Callable[[], Dependencies]") -> None:
        self._loaded = loaded
        self._dependencies = dependencies
        self._made: Installation | None = None
        self.start_over()
        start_over_in_children(self)

    def start_over(self) -> None:
        self._lock = RLock()

    @property
    def installation(self) -> "Installation":
        if self._made is None:
            dependencies = self._dependencies()  # before the lock, because creating them takes another lock
            with self._lock:
                if self._made is None:
                    scheme = self._loaded.database_url.partition(":")[0]
                    self._made = ADAPTERS[scheme](self._loaded, dependencies)
        return self._made

    def close(self) -> None:
        """Release connections; the next use reconnects."""
        if self._made is not None:
            self._made.close()

    def require(self) -> None:
        self.installation.require()

    def has_installation(self) -> bool:
        """Whether there is an installation, or the rest of a damaged one. Raises Unavailable, Unusable."""
        from backctl.domain.errors import DatabaseMissing, InstallationMissing

        try:
            self.installation.stored()
        except (InstallationMissing, DatabaseMissing):
            return self.installation.keys.exists()
        return True

    def installation_id(self) -> str:
        """Return the random id of the database. Raises InstallationMissing, DatabaseMissing."""
        return self.installation.stored().installation_id

    def reader(self) -> "Reader":
        return self.installation.reader()

    def unit_of_work(self, *, by: "Attribution", dry_run: bool, creates: bool = False) -> "UnitOfWork":
        return self.installation.unit_of_work(by=by, dry_run=dry_run, creates=creates)

    def update_target(self) -> "UpdateTarget":
        return self.installation.update_target()

    def keyring_change(self, *, by: "Attribution", dry_run: bool) -> "KeyringChange":
        return self.installation.keyring_change(by=by, dry_run=dry_run)

    def keyring_replacement(self, *, by: "Attribution", dry_run: bool) -> "KeyringReplacement":
        return self.installation.keyring_replacement(by=by, dry_run=dry_run)

    def open_keyring(self) -> "Keyring":
        return self.installation.open_keyring()

    def keyring_of_installation(self) -> "Keyring":
        """Like `open_keyring`, but also raises InstallationMissing for a keyring whose database file is lost."""
        self.installation.require()
        return self.installation.open_keyring()

    def blind_index(self, text: str) -> str:
        return self.installation.blind_index(text)

    def audit_keys(self, kids: Sequence[str]) -> dict[str, bytes]:
        return self.installation.audit_keys(kids)

    def create(self, by: "Attribution", *, dry_run: bool = False) -> "Change[InstallationView]":
        return self.installation.create(by, dry_run=dry_run)

    def care(self) -> "DatabaseCare":
        return self.installation.care()

    def servers(self) -> "tuple[Server, ...]":
        return self.installation.servers()

    def probes(self) -> "tuple[HealthProbe, ...]":
        """Return the checks of `doctor`: first whether there is an installation, then which settings select it.

        An installation that cannot be opened with this configuration is a failed check too.
        """
        from backctl.domain.errors import BackctlError, ResourcesExhausted
        from backctl.infrastructure.probes import Probe, failed

        leeway = self._loaded.settings.tokens.leeway
        try:
            first, *others = self.installation.probes(leeway=leeway, config_file=self._loaded.file)
        except ResourcesExhausted:
            raise
        except BackctlError as error:
            finding = failed(error)
            first, others = Probe("database.open", lambda: finding), []
        return (first, self._configured(), self._selected(), *others)

    def _configured(self) -> "HealthProbe":
        from backctl.domain.quoting import quoted
        from backctl.infrastructure.probes import Probe, ok

        file = self._loaded.file
        return Probe("config.valid", lambda: ok(quoted(str(file), limit=400) if file else "no configuration file"))

    def _selected(self) -> "HealthProbe":
        from backctl.domain.quoting import quoted
        from backctl.infrastructure.probes import Finding, Probe, ok

        name = self._loaded.settings.profile
        protected = ", protected" if self._loaded.settings.protected else ""
        chosen = f"profile {quoted(name)} ({self._loaded.origin('profile')}{protected})" if name else "no profile"

        def selected() -> Finding:
            shown = self._loaded.database_shown
            return ok(f"{chosen}: {quoted(shown, limit=400) if shown else 'no database'}")

        return Probe("profile.selected", selected)

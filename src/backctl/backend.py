"""The services of one installation, for the command line and for Python programs.

Each service is created, and its modules are imported, at its first use, so that a command loads only what it needs.
`wiring` contains the factories.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from backctl.settings import LoadedSettings
from backctl.wiring.lazy import Opened, lazy
from backctl.wiring.storage import Storage

if TYPE_CHECKING:
    from backctl.application.access import AccessService
    from backctl.application.accounts import AccountService
    from backctl.application.attribution import Attribution
    from backctl.application.audit import AuditService
    from backctl.application.authentication import AuthenticationService
    from backctl.application.cache_entries import CacheEntryService
    from backctl.application.cache_levels import Levels
    from backctl.application.cache_reaction import CacheReaction
    from backctl.application.cached_accounts import CachedAccounts
    from backctl.application.cached_standings import CachedStandings
    from backctl.application.caching import CacheService
    from backctl.application.database import DatabaseService
    from backctl.application.database_views import InstallationView
    from backctl.application.doctor import DoctorService
    from backctl.application.draining import Worker
    from backctl.application.encryption import EncryptionService
    from backctl.application.guard import Guard
    from backctl.application.keyring_replacement import KeyringReplacementService
    from backctl.application.keys import KeyService
    from backctl.application.limits import LimitService
    from backctl.application.mfa import MfaService
    from backctl.application.mfa_keys import MfaKeys
    from backctl.application.ports.cache import CacheStore
    from backctl.application.ports.limits import LimitStore
    from backctl.application.ports.write_behind import WriteQueue
    from backctl.application.queued_updates import QueuedUpdates
    from backctl.application.reactions import LoggedEvent, Reaction
    from backctl.application.sanitizing import SanitizingService
    from backctl.application.seeding.applying import Applying
    from backctl.application.seeding.secret_sources import SecretSources
    from backctl.application.seeding.service import SeedService
    from backctl.application.sessions import SessionService
    from backctl.application.tokens import TokenService
    from backctl.application.transactions import Transactions
    from backctl.application.transfer.exporting import ExportService
    from backctl.application.transfer.importing import ImportService
    from backctl.application.views import Change
    from backctl.application.write_behind import WriteBehind, Writers
    from backctl.domain.access import AccessPolicy
    from backctl.domain.keyring import Keyring
    from backctl.domain.password_policy import PasswordPolicy
    from backctl.domain.values import Instant
    from backctl.infrastructure.addresses import EmailValidatorParser
    from backctl.infrastructure.crypto.jwt_codec import JwtCodec
    from backctl.infrastructure.crypto.password_hasher import BcryptHasher
    from backctl.infrastructure.files.whole import WholeFiles
    from backctl.infrastructure.installation import Dependencies
    from backctl.infrastructure.keyring.store import KeyringStore
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.wiring.cache import InstalledStore
    from backctl.wiring.write_behind import InstalledQueue


class Backend:
    """The services of one installation, each a property.

    All threads of a process can use one backend at the same time. It opens at most eight connections for reading and
    eight for writing on SQLite, and eight in total on PostgreSQL; more threads take turns. Close or finish a stream
    before you ask for something else: on PostgreSQL each stream keeps one of the eight connections, on SQLite a thread
    that reads streams gets more. A child that is forked while no thread uses the backend can use it too, with its own
    connections. A child that is forked at another moment gets DatabaseUnusable on SQLite. `close` does not wait for
    other threads: call it when no thread uses the backend.

    Connects lazily. `close` releases connections and forgets keys; the next use reconnects, even through a service that
    was obtained before. Use the backend as a context manager, or call `close` at the end.
    """

    def __init__(
        self,
        loaded: LoadedSettings,
        *,
        notice: Callable[[str], None] = lambda text: None,
        guard: "Guard | None" = None,
        reactions: "Sequence[Reaction]" = (),
        short_lived: bool = False,
    ) -> None:
        """`notice` receives one line for each creation, migration and failed reaction.

        `reactions` receive the events of every transaction once they are durable; see `application.reactions`.

        `guard` is asked before the first change; see `application.guard`. By default nothing is asked.

        `short_lived`: the process ends after one command, so only the needed part of redis-py is imported.
        """
        self._loaded = loaded
        self._settings = loaded.settings
        self._notice = notice
        self._given_guard = guard
        self._reactions = tuple(reactions)
        self._short_lived = short_lived
        self._opened = Opened()
        self._storage = Storage(loaded, self._dependencies)
        self._writers: Writers = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release connections and forget keys; the next use reconnects."""
        self._opened.close()
        self._storage.close()

    def by(self, label: str | None = None, *, reason: str | None = None, trace_id: str | None = None) -> "Attribution":
        """Return an attribution: who makes a change, why, and in which trace. Pass it as the `by` of a change.

        `label` names the actor, by default the operating-system user. That user and this host are always recorded too.
        Raises InvalidInput.
        """
        from backctl.application.attribution import Attribution
        from backctl.infrastructure.host import os_actor

        return Attribution(os_actor(label), reason, trace_id)

    def now(self) -> "Instant":
        """Return the current time of the clock that all services use. Raises ClockUnusable."""
        from backctl.infrastructure.host import now

        return now()

    @lazy
    def accounts(self) -> "AccountService":
        from backctl.application.accounts import AccountService
        from backctl.infrastructure.host import new_id, now

        return AccountService(
            transactions=lambda: self._transactions,
            reader=self._storage.reader,
            addresses=self._addresses,
            hasher=lambda: self._hasher,
            passwords=lambda: self._password_policy,
            access=self._access_policy,
            clock=now,
            new_id=new_id,
            cached=(lambda: self._cached_accounts) if self._caches_accounts() else None,
        )

    @lazy
    def exports(self) -> "ExportService":
        from backctl.application.transfer.exporting import ExportService

        return ExportService(
            transactions=lambda: self._transactions,
            reader=self._storage.reader,
            mfa_keys=lambda: self._mfa_keys,
        )

    @lazy
    def authentication(self) -> "AuthenticationService":
        from backctl.application.authentication import AuthenticationService
        from backctl.infrastructure.host import now
        from backctl.wiring.limits import source_throttle

        return AuthenticationService(
            transactions=lambda: self._transactions,
            reader=self._storage.reader,
            addresses=self._addresses,
            hasher=self._hasher,
            clock=now,
            blind_index=self._storage.blind_index,
            mfa_keys=lambda: self._mfa_keys,
            throttle=source_throttle(self._settings, lambda: self.limits),
        )

    @lazy
    def mfa(self) -> "MfaService":
        from backctl.application.mfa import MfaService
        from backctl.infrastructure.host import now

        return MfaService(
            transactions=lambda: self._transactions,
            reader=self._storage.reader,
            keys=self._mfa_keys,
            clock=now,
            issuer=self._settings.tokens.issuer,
        )

    @lazy
    def tokens(self) -> "TokenService":
        from backctl.application.tokens import TokenService
        from backctl.domain.sessions import Lifetimes
        from backctl.infrastructure.host import new_id, now

        tokens = self._settings.tokens
        return TokenService(
            transactions=lambda: self._transactions,
            reader=self._storage.reader,
            codec=self._token_codec,
            clock=now,
            new_id=new_id,
            issuer=tokens.issuer,
            audience=tokens.audience,
            access_ttl=tokens.access_ttl,
            lifetimes=Lifetimes(refresh=tokens.refresh_ttl, session=tokens.session_ttl, grace=tokens.grace),
            leeway=tokens.leeway,
            cached_standing=self._cached_standings.standing if self._caches_standings() else None,
        )

    @lazy
    def sessions(self) -> "SessionService":
        from backctl.application.sessions import SessionService
        from backctl.infrastructure.host import now

        return SessionService(
            transactions=lambda: self._transactions,
            reader=self._storage.reader,
            clock=now,
            issuer=self._settings.tokens.issuer,
            leeway=self._settings.tokens.leeway,
        )

    @lazy
    def imports(self) -> "ImportService":
        from backctl.application.transfer.importing import ImportService
        from backctl.infrastructure.host import new_id, now

        return ImportService(
            transactions=lambda: self._transactions,
            reader=self._storage.reader,
            addresses=self._addresses,
            hasher=lambda: self._hasher,
            passwords=lambda: self._password_policy,
            access=self._access_policy,
            clock=now,
            new_id=new_id,
            mfa_keys=lambda: self._mfa_keys,
        )

    @lazy
    def seeding(self) -> "SeedService":
        from backctl.application.seeding.service import SeedService
        from backctl.infrastructure.host import now
        from backctl.wiring.seeding import secret_sources, seed_files

        return SeedService(
            files=lambda: seed_files(self._addresses, self._access_policy),
            secrets=secret_sources,
            applying=self._applying,
            reader=self._storage.reader,
            addresses=self._addresses,
            access=self._access_policy,
            clock=now,
            installation_id=self._storage.installation_id,
        )

    def _applying(self, secrets: "SecretSources") -> "Applying":
        from backctl.application.seeding.applying import Applying

        return Applying(
            transactions=self._transactions,
            reader=self._storage.reader(),
            accounts=self.accounts.steps,
            hasher=self._hasher,
            passwords=lambda: self._password_policy,
            mfa_keys=lambda: self._mfa_keys,
            secrets=secrets,
        )

    @lazy
    def audit(self) -> "AuditService":
        from backctl.application.audit import AuditService

        return AuditService(reader=self._storage.reader, audit_keys=self._storage.audit_keys)

    @lazy
    def access(self) -> "AccessService":
        from backctl.application.access import AccessService
        from backctl.infrastructure.host import now

        return AccessService(self._access_policy, reader=self._storage.reader, clock=now)

    @lazy
    def keys(self) -> "KeyService":
        from backctl.application.keys import KeyService
        from backctl.infrastructure.host import now
        from backctl.infrastructure.keyring.exchange import KeyText
        from backctl.infrastructure.keyring.maker import make_key

        return KeyService(
            keyring=self._storage.keyring_of_installation,
            has_unfinished_change=self._keys.has_unfinished_change,
            transactions=lambda: self._transactions,
            new_key=make_key,
            exchange=KeyText(),
            clock=now,
        )

    @lazy
    def keyring_replacement(self) -> "KeyringReplacementService":
        from backctl.application.keyring_replacement import KeyringReplacementService
        from backctl.infrastructure.host import now

        return KeyringReplacementService(
            transactions=lambda: self._transactions,
            begin=self._storage.keyring_replacement,
            installation_id=self._storage.installation_id,
            clock=now,
            issuer=self._settings.tokens.issuer,
            leeway=self._settings.tokens.leeway,
        )

    @lazy
    def database(self) -> "DatabaseService":
        from backctl.application.database import DatabaseService
        from backctl.infrastructure.host import now

        return DatabaseService(
            self._storage.care(),
            self._guard,
            transactions=lambda: self._transactions,
            installation_id=self._storage.installation_id,
            clock=now,
            issuer=self._settings.tokens.issuer,
            leeway=self._settings.tokens.leeway,
        )

    @lazy
    def doctor(self) -> "DoctorService":
        from backctl.application.doctor import DoctorService
        from backctl.wiring.redis import redis_probes
        from backctl.wiring.write_behind import queue_probes

        return DoctorService(
            (
                *self._storage.probes(),
                *redis_probes(self._settings, lambda: self._redis),
                *queue_probes(self._loaded, self._installed_queue),
            )
        )

    @lazy
    def sanitizing(self) -> "SanitizingService":
        from backctl.application.sanitizing import SanitizingService
        from backctl.infrastructure.html import HtmlSanitizer

        allowed = self._settings.sanitize
        cleaner = HtmlSanitizer(tags=allowed.tags, attributes=allowed.attributes, url_schemes=allowed.url_schemes)
        return SanitizingService(cleaner.clean, max_bytes=allowed.max_bytes, max_depth=allowed.max_depth)

    @lazy
    def encryption(self) -> "EncryptionService":
        from backctl.application.encryption import EncryptionService
        from backctl.infrastructure.crypto.field_ciphers import KeyCiphers

        return EncryptionService(keyring=self._keyring, ciphers=KeyCiphers(), files=self.files)

    @lazy
    def limits(self) -> "LimitService":
        import time

        from backctl.application.limits import LimitService
        from backctl.wiring.limits import limit_policies

        return LimitService(
            policies=limit_policies(self._settings),
            store=lambda: self._limit_store,
            transactions=lambda: self._transactions,
            has_installation=self._storage.has_installation,
            monotonic=time.monotonic,
            sleep=time.sleep,
            guard=self._guard,
        )

    @lazy
    def cache(self) -> "CacheService":
        from backctl.application.caching import CacheService, Lifetimes
        from backctl.infrastructure.clock import microseconds
        from backctl.wiring.cache import cache_level

        cache = self._settings.cache
        return CacheService(
            levels=self._cache_levels,
            store=self._cache_store,
            level=cache_level(self._loaded),
            lifetimes=Lifetimes(cache.ttl, cache.negative_ttl, cache.stale_if_error),
            clock=microseconds,
            updates=self._write_behind,
            worker=self._worker,
            guard=self._guard,
        )

    @lazy
    def cache_entries(self) -> "CacheEntryService":
        from backctl.application.cache_entries import CacheEntryService

        return CacheEntryService(self.cache)

    @lazy
    def queued_updates(self) -> "QueuedUpdates":
        from backctl.application.queued_updates import QueuedUpdates

        return QueuedUpdates(self._queue, self._worker, self._guard)

    @lazy
    def files(self) -> "WholeFiles":
        """Writes files completely or not at all, for example files with exported secrets."""
        from backctl.infrastructure.files.whole import WholeFiles

        return WholeFiles()

    def calibrated_cost(self) -> int:
        """Measure this machine: return the bcrypt cost (10 to 15) whose hashing time is closest to 250 ms."""
        return self._hasher.calibrated_cost()

    def require_installation(self) -> None:
        """Check that there is an installation, for example before asking for a password. Creates nothing.

        Connects to a database server only if there is no keyring. Raises InstallationMissing, KeyringMissing.
        """
        self._storage.require()

    def require_keyring(self) -> None:
        """Check that the keyring can be read. Opens no database if there is a keyring. Creates nothing.

        Raises InstallationMissing, KeyringMissing and the errors of reading the keyring.
        """
        self._keyring()

    def wait_for_servers(self, up_to: int) -> None:
        """Wait until PostgreSQL and Redis answer, if they are configured, for at most `up_to` microseconds in total.

        Returns earlier if waiting cannot help; the next use raises the error. Raises InvalidConfiguration.
        """
        import time

        from backctl.application.waiting import wait_for
        from backctl.wiring.redis import redis_server

        servers = (*self._storage.servers(), *redis_server(self._settings, lambda: self._redis))
        wait_for(servers, up_to=up_to, monotonic=time.monotonic, pause=time.sleep, notice=self._notice)

    def initialise(self, *, by: "Attribution", dry_run: bool = False) -> "Change[InstallationView]":
        """Create the keyring and the database if they are missing.

        Raises KeyringMissing if only the keyring is missing: a lost keyring is never replaced.
        """
        from backctl.application.guard import guarded
        from backctl.application.views import is_change

        return guarded(
            lambda dry_run: self._storage.create(by, dry_run=dry_run),
            guard=self._guard,
            changes=is_change,
            dry_run=dry_run,
        )

    @lazy
    def _guard(self) -> "Guard":
        from backctl.application.guard import Guard

        return self._given_guard or Guard()

    @lazy
    def _transactions(self) -> "Transactions":
        from backctl.application.transactions import Transactions
        from backctl.infrastructure.host import jittered_pause

        return Transactions(
            begin=self._storage.unit_of_work,
            begin_keyring=self._storage.keyring_change,
            pause=jittered_pause,
            guard=self._guard,
            reactions=(self._invalidate, *self._reactions),
            report=self._report,
        )

    def _report(self, reaction: str, error: Exception) -> None:
        import logging

        # Omit the message and the traceback of the error: they may contain personal data from an event.
        failure = f"the change was saved, but the reaction {reaction} failed: {type(error).__name__}"
        logging.getLogger("backctl.reactions").error(failure)
        self._notice(failure)

    @lazy
    def _redis(self) -> "RedisServers":
        from backctl.wiring.redis import redis_servers

        servers = redis_servers(self._settings, short_lived=self._short_lived)
        self._opened.callback(servers.close)
        return servers

    @lazy
    def _limit_store(self) -> "LimitStore":
        from backctl.wiring.limits import limit_store

        store = limit_store(self._loaded, lambda: self._redis)
        self._opened.callback(store.close)
        return store

    def _invalidate(self, events: "Sequence[LoggedEvent]") -> None:
        """The reaction that invalidates cached accounts and revocations. Loads nothing if there is no cache."""
        from backctl.wiring.cache import caches_accounts, may_have_entries

        if may_have_entries(self._loaded):
            from backctl.application.cache_reaction import concerns_everything

            if caches_accounts(self._loaded) or any(concerns_everything(one.event) for one in events):
                self._cache_reaction(events)

    @lazy
    def _cache_reaction(self) -> "CacheReaction":
        from backctl.application.cache_reaction import CacheReaction

        levels = self._cache_levels
        return CacheReaction(levels.invalidate, levels.renew_epoch, self._addresses, self._warn)

    def _warn(self, text: str) -> None:
        import logging

        logging.getLogger("backctl.cache").warning(text)
        self._notice(text)

    @lazy
    def _installed_cache(self) -> "InstalledStore":
        from backctl.wiring.cache import cache_store

        levels, store = self._cache_levels, cache_store(self._loaded, lambda: self._redis, self._storage)
        self._opened.callback(store.close)
        self._opened.callback(levels.close, store)
        return store

    def _cache_store(self) -> "CacheStore":
        return self._installed_cache()

    @lazy
    def _installed_queue(self) -> "InstalledQueue":
        from backctl.wiring.write_behind import write_queue

        queue = write_queue(self._loaded, lambda: self._redis, self._storage)
        self._opened.callback(queue.close)
        return queue

    def _queue(self) -> "WriteQueue":
        return self._installed_queue()

    @lazy
    def _write_behind(self) -> "WriteBehind":
        from backctl.application.write_behind import WriteBehind
        from backctl.wiring.write_behind import add_built_in

        add_built_in(self._writers)
        return WriteBehind(self._queue, self._writers, limit=self._settings.cache.queue_limit)

    def _worker(self) -> "Worker":
        from backctl.wiring.write_behind import queue_worker

        writers = self._write_behind.registered()
        return queue_worker(self._loaded, self._queue(), self._storage, writers, self._warn)

    @lazy
    def _cache_levels(self) -> "Levels":
        from backctl.wiring.cache import cache_levels

        return cache_levels(self._loaded, self._cache_store, self._storage, short_lived=self._short_lived)

    @lazy
    def _cached_accounts(self) -> "CachedAccounts":
        from backctl.application.cached_accounts import CachedAccounts
        from backctl.infrastructure.host import now

        return CachedAccounts(self._cache_levels, self._storage.reader, self._addresses, now)

    @lazy
    def _cached_standings(self) -> "CachedStandings":
        from backctl.application.cached_standings import CachedStandings

        max_age = self._settings.tokens.revocation_max_age
        return CachedStandings(self._cache_levels, self._storage.reader, max_age)

    def _caches_accounts(self) -> bool:
        from backctl.wiring.cache import caches_accounts

        return caches_accounts(self._loaded)

    def _caches_standings(self) -> bool:
        configured = self._settings.tokens.revocation_max_age > 0 and not self._short_lived
        return configured and self._caches_accounts()

    @lazy
    def _keys(self) -> "KeyringStore":
        from backctl.wiring.security import keyring_store

        return keyring_store(self._loaded)

    def _keyring(self) -> "Keyring":
        """Return the current keyring. Loads no database code, so that it works while a database server is down."""
        from backctl.domain.errors import KeyringMissing

        try:
            return self._keys.current()
        except KeyringMissing:
            return self._storage.open_keyring()  # raises another error if there is no installation at all

    @lazy
    def _mfa_keys(self) -> "MfaKeys":
        from backctl.wiring.security import mfa_keys

        return mfa_keys(self._storage.open_keyring)

    @lazy
    def _access_policy(self) -> "AccessPolicy":
        from backctl.wiring.security import access_policy

        return access_policy(self._settings)

    @lazy
    def _addresses(self) -> "EmailValidatorParser":
        from backctl.infrastructure.addresses import EmailValidatorParser

        return EmailValidatorParser(allow_special_domains=self._settings.accounts.allow_special_domains)

    @lazy
    def _hasher(self) -> "BcryptHasher":
        from backctl.infrastructure.crypto.password_hasher import BcryptHasher

        return BcryptHasher(self._settings.passwords.bcrypt_cost)

    @lazy
    def _password_policy(self) -> "PasswordPolicy":
        from backctl.domain.password_policy import PasswordPolicy
        from backctl.infrastructure.crypto.common_passwords import is_common

        return PasswordPolicy(self._settings.passwords.min_length, is_common)

    @lazy
    def _token_codec(self) -> "JwtCodec":
        from backctl.wiring.security import token_codec

        return token_codec(self._settings, self._keyring)

    def _dependencies(self) -> "Dependencies":
        from backctl.infrastructure.host import new_id, now
        from backctl.infrastructure.installation import Dependencies

        self._loaded.keyring_given  # noqa: B018 - reject a keyring that is configured twice before opening anything
        return Dependencies(
            keys=lambda: self._keys,
            notice=self._notice,
            clock=now,
            new_id=new_id,
            addresses=self._addresses,
            bcrypt_cost=self._settings.passwords.bcrypt_cost,
        )

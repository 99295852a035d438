"""The composition root: the one place where adapters meet use cases.

Every service is a cached property, and every adapter is imported when the first service that needs it is asked for: a
command pays for what it uses and nothing else.
"""

from collections.abc import Callable
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from backctl.settings import LoadedSettings

if TYPE_CHECKING:
    from backctl.application.access import AccessService
    from backctl.application.accounts import AccountService
    from backctl.application.audit import AuditService
    from backctl.application.authentication import AuthenticationService
    from backctl.application.database import DatabaseService
    from backctl.application.database_views import InstallationView
    from backctl.application.doctor import DoctorService
    from backctl.application.encryption import EncryptionService
    from backctl.application.keys import KeyService
    from backctl.application.mfa import MfaService
    from backctl.application.mfa_keys import MfaKeys
    from backctl.application.sanitizing import SanitizingService
    from backctl.application.sessions import SessionService
    from backctl.application.tokens import TokenService
    from backctl.application.views import Change
    from backctl.domain.access import AccessPolicy
    from backctl.domain.keyring import Keyring
    from backctl.domain.values import Actor
    from backctl.infrastructure.addresses import EmailValidatorParser
    from backctl.infrastructure.crypto.field_ciphers import KeyCiphers
    from backctl.infrastructure.crypto.jwt_codec import JwtCodec
    from backctl.infrastructure.crypto.password_hasher import BcryptHasher
    from backctl.infrastructure.files.whole import WholeFiles
    from backctl.infrastructure.keyring.file import KeyFile
    from backctl.infrastructure.keyring.given import GivenKeyring
    from backctl.infrastructure.keyring.text import Passphrase
    from backctl.infrastructure.postgres.connection import PostgresDatabase
    from backctl.infrastructure.postgres.installation import ServerInstallation
    from backctl.infrastructure.sqlite.installation import Installation


class Container:
    """The services of one installation. Close it, or use it as a context manager.

    Not for sharing between threads; each thread opens its own.
    """

    def __init__(
        self,
        loaded: LoadedSettings,
        *,
        notice: Callable[[str], None] = lambda text: None,
        trace_id: str | None = None,
        founder: "Callable[[], Actor] | None" = None,
        reason: str | None = None,
    ) -> None:
        """`notice` is told what was created or migrated; `trace_id` is recorded with every event.

        `founder` and `reason` are recorded where encrypting makes the installation: encrypting has no actor of its own.
        """
        self._loaded = loaded
        self._settings = loaded.settings
        self._notice = notice
        self._trace_id = trace_id
        self._founder = founder or self.actor
        self._reason = reason

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened. A closed container opens it again when it is asked."""
        installation = self.__dict__.pop("_installation", None)
        if installation is not None:
            installation.close()
        # They hold on to what was closed, and to keys.
        for service in (
            "accounts",
            "authentication",
            "mfa",
            "_mfa_keys",
            "tokens",
            "sessions",
            "audit",
            "keys",
            "database",
            "doctor",
            "encryption",
            "_token_codec",
            "_key_source",
        ):
            self.__dict__.pop(service, None)

    def actor(self, label: str | None = None) -> "Actor":
        """Who acts: `label`, else the system's user, recorded beside that user and this host."""
        from backctl.infrastructure.host import os_actor

        return os_actor(label)

    @cached_property
    def accounts(self) -> "AccountService":
        from backctl.application.accounts import AccountService
        from backctl.domain.password_policy import PasswordPolicy
        from backctl.infrastructure.crypto.common_passwords import is_common
        from backctl.infrastructure.host import jittered_pause, new_user_id, now

        return AccountService(
            unit_of_work=self._installation.unit_of_work,
            reader=self._installation.reader,
            addresses=self._addresses,
            hasher=self._hasher,
            passwords=PasswordPolicy(self._settings.passwords.min_length, is_common),
            access=self._access_policy,
            clock=now,
            new_id=new_user_id,
            pause=jittered_pause,
        )

    @cached_property
    def authentication(self) -> "AuthenticationService":
        from backctl.application.authentication import AuthenticationService
        from backctl.infrastructure.host import jittered_pause, now

        return AuthenticationService(
            unit_of_work=self._installation.unit_of_work,
            reader=self._installation.reader,
            addresses=self._addresses,
            hasher=self._hasher,
            clock=now,
            blind_index=self._installation.blind_index,
            is_fresh=lambda: self._installation.is_fresh,
            mfa_keys=lambda: self._mfa_keys,
            pause=jittered_pause,
        )

    @cached_property
    def mfa(self) -> "MfaService":
        from backctl.application.mfa import MfaService
        from backctl.infrastructure.host import jittered_pause, now

        return MfaService(
            unit_of_work=self._installation.unit_of_work,
            reader=self._installation.reader,
            keys=self._mfa_keys,
            is_fresh=lambda: self._installation.is_fresh,
            clock=now,
            issuer=self._settings.tokens.issuer,
            pause=jittered_pause,
        )

    @cached_property
    def tokens(self) -> "TokenService":
        from backctl.application.tokens import TokenService
        from backctl.domain.sessions import Lifetimes
        from backctl.infrastructure.host import jittered_pause, new_user_id, now

        tokens = self._settings.tokens
        return TokenService(
            # A token is read and verified offline without what an installation loads.
            unit_of_work=lambda **who: self._installation.unit_of_work(**who),  # noqa: PLW0108 - see above
            reader=lambda: self._installation.reader(),  # noqa: PLW0108
            codec=self._token_codec,
            clock=now,
            new_id=new_user_id,
            pause=jittered_pause,
            issuer=tokens.issuer,
            audience=tokens.audience,
            access_ttl=tokens.access_ttl,
            lifetimes=Lifetimes(refresh=tokens.refresh_ttl, session=tokens.session_ttl, grace=tokens.grace),
            leeway=tokens.leeway,
        )

    @cached_property
    def sessions(self) -> "SessionService":
        from backctl.application.sessions import SessionService
        from backctl.infrastructure.host import jittered_pause, now

        return SessionService(
            unit_of_work=self._installation.unit_of_work,
            reader=self._installation.reader,
            clock=now,
            pause=jittered_pause,
            issuer=self._settings.tokens.issuer,
            leeway=self._settings.tokens.leeway,
        )

    @cached_property
    def audit(self) -> "AuditService":
        from backctl.application.audit import AuditService

        return AuditService(reader=self._installation.reader, audit_keys=self._installation.audit_keys)

    @cached_property
    def access(self) -> "AccessService":
        from backctl.application.access import AccessService
        from backctl.infrastructure.host import now

        # Roles are shown without what an installation loads.
        reader = lambda: self._installation.reader()  # noqa: E731, PLW0108 - see above
        return AccessService(self._access_policy, reader=reader, clock=now)

    @cached_property
    def keys(self) -> "KeyService":
        from backctl.application.keys import KeyService
        from backctl.infrastructure.host import jittered_pause, now
        from backctl.infrastructure.keyring.exchange import KeyText
        from backctl.infrastructure.keyring.maker import make_key

        return KeyService(
            keyring=self._known_keyring,
            has_unfinished_change=self._key_source.has_unfinished_change,
            change=lambda **who: self._installation.keyring_change(**who),  # noqa: PLW0108 - shown without what it loads
            new_key=make_key,
            exchange=KeyText(),
            clock=now,
            pause=jittered_pause,
        )

    @cached_property
    def database(self) -> "DatabaseService":
        from backctl.application.database import DatabaseService
        from backctl.infrastructure.sqlite.installation import Installation

        there = self._installation
        if isinstance(there, Installation):
            from backctl.infrastructure.sqlite.care import SqliteCare

            return DatabaseService(SqliteCare(there))
        from backctl.infrastructure.postgres.care import PostgresCare

        return DatabaseService(PostgresCare(there))

    @cached_property
    def doctor(self) -> "DoctorService":
        from backctl.application.doctor import DoctorService
        from backctl.infrastructure.probes import probes, selected_profile
        from backctl.infrastructure.sqlite.installation import Installation

        there, cost, leeway = self._installation, self._settings.passwords.bcrypt_cost, self._settings.tokens.leeway
        profile = selected_profile(
            self._settings.profile,
            self._loaded.origin("profile"),
            self._loaded.database_shown,
            self._settings.protected,
        )
        if isinstance(there, Installation):
            return DoctorService((profile, *probes(there, cost, leeway, self._loaded.file)))
        from backctl.infrastructure.postgres.health import server_probes

        return DoctorService((profile, *server_probes(there, cost, leeway, self._loaded.file)))

    @cached_property
    def sanitizing(self) -> "SanitizingService":
        from backctl.application.sanitizing import SanitizingService
        from backctl.infrastructure.html import HtmlSanitizer

        allowed = self._settings.sanitize
        cleaner = HtmlSanitizer(tags=allowed.tags, attributes=allowed.attributes, url_schemes=allowed.url_schemes)
        return SanitizingService(cleaner.clean, max_bytes=allowed.max_bytes, max_depth=allowed.max_depth)

    @cached_property
    def encryption(self) -> "EncryptionService":
        from backctl.application.encryption import EncryptionService
        from backctl.infrastructure.crypto.field_ciphers import KeyCiphers
        from backctl.infrastructure.keyring.watched import WatchedKeyring

        # The keyring and nothing else: what encrypts needs no database, on whatever server that is.
        keyring = WatchedKeyring(
            self._key_source,
            installation=lambda: self._installation,
            create=lambda: self.initialise(self._founder(), reason=self._reason),
        )
        return EncryptionService(keyring=keyring, ciphers=KeyCiphers(), files=self.files)

    @cached_property
    def files(self) -> "WholeFiles":
        """Files that appear whole or not at all, such as those that secrets are handed over in."""
        from backctl.infrastructure.files.whole import WholeFiles

        return WholeFiles()

    def calibrated_cost(self) -> int:
        """Measure this machine: the bcrypt cost from 10 to 15 whose hash takes nearest 250 ms."""
        return self._hasher.calibrated_cost()

    def initialise(
        self, actor: "Actor", *, reason: str | None = None, dry_run: bool = False
    ) -> "Change[InstallationView]":
        """Make the keyring and the database where they are missing.

        Raises KeyringMissing beside a database: a keyring is never replaced.
        """
        return self._installation.create(actor, reason=reason, dry_run=dry_run)

    @cached_property
    def _mfa_keys(self) -> "MfaKeys":
        from functools import cache

        from backctl.application.mfa_keys import MfaKeys

        @cache
        def ciphers() -> "KeyCiphers":
            from backctl.infrastructure.crypto.field_ciphers import KeyCiphers  # a look at a second factor needs none

            return KeyCiphers()

        return MfaKeys(lambda: self._installation.open_keyring(), ciphers)  # noqa: PLW0108 - it is closed and opened

    @cached_property
    def _access_policy(self) -> "AccessPolicy":
        from backctl.domain.access import AccessPolicy, Permission, Role

        return AccessPolicy(
            Role(name, role.description, tuple(map(Permission.parse, role.permissions)))
            for name, role in self._settings.roles.items()
        )

    @cached_property
    def _addresses(self) -> "EmailValidatorParser":
        from backctl.infrastructure.addresses import EmailValidatorParser

        return EmailValidatorParser(allow_special_domains=self._settings.accounts.allow_special_domains)

    @cached_property
    def _hasher(self) -> "BcryptHasher":
        from backctl.infrastructure.crypto.password_hasher import BcryptHasher

        return BcryptHasher(self._settings.passwords.bcrypt_cost)

    @cached_property
    def _token_codec(self) -> "JwtCodec":
        """Loads and opens no database; the keyring is read when the first token comes."""
        from backctl.infrastructure.crypto.jwt_codec import JwtCodec

        tokens = self._settings.tokens
        return JwtCodec(
            self._key_source.current,
            issuer=tokens.issuer,
            audience=tokens.audience,
            leeway=tokens.leeway,
        )

    @cached_property
    def _installation(self) -> "Installation | ServerInstallation":
        from backctl.infrastructure.host import new_user_id, now

        server = self._loaded.database_server
        if server is not None:
            from backctl.infrastructure.postgres.installation import ServerInstallation

            return ServerInstallation(
                database=self._server(server),
                keyring=self._loaded.keyring_file,
                given=self._given_keyring,
                passphrase=self._passphrase,
                allow_group_read=self._settings.keyring.allow_group_read,
                notice=self._notice,
                clock=now,
                new_id=new_user_id,
                addresses=self._addresses,
                bcrypt_cost=self._settings.passwords.bcrypt_cost,
                trace_id=self._trace_id,
            )
        from backctl.infrastructure.sqlite.installation import Installation

        return Installation(
            database=self._loaded.database_file,
            keyring=self._loaded.keyring_file,
            given=self._given_keyring,
            passphrase=self._passphrase,
            fresh_allowed=not self._loaded.names_storage,
            allow_group_read=self._settings.keyring.allow_group_read,
            timeout_us=self._settings.database.timeout,
            notice=self._notice,
            clock=now,
            new_id=new_user_id,
            addresses=self._addresses,
            bcrypt_cost=self._settings.passwords.bcrypt_cost,
            trace_id=self._trace_id,
        )

    def _known_keyring(self) -> "Keyring":
        """The keyring, whatever holds the database; nothing of a server is loaded for it."""
        if self._loaded.database_server is None:
            return self._installation.known_keyring()
        return self._key_source.current()

    @cached_property
    def _key_source(self) -> "KeyFile | GivenKeyring":
        given = self._given_keyring
        if given is not None:
            return given
        from backctl.infrastructure.keyring.file import KeyFile

        allow_group_read = self._settings.keyring.allow_group_read
        return KeyFile(self._loaded.keyring_file, allow_group_read=allow_group_read, passphrase=self._passphrase)

    @property
    def _given_keyring(self) -> "GivenKeyring | None":
        document = self._loaded.keyring_given
        if document is None:
            return None
        from backctl.infrastructure.keyring.given import GivenKeyring

        return GivenKeyring(self._loaded.keyring_shown, document.reveal, self._passphrase)

    @property
    def _passphrase(self) -> "Passphrase | None":
        passphrase = self._settings.keyring.passphrase
        return passphrase.reveal if passphrase.is_given else None

    def _server(self, url: str) -> "PostgresDatabase":
        from backctl.infrastructure.postgres.connection import Limits, PostgresDatabase
        from backctl.settings import redact_url

        database = self._settings.database
        limits = Limits(
            connect_us=min(database.connect_timeout, database.timeout),
            statement_us=min(database.statement_timeout, database.timeout),
            lock_us=min(database.lock_timeout, database.timeout),
        )
        return PostgresDatabase(url, label=redact_url(url), limits=limits)

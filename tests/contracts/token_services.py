"""The services for tests of tokens and sessions, on one store with a clock that tests control."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.contracts.conftest import BY, START, Store, new_id

from backctl.application.accounts import AccountService
from backctl.application.ports.storage import Reader
from backctl.application.sessions import SessionService
from backctl.application.token_views import IssuedTokens, VerifiedToken
from backctl.application.tokens import TokenService
from backctl.domain.access import AccessPolicy
from backctl.domain.keyring import Keyring
from backctl.domain.password_policy import PasswordPolicy
from backctl.domain.repositories import EVERY_EVENT
from backctl.domain.sessions import Lifetimes
from backctl.domain.values import Secret
from backctl.infrastructure.crypto.jwt_codec import JwtCodec
from backctl.infrastructure.crypto.password_hasher import BcryptHasher
from backctl.infrastructure.keyring.maker import make_key

once = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
"""For tests of the service that do not depend on the database."""

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
KEYS = Keyring((make_key("sign", START),))


@dataclass
class Services:
    """Both services on one store with a clock that tests control. `root` is an administrator, `ada` an account."""

    store: Store
    grace: int = 0
    leeway: int = 0
    codec: JwtCodec = field(init=False)
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.codec = JwtCodec(lambda: KEYS, issuer="here", audience="api", leeway=self.leeway)
        self.reader = self.store.open_reader()

    @property
    def tokens(self) -> TokenService:
        return TokenService(
            transactions=self.store.transactions,
            reader=lambda: self.reader,
            codec=self.codec,
            clock=lambda: self.store.now,
            new_id=new_id,
            issuer="here",
            audience="api",
            access_ttl=15 * MINUTE,
            lifetimes=Lifetimes(refresh=7 * DAY, session=30 * DAY, grace=self.grace),
            leeway=self.leeway,
        )

    @property
    def accounts(self) -> AccountService:
        return AccountService(
            transactions=self.store.transactions,
            reader=lambda: self.reader,
            addresses=self.store.addresses,
            hasher=lambda: BcryptHasher(4),
            passwords=lambda: PasswordPolicy(8, lambda password: False),
            access=AccessPolicy(),
            clock=lambda: self.store.now,
            new_id=new_id,
        )

    @property
    def sessions(self) -> SessionService:
        return SessionService(
            transactions=self.store.transactions,
            reader=lambda: self.reader,
            clock=lambda: self.store.now,
            issuer="here",
            leeway=self.leeway,
        )

    def allow(self, leeway: int) -> None:
        """Set the leeway in microseconds."""
        self.leeway = leeway
        self.__post_init__()

    def later(self, microseconds: int) -> None:
        self.store.now = self.store.now.plus(microseconds)

    def issue(self, ident: str = "ada", **options: Any) -> IssuedTokens:
        return self.tokens.issue(ident, by=BY, **options).value

    def pair(self) -> IssuedTokens:
        return self.issue(pair=True)

    def refresh(self, tokens: IssuedTokens) -> IssuedTokens:
        return self.tokens.refresh(refresh_of(tokens), by=BY).value

    def verify(self, tokens: IssuedTokens) -> VerifiedToken:
        return self.tokens.verify(access_of(tokens))

    def states(self, ident: str = "ada") -> list[tuple[str, str | None]]:
        return [(item.state, item.revoked_because) for item in self.sessions.page(ident).items]

    def events(self) -> list[str]:
        return [event.type for event in self.reader.stream_events(EVERY_EVENT)][3:]


def access_of(tokens: IssuedTokens) -> Secret:
    assert tokens.access_token is not None
    return tokens.access_token


def refresh_of(tokens: IssuedTokens) -> Secret:
    assert tokens.refresh_token is not None
    return tokens.refresh_token

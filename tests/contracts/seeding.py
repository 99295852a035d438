"""Plan and apply seed files on a store, and look at what was done."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.contracts.conftest import BY, Store, new_id
from tests.contracts.importing import FOREIGN_HASH, OTHER_HASH, OTHER_TOTP_SECRET, TOTP_SECRET, Members
from tests.contracts.test_replay import fold, row_of
from tests.contracts.token_services import SECOND

from backctl.application.account_steps import AccountSteps
from backctl.application.guard import Guard
from backctl.application.mfa_keys import MfaKeys
from backctl.application.ports.storage import Reader
from backctl.application.seeding.applying import Applying, ApplyOptions, ApplyReport
from backctl.application.seeding.plan import SavedPlan
from backctl.application.seeding.secret_sources import SecretSources
from backctl.application.seeding.service import SeedService
from backctl.application.views import Change
from backctl.domain.access import AccessPolicy
from backctl.domain.password_policy import PasswordPolicy
from backctl.domain.repositories import BY_CREATION, EVERY_EVENT, EVERY_USER, AccountKeys
from backctl.domain.seed import AccountState, Desired, Plan, Prune
from backctl.domain.user import User
from backctl.domain.values import Identity, Secret, UserId
from backctl.infrastructure.crypto.field_ciphers import KeyCiphers
from backctl.infrastructure.crypto.password_hasher import BcryptHasher
from backctl.infrastructure.files.secret_files import SecretFiles
from backctl.wiring.seeding import seed_files

ID = UserId("01a20000-0000-7000-8000-000000000001")
DAY = 86_400 * SECOND
PASSWORD, OTHER_PASSWORD = "correct horse", "battery staple"
VARIABLES = {
    "PASSWORD": PASSWORD,
    "OTHER_PASSWORD": OTHER_PASSWORD,
    "HASH": FOREIGN_HASH,
    "OTHER_HASH": OTHER_HASH,
    "TOTP": TOTP_SECRET,
    "OTHER_TOTP": OTHER_TOTP_SECRET,
    "WEAK": "short",
}


def env(name: str) -> Members:
    return {"env": name}


def factor(name: str) -> Members:
    return {"secret": env(name)}


def someone(name: str, **members: object) -> Members:
    return {"email": f"{name}@example.org", "username": name} | members


def people(count: int, **members: object) -> list[Members]:
    return [someone(f"user{number}", **members) for number in range(count)]


@dataclass
class Seeder:
    """The service on one store. `variables` is its environment."""

    store: Store
    variables: dict[str, str] = field(default_factory=dict)
    guard: Guard = field(default_factory=Guard)
    hasher: BcryptHasher = field(default_factory=lambda: BcryptHasher(4))
    meanwhile: Callable[[], object] = lambda: None
    """Called once, after the accounts were planned and before the first transaction."""
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = self.store.open_reader()

    @property
    def keys(self) -> MfaKeys:
        return MfaKeys(lambda: self.store.keyring, KeyCiphers)

    def service(self) -> SeedService:
        return SeedService(
            files=lambda: seed_files(self.store.addresses, AccessPolicy()),
            secrets=lambda: SecretSources(self.variables, SecretFiles()),
            applying=self._applying,
            reader=lambda: self.reader,
            addresses=self.store.addresses,
            access=AccessPolicy(),
            clock=lambda: self.store.now,
            installation_id=lambda: self.store.installation_id,
        )

    def _applying(self, secrets: SecretSources) -> Applying:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return Applying(
            transactions=self.store.transactions(guard=self.guard),
            reader=self.reader,
            accounts=AccountSteps(AccessPolicy(), lambda: self.store.now, new_id),
            hasher=self.hasher,
            passwords=lambda: PasswordPolicy(8, lambda password: False),
            mfa_keys=lambda: self.keys,
            secrets=secrets,
        )

    # Seed files.

    def read(self, *users: Members, name: str = "ci", **members: object) -> Desired:
        """Write a seed file with these users, and read it."""
        path = self.store.folder / f"{name}.json"
        path.write_text(json.dumps({"version": 1, "name": name, "users": users, **members}))
        return self.service().read([str(path)])

    def plan(self, *users: Members, prune: Prune | None = None, **members: Any) -> Plan:
        return self.service().plan(self.read(*users, **members), prune=prune)

    def apply(
        self,
        *users: Members,
        prune: Prune | None = None,
        options: ApplyOptions = ApplyOptions(),  # noqa: B008 - immutable
        dry_run: bool = False,
        **members: Any,
    ) -> Change[ApplyReport]:
        """Plan and apply a seed file."""
        desired = self.read(*users, **members)
        return self.applied(desired, self.service().plan(desired, prune=prune), options, prune, dry_run=dry_run)

    def applied(
        self,
        desired: Desired,
        plan: Plan,
        options: ApplyOptions = ApplyOptions(),  # noqa: B008 - immutable
        prune: Prune | None = None,
        *,
        dry_run: bool = False,
    ) -> Change[ApplyReport]:
        return self.service().apply(desired, plan, options, prune=prune, by=BY, dry_run=dry_run)

    def save(self, *users: Members, **options: Any) -> SavedPlan:
        """Return a plan that was saved and loaded."""
        text = b"".join(self.service().saved(self.plan(*users, **options))).decode()
        return self.service().load(text)

    def apply_saved(
        self,
        saved: SavedPlan,
        options: ApplyOptions = ApplyOptions(),  # noqa: B008 - immutable
    ) -> Change[ApplyReport]:
        return self.service().apply_saved(saved, options, by=BY)

    # What is stored.

    def user(self, ident: str) -> User:
        with self.store.work() as work:
            return work.users.get(Identity.parse(ident))

    def states(self) -> dict[str, AccountState]:
        """Return all accounts by their usernames."""
        with self.reader.account_snapshot() as snapshot:
            keys = [AccountKeys(view.id, None, None) for view in self.reader.stream_users(EVERY_USER, BY_CREATION)]
            return {state.username: state for state in snapshot.holders(keys)}

    def secret_of(self, ident: str) -> bytes | None:
        with self.store.work() as work:
            user = work.users.get(Identity.parse(ident))
            enrolment = work.second_factors.of(user.id)
        return None if enrolment is None else self.keys.opened(enrolment, user.id)

    def events(self) -> list[tuple[str, Mapping[str, object]]]:
        found = self.reader.stream_events(EVERY_EVENT)
        return [(event.type, event.data or {}) for event in found if event.type != "InstallationCreated"]

    def event_types(self) -> list[str]:
        return [type_ for type_, _ in self.events()]

    def counts(self) -> Counter[str]:
        return Counter(self.event_types())

    def fits(self, ident: str, password: str) -> bool:
        return BcryptHasher(4).verify(Secret(password), self.user(ident).password_hash)


def done(report: ApplyReport) -> dict[str, int]:
    """Return the numbers of a report that are not zero."""
    names = ("created", "updated", "opened", "closed", "deleted", "unchanged")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def replayed(seeder: Seeder) -> None:
    """Replay the events, and compare every account with them."""
    found = {view.id: row_of(view) for view in seeder.reader.stream_users(EVERY_USER, BY_CREATION)}
    assert fold(seeder.reader.stream_events(EVERY_EVENT)) == found
    assert seeder.reader.verify_chain(seeder.store.audit_keys).intact

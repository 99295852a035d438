"""Exports with secrets: decrypted second factors, an event before the first piece, and nothing for others."""

import json
from typing import Any

import pytest
from sqlalchemy import text
from tests.contracts.conftest import BY, START, Store, a_user

from backctl.application.guard import Guard
from backctl.application.mfa_keys import MfaKeys
from backctl.application.transfer.exporting import NO_SECRETS, ExportService, Secrets
from backctl.domain.errors import ConfirmationRequired, MfaSecretUnusable
from backctl.domain.key import Key
from backctl.domain.keyring import Keyring
from backctl.domain.mfa import Enrolment
from backctl.domain.one_time_codes import DEFAULT_TOTP, TotpSettings
from backctl.domain.repositories import EVERY_EVENT, EVERY_USER, UserCriteria
from backctl.domain.user import User
from backctl.domain.values import Identity
from backctl.infrastructure.crypto.field_ciphers import KeyCiphers

ALL = Secrets(hashes=True, mfa=True)
SECRET = b"12345678901234567890"


def keys_of(ring: Keyring) -> MfaKeys:
    return MfaKeys(lambda: ring, KeyCiphers)


def service_of(store: Store, *, ring: Keyring | None = None, guard: Guard | None = None) -> ExportService:
    reader, keys = store.open_reader(), keys_of(ring or store.keyring)
    return ExportService(lambda: store.transactions(guard=guard), lambda: reader, lambda: keys)


def give_factor(store: Store, user: User, keys: MfaKeys, settings: TotpSettings = DEFAULT_TOTP) -> None:
    with store.work() as work:
        found = work.users.get(Identity("id", user.id))
        found.enroll_mfa(algorithm=settings.algorithm, digits=settings.digits, period=settings.period, now=START)
        found.confirm_mfa(now=START)
        sealed, kid = keys.seal(SECRET, user.id)
        enrolment = Enrolment(sealed, kid, settings, enrolled_at=START, confirmed_at=START.plus(1), last_used_step=7)
        work.second_factors.enroll(user.id, enrolment)
        work.commit()


def events(store: Store) -> list[tuple[str, object]]:
    found = store.open_reader().stream_events(EVERY_EVENT)
    return [(event.subject, event.data) for event in found if event.type == "AccountsExported"]


def lines(service: ExportService, criteria: UserCriteria = EVERY_USER, **options: Any) -> list[Any]:
    return [json.loads(line) for line in b"".join(service.stream(criteria, **options)).splitlines()]


@pytest.fixture
def ada(store: Store) -> User:
    ada = a_user()
    store.add(ada, a_user("bob", password_hash=None))
    give_factor(store, ada, keys_of(store.keyring), TotpSettings("sha256", 8, 60))
    return ada


def test_an_export_without_secrets_has_none_and_records_nothing(store: Store, ada: User) -> None:
    first, second = lines(service_of(store))
    assert (first["id"], first["username"], second["username"]) == (ada.id, "ada", "bob")
    assert not any("hash" in name or "totp" in name or "mfa" in name for name in first)
    assert "$2b$" not in str(first)
    assert events(store) == []
    assert not service_of(store).record(NO_SECRETS, by=BY).changed


def test_hashes_and_second_factors_are_exported_and_recorded(store: Store, ada: User) -> None:
    first, second = lines(service_of(store), secrets=ALL, by=BY)
    assert (first["password_hash"], first["password_imported"]) == ("$2b$04$not-a-real-hash", False)
    factor = {name: value for name, value in first.items() if name.startswith(("mfa", "totp"))}
    assert factor == {
        "mfa": "on",
        "totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "totp_algorithm": "sha256",
        "totp_digits": 8,
        "totp_period": 60,
        "totp_last_used_step": 7,
        "mfa_enrolled_at": "2026-11-22T09:00:00.000000Z",
        "mfa_confirmed_at": "2026-11-22T09:00:00.000001Z",
    }
    assert {name: second[name] for name in factor} == {name: "off" if name == "mfa" else None for name in factor}
    assert second["password_hash"] is None
    assert events(store) == [("accounts", {"hashes": True, "mfa": True})]


@pytest.mark.parametrize("secrets", [Secrets(hashes=True), Secrets(mfa=True)])
def test_the_event_says_which_secrets_were_exported(store: Store, ada: User, secrets: Secrets) -> None:
    (first, _) = lines(service_of(store), secrets=secrets, by=BY)
    assert ("password_hash" in first, "totp_secret" in first) == secrets
    assert events(store) == [("accounts", {"hashes": secrets.hashes, "mfa": secrets.mfa})]


def test_the_event_is_durable_before_the_first_piece_and_not_before_it_is_asked_for(store: Store, ada: User) -> None:
    pieces = service_of(store).stream(form="csv", secrets=ALL, by=BY)
    assert events(store) == []
    assert next(pieces).startswith(b"id,email,")
    assert len(events(store)) == 1


def test_an_export_with_secrets_names_who_made_it(store: Store, ada: User) -> None:
    with pytest.raises(ValueError, match="by"):
        service_of(store).stream(secrets=ALL)


def test_a_refused_confirmation_exports_and_records_nothing(store: Store, ada: User) -> None:
    class Refusing(Guard):
        is_due = True

        def ask(self) -> None:
            raise ConfirmationRequired("no")

    service = service_of(store, guard=Refusing())
    with pytest.raises(ConfirmationRequired):
        next(service.stream(secrets=ALL, by=BY))
    assert events(store) == []
    assert len(lines(service)) == 2


def test_a_dry_run_records_nothing(store: Store, ada: User) -> None:
    assert service_of(store).record(ALL, by=BY, dry_run=True).changed
    assert events(store) == []


def test_secrets_under_a_retired_key_are_exported(store: Store, ada: User) -> None:
    newer = Key.symmetric("encrypt-2", "encrypt", bytes([9]) * 32, created="2026-11-22T09:00:00Z", state="standby")
    ring = store.keyring.add(newer).promote("encrypt-2", now=START, overlap=None)
    bob = store.open_reader().find_user(Identity.parse("bob"))
    assert bob is not None
    with store.work() as work:
        user = work.users.get(Identity("id", bob.id))
    give_factor(store, user, keys_of(ring))
    found = lines(service_of(store, ring=ring), secrets=Secrets(mfa=True), by=BY)
    assert [account["totp_secret"] for account in found] == ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"] * 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE mfa_secrets SET kid = 'encrypt-0'", "account 'ada': the second factor is encrypted under the key"),
        (
            "UPDATE mfa_secrets SET secret = 'bk1.encrypt-1.c2VhbGVk'",
            "account 'ada': the secret .* cannot be decrypted",
        ),
        ("DELETE FROM mfa_secrets", "account 'ada': the secret of the second factor is missing"),
    ],
)
def test_an_unusable_secret_names_its_account(store: Store, ada: User, damage: str, message: str) -> None:
    with store.work() as work:
        work.session.execute(text(damage))
        work.commit()
    service = service_of(store)
    with pytest.raises(MfaSecretUnusable, match=message) as error:
        lines(service, secrets=ALL, by=BY)
    assert "user mfa disable" in str(error.value.hint)
    assert len(lines(service, secrets=Secrets(hashes=True), by=BY)) == 2


def test_progress_counts_accounts(store: Store, ada: User) -> None:
    done = list[int]()
    assert len(lines(service_of(store), UserCriteria(search="ada"), progress=done.append)) == 1
    assert done == [1]

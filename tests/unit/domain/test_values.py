"""Instants, secrets, actors, e-mail addresses and identities; usernames have a separate file."""

import copy
import json
import pickle
import re
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backctl.domain.errors import InvalidEmail, InvalidIdentity, InvalidInput
from backctl.domain.values import Actor, EmailAddress, Identity, Instant, PasswordHash, Secret, checked_reason, folded

HASH = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
ID = "01935b1e-7c3a-7def-8abc-0123456789ab"
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999

relaxed = settings(deadline=None, max_examples=200)


@relaxed
@given(st.integers(EARLIEST, LATEST))
@example(EARLIEST)
@example(LATEST)
@example(-1)
def test_an_instant_survives_its_text(stamp: int) -> None:
    text = Instant(stamp).isoformat()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert Instant.parse(text) == stamp
    assert str(Instant(stamp)) == f"{Instant(stamp)}" == text
    assert json.dumps(Instant(stamp)) == str(int(stamp))


@relaxed
@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),  # noqa: DTZ001 - zones are added below
    st.integers(-1439, 1439),
)
def test_an_offset_moves_the_instant_and_nothing_else(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert Instant.parse(moment.isoformat()) == expected
    assert Instant.parse(moment.isoformat(timespec="microseconds").replace("T", " ")) == expected


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # RFC 3339 §5.8
        ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520000Z"),
        ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57.000000Z"),
        ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870000Z"),
        # RFC 3339 §5.6 allows lower-case letters and a space, and §4.3 the unknown local offset
        ("1985-04-12t23:20:50.52z", "1985-04-12T23:20:50.520000Z"),
        ("1985-04-12 23:20:50Z", "1985-04-12T23:20:50.000000Z"),
        ("1985-04-12T23:20:50-00:00", "1985-04-12T23:20:50.000000Z"),
        ("2026-11-22T09:24:02.123456999Z", "2026-11-22T09:24:02.123456Z"),
        ("2026-11-22", "2026-11-22T00:00:00.000000Z"),
        ("2024-02-29", "2024-02-29T00:00:00.000000Z"),
        ("0001-01-01", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_rfc_3339_and_bare_dates_are_read(text: str, canonical: str) -> None:
    assert Instant.parse(text).isoformat() == canonical


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "0", "1795339442", "2026-11-22T09:24:02", "2026-11-22T09:24:02.5", "2026-11-22T09:24Z",
        "2026-W47-7", "2026-W47-1T09:24:02Z", "2026-326", "20261122", "20261122T092402Z", "2026-11-22T092402Z",
        "2026-11-22T09Z", "2026-11-22x09:24:02Z", "2026-11-22T09:24:02,5Z", "2026-11-22T09:24:02.Z",
        "2026-11-22T09:24:02+01", "2026-11-22T09:24:02+0100", "2026-11-22T09:24:02+00:00:30",
        "2026-11-22T09:24:02+24:00", "2026-11-22T09:24:02+01:60", "2026-11-22T24:00:00Z", "2026-11-22T09:60:02Z",
        "1990-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00", "2026-11-22T09:24:02 Z", "2026-11-22T09:24:02Z\n",
        " 2026-11-22", "2026-11-22\n", "2026-01- 2", "2026-1-002", "2026-00-10", "2026-13-01", "2026-11-31",
        "2026-02-29", "1900-02-29", "0000-01-01", "+2026-11-22", "12026-11-22T00:00:00Z", "2026-11-22Z",
        "2026\u201311\u201322", "２０２６-11-22", "٢٠٢٦-11-22", "2026-11-22T09:24:02−01:00",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2026-11-22T09:24:02.\ud800Z", "9" * 1_000_000,
    ],
)  # fmt: skip
def test_anything_but_rfc_3339_is_no_instant(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Instant.parse(text)
    assert refusal.value.hint
    assert len(refusal.value.message) < 1000


@relaxed
@given(st.from_regex(r"\A[0-9]{4}-?[0-9W]{2}-?[0-9]{1,2}[ Tt]?[0-9:.,]{0,12}[Zz+-]?[0-9:]{0,6}\Z"))
def test_whatever_is_read_as_an_instant_is_rfc_3339_and_can_be_written_again(text: str) -> None:
    try:
        instant = Instant.parse(text)
    except InvalidInput:
        return
    assert re.fullmatch(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?", text, re.ASCII)
    assert Instant.parse(instant.isoformat()) == instant


@dataclass
class Holder:
    secret: Secret


def shown(value: object) -> list[str]:
    return [repr(value), str(value), f"{value}", f"{value!r}", f"{value!s}", f"{[value]} {(value,)}", "%s" % value]  # noqa: UP031


@pytest.mark.parametrize("value", [Secret("correct horse"), PasswordHash(HASH)])
def test_a_secret_shows_itself_nowhere(value: Secret | PasswordHash) -> None:
    hidden = "correct horse" if isinstance(value, Secret) else HASH
    texts = shown(value)
    failures: list[Callable[[], object]] = [
        lambda: pickle.dumps(value),
        lambda: copy.deepcopy(value),
        lambda: copy.copy(value),
        lambda: json.dumps(value),
        lambda: format(value, ">20"),
        lambda: bytes(value),  # type: ignore[call-overload]
    ]
    for failing in failures:
        with pytest.raises(TypeError) as error:
            failing()
        texts.append(str(error.value))
    assert not any(hidden in text for text in texts)


def test_a_secret_inside_a_dataclass_is_not_spread_by_asdict() -> None:
    holder = Holder(Secret("correct horse"))
    assert "correct" not in repr(holder)
    with pytest.raises(TypeError, match="not pickled") as error:
        asdict(holder)
    assert "correct" not in str(error.value)


def test_secrets_are_not_compared_by_accident() -> None:
    assert Secret("x") != Secret("x")
    assert Secret("x").reveal() == "x"
    assert not hasattr(Secret("x"), "__dict__")


@pytest.mark.parametrize("reason", ["", "x" * 1001, "a\nb", "a\u202eb", "\ud800"])
def test_a_reason_is_printable_text_or_none(reason: str) -> None:
    with pytest.raises(InvalidInput):
        checked_reason(reason)
    assert checked_reason(None) is None
    assert checked_reason("left the team") == "left the team"


@pytest.mark.parametrize("label", ["", "x" * 201, "a\nb", "a\x1b[2J", "a\u202eb", "a\u200bb", "\ud800", "a\u2028b"])
def test_an_actor_has_short_printable_names(label: str) -> None:
    for names in ((label, "root", "host"), ("me", label, "host"), ("me", "root", label)):
        with pytest.raises(InvalidInput):
            Actor(*names)
    assert Actor("x" * 200, "root", "host").label == "x" * 200


@pytest.mark.parametrize(
    "text",
    ["", "@", "ada", "ada@", "@example.org", "ada @example.org", "ada@exam ple.org", "ada\u00a0@example.org",
     "ada@example.org\n", "a\x00da@example.org", "ada\u202e@example.org", "ada\u200b@example.org", "\ud800@example.org",
     "a" * 243 + "@example.org", "é" * 122 + "@example.org"],
)  # fmt: skip
def test_an_address_that_breaks_an_invariant_is_refused(text: str) -> None:
    with pytest.raises(InvalidEmail):
        EmailAddress.of(text)


@relaxed
@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
@example("Ada", "EXAMPLE.org")
@example("STRASSE", "straße.example")
@example("q\u0307\u0323", "example.org")
def test_an_address_has_one_key_whatever_its_case_or_form(local: str, domain: str) -> None:
    try:
        address = EmailAddress.of(f"{local}@{domain}")
    except InvalidEmail:
        return
    assert folded(address.key, "NFC") == address.key
    assert address.key.rpartition("@")[2] == address.domain
    for form in ("NFC", "NFD"):
        assert folded(unicodedata.normalize(form, address.address), "NFC") == address.key
    assert folded(address.address.casefold(), "NFC") == address.key
    assert Identity.parse(address.address).kind == "email"


def test_254_octets_of_address_are_enough_and_accepted() -> None:
    assert EmailAddress.of("a" * 242 + "@example.org").domain == "example.org"


@pytest.mark.parametrize(
    ("text", "kind", "kept"),
    [
        (ID, "id", ID),
        (ID.upper(), "id", ID),
        (ID + "@example.org", "email", ID + "@example.org"),
        ("@", "email", "@"),
        ("Ada", "username", "Ada"),
        (ID.replace("-", ""), "username", ID.replace("-", "")),
        (f"{{{ID}}}", "username", f"{{{ID}}}"),
        (ID[:-1] + "g", "username", ID[:-1] + "g"),
        (ID[:-1] + "１", "username", ID[:-1] + "１"),
    ],
)
def test_an_identity_is_read_by_shape_alone(text: str, kind: str, kept: str) -> None:
    assert Identity.parse(text) == Identity(kind, kept)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "ada\n", ID + "\n", "a\u00a0b", "a\u3000b", "\x00", "\ud800", "x" * 321]
)
def test_what_can_name_no_account_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdentity) as refusal:
        Identity.parse(text)
    assert len(refusal.value.message.splitlines()) == 1
    assert len(refusal.value.message) < 200

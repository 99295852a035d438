"""One-time codes: the vectors of RFC 4226 and RFC 6238, single use, and codes that people can type."""

import base64
import hmac
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import InvalidInput
from backctl.domain.one_time_codes import (
    DEFAULT_TOTP,
    SECRET_BYTES,
    Algorithm,
    TotpSettings,
    decoded_secret,
    encoded_secret,
    fitting_step,
    hotp,
    latest_step,
    otpauth_uri,
    recovery_code_meant,
    recovery_codes,
    recovery_digest,
    totp,
)
from backctl.domain.values import Instant

SECRET = b"12345678901234567890"
SECOND = 1_000_000


def at(seconds: float) -> Instant:
    return Instant(int(seconds * SECOND))


# RFC 4226, appendix D.
@pytest.mark.parametrize(
    ("counter", "code"),
    list(
        enumerate(["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"])
    ),
)
def test_the_codes_of_rfc_4226(counter: int, code: str) -> None:
    assert hotp(SECRET, counter) == code


# RFC 6238, appendix B; each secret is as long as the digest (erratum 2866).
RFC6238 = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]
SECRETS: dict[Algorithm, bytes] = {
    "sha1": SECRET,
    "sha256": (SECRET * 2)[:32],
    "sha512": (SECRET * 4)[:64],
}


@pytest.mark.parametrize(("seconds", "sha1", "sha256", "sha512"), RFC6238)
def test_the_codes_of_rfc_6238(seconds: int, sha1: str, sha256: str, sha512: str) -> None:
    codes: dict[Algorithm, str] = {"sha1": sha1, "sha256": sha256, "sha512": sha512}
    for algorithm, code in codes.items():
        settings = TotpSettings(algorithm, digits=8)
        assert totp(SECRETS[algorithm], at(seconds), settings) == code
        step = fitting_step(SECRETS[algorithm], code, now=at(seconds), last_used=None, settings=settings)
        assert step == seconds // 30


@pytest.mark.parametrize(
    ("seconds", "step"), [(0, 0), (29.999999, 0), (30, 1), (59.999999, 1), (60, 2), (1111111109, 0x23523EC)]
)
def test_a_step_takes_thirty_seconds(seconds: float, step: int) -> None:
    assert DEFAULT_TOTP.step_of(at(seconds)) == step


@pytest.mark.parametrize(("ahead", "fits"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_counts_one_step_either_side(ahead: int, fits: bool) -> None:
    code = hotp(SECRET, 100 + ahead)
    found = fitting_step(SECRET, code, now=at(100 * 30 + 15), last_used=None)
    assert found == (100 + ahead if fits else None)


@pytest.mark.parametrize(("seconds", "fits"), [(2969.999999, False), (2970, True), (3059.999999, True), (3060, False)])
def test_the_window_ends_to_the_microsecond(seconds: float, fits: bool) -> None:
    # Step 100 begins at 3000 s: its code is valid from 2970 s until 3060 s.
    assert (fitting_step(SECRET, hotp(SECRET, 100), now=at(seconds), last_used=None) == 100) == fits


def test_a_step_that_was_used_and_all_before_it_count_no_more() -> None:
    now = at(100 * 30)
    for used in (99, 100, 101):
        for step in (99, 100, 101):
            found = fitting_step(SECRET, hotp(SECRET, step), now=now, last_used=used)
            assert found == (step if step > used else None)


def test_a_step_that_was_used_while_the_clock_was_ahead_does_not_lock_the_account_out() -> None:
    now, code = at(100 * 30), hotp(SECRET, 100)
    latest = 100 + 10 + 1  # five minutes, and the step after the current one
    assert latest_step(now) == latest
    assert fitting_step(SECRET, code, now=now, last_used=latest) is None
    assert fitting_step(SECRET, code, now=now, last_used=latest + 1) == 100


def test_of_two_steps_with_the_same_code_it_is_the_later() -> None:
    # The first two adjacent steps with the same code, found by search.
    settings = TotpSettings()
    step = next(n for n in range(10_000_000) if hotp(SECRET, n) == hotp(SECRET, n + 1))
    code = hotp(SECRET, step)
    now = at(step * 30)
    assert fitting_step(SECRET, code, now=now, last_used=None, settings=settings) == step + 1
    assert fitting_step(SECRET, code, now=now, last_used=step + 1, settings=settings) is None


@pytest.mark.parametrize(
    "code", ["", "75522", "7552244", "75522a", "-55224", "+75522", "755224\n", "７５５２２４", "٧٥٥٢٢٤", "7552 2 4x"]
)
def test_what_is_no_code_fits_nothing(code: str) -> None:
    assert fitting_step(SECRET, code, now=at(0), last_used=None) is None


def test_a_code_may_be_typed_with_spaces() -> None:
    assert fitting_step(SECRET, "755 224 ", now=at(0), last_used=None) == 0


def test_every_step_of_the_window_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def counted(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", counted)
    for code, used in ((hotp(SECRET, 99), None), (hotp(SECRET, 101), 101), ("000000", None)):
        compared.clear()
        fitting_step(SECRET, code, now=at(3000), last_used=used)
        assert compared == [hotp(SECRET, step) for step in (99, 100, 101)]


@pytest.mark.parametrize(
    ("algorithm", "digits", "period"),
    [
        ("md5", 6, 30),
        ("SHA1", 6, 30),
        ("sha1", 5, 30),
        ("sha1", 9, 30),
        ("sha1", 6, 9),
        ("sha1", 6, 301),
        ("sha1", 6, 0),
    ],
)
def test_settings_that_no_authenticator_has_are_refused(algorithm: Algorithm, digits: int, period: int) -> None:
    with pytest.raises(InvalidInput):
        TotpSettings(algorithm, digits, period)


# The secret.


def test_a_secret_is_written_in_base32_without_padding() -> None:
    assert encoded_secret(SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert encoded_secret(b"0123456789abcdef") == "GAYTEMZUGU3DOOBZMFRGGZDFMY"


@given(st.binary(min_size=16, max_size=64))
def test_a_secret_is_read_back_by_base32(secret: bytes) -> None:
    text = encoded_secret(secret)
    assert base64.b32decode(text + "=" * (-len(text) % 8)) == secret
    assert decoded_secret(text) == decoded_secret(text.lower()) == secret


@pytest.mark.parametrize("text", ["A", "ABC", "0189", "A=BC", "é" * 8, "GEZDGNB\n"])
def test_a_secret_that_is_not_base32_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"digit|padding|ASCII") as caught:
        decoded_secret(text)
    assert text not in str(caught.value)


# The URI.


def test_the_uri_of_an_authenticator() -> None:
    # The example of the Key Uri Format page, without parameters that have default values.
    secret = base64.b32decode("HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ")
    assert otpauth_uri(secret, issuer="ACME Co", account="john.doe@email.com") == (
        "otpauth://totp/ACME%20Co:john.doe@email.com?secret=HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ&issuer=ACME%20Co"
    )


@pytest.mark.parametrize(
    ("settings", "query"),
    [
        (TotpSettings("sha1", 6, 30), ""),
        (TotpSettings("sha512", 6, 30), "&algorithm=SHA512"),
        (TotpSettings("sha1", 8, 30), "&digits=8"),
        (TotpSettings("sha1", 6, 60), "&period=60"),
    ],
)
def test_the_uri_names_what_is_not_the_default_of_its_format(settings: TotpSettings, query: str) -> None:
    uri = otpauth_uri(SECRET, issuer="acme", account="ada", settings=settings)
    assert uri == f"otpauth://totp/acme:ada?secret={encoded_secret(SECRET)}&issuer=acme{query}"


@given(
    st.text(st.characters(categories=["L", "N", "S", "P", "Zs"], exclude_characters=":"), min_size=1).filter(
        str.isprintable
    ),
    st.text(st.characters(categories=["L", "N", "S", "P"], exclude_characters=":"), min_size=1).filter(str.isprintable),
)
def test_whatever_the_names_are_the_uri_is_read_back(issuer: str, account: str) -> None:
    settings = TotpSettings("sha256", 8, 60)
    uri = otpauth_uri(SECRET, issuer=issuer, account=account, settings=settings)
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("otpauth", "totp", "")
    assert [unquote(name) for name in parts.path.removeprefix("/").split(":")] == [issuer, account]
    assert parse_qs(parts.query, strict_parsing=True) == {
        "secret": [encoded_secret(SECRET)],
        "issuer": [issuer],
        "algorithm": ["SHA256"],
        "digits": ["8"],
        "period": ["60"],
    }


@pytest.mark.parametrize(
    ("issuer", "account"), [("", "ada"), ("a:b", "ada"), ("acme", ""), ("acme", "a:b"), ("a\n", "x")]
)
def test_names_that_would_be_read_otherwise_are_refused(issuer: str, account: str) -> None:
    with pytest.raises(InvalidInput):
        otpauth_uri(SECRET, issuer=issuer, account=account)


# Recovery codes.


def test_recovery_codes_are_ten_of_eighty_bits_in_groups_of_four() -> None:
    codes = recovery_codes(bytes(range(100)))
    assert len(codes) == len(set(codes)) == 10
    assert codes[0] == "000G-40R4-0M30-E209"  # bytes 00 01 … 09, converted by hand, 5 bits per character
    assert recovery_codes(b"\xff" * 100)[0] == "ZZZZ-ZZZZ-ZZZZ-ZZZZ"
    for code in codes:
        assert recovery_code_meant(code) == code


@given(st.binary(min_size=100, max_size=100))
def test_no_bit_of_a_recovery_code_is_lost(randomness: bytes) -> None:
    digits = {character: value for value, character in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
    numbers = []
    for code in recovery_codes(randomness):
        number = 0
        for character in code.replace("-", ""):
            number = number * 32 + digits[character]
        numbers.append(number.to_bytes(10))
    assert b"".join(numbers) == randomness


@pytest.mark.parametrize("length", [0, 10, 99, 101])
def test_another_number_of_random_bytes_is_a_fault(length: int) -> None:
    with pytest.raises(ValueError, match="100 bytes"):
        recovery_codes(bytes(length))


@pytest.mark.parametrize(
    "typed", ["10AB-0000-1111-ZZZZ", "ioab oooo LlIi zzzz", " 10ab0000-1111zzzz ", "1OAB-OOOO-IIII-ZZZZ"]
)
def test_a_recovery_code_is_understood_however_it_is_typed(typed: str) -> None:
    assert recovery_code_meant(typed) == "10AB-0000-1111-ZZZZ"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "123456",
        "10AB-0000-1111-ZZZ",
        "10AB-0000-1111-ZZZZZ",
        "10AB-0000-1111-ZZZU",
        "10AB_0000_1111_ZZZZ",
        "ſ" * 16,
    ],
)
def test_what_is_no_recovery_code_is_none(typed: str) -> None:
    assert recovery_code_meant(typed) is None


def test_what_is_stored_of_a_recovery_code_is_bound_to_key_and_account() -> None:
    key, user, code = b"k" * 32, "0192f3a0-0000-7000-8000-000000000000", "10AB-0000-1111-ZZZZ"
    stored = recovery_digest(key, user, code)
    message = b"backctl-recovery-code-1\0" + user.encode() + b"\0" + code.encode()
    assert stored == hmac.new(key, message, "sha256").hexdigest()
    others = {recovery_digest(b"l" * 32, user, code), recovery_digest(key, user[:-1] + "1", code)}
    others.add(recovery_digest(key, user, "10AB-0000-1111-ZZZY"))
    assert len(others | {stored}) == 4


def test_a_secret_has_the_length_that_the_rfc_recommends() -> None:
    assert SECRET_BYTES * 8 == 160

"""Password hashes: published vectors, no truncation, hashing in a background thread, and the calibrated cost."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.accepted_hashes import accepted

from backctl.domain.errors import InvalidPasswordHash, PasswordHashUnsupported
from backctl.domain.values import PasswordHash, Secret
from backctl.infrastructure.crypto.password_hasher import BcryptHasher, calibrate, hashed, prehashed

MILLISECOND = 1_000_000
UNICODE = "t\u00e1\u0411\u2113\u0259"  # passlib.tests.utils: UPASS_TABLE

# passlib 1.7.4, passlib/tests/test_handlers_bcrypt.py, _bcrypt_sha256_test.known_correct_hashes, "v2 format".
PASSLIB = [
    ("", "$bcrypt-sha256$v=2,t=2b,r=5$E/e/2AOhqM5W/KJTFQzLce$WFPIZKtDDTriqWwlmRFfHiOTeheAZWe"),
    ("password", "$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"),
    (UNICODE, "$bcrypt-sha256$v=2,t=2b,r=5$.US1fQ4TQS.ZTz/uJ5Kyn.$pzzgp40k8reM1CuQb03PvE0IDPQSdV6"),
    ("abc123" * 12, "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$zu1cloESVFIOsUIo7fCEgkdHaI9SSue"),
    ("abc123" * 12 + "qwr", "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$CBF9csfEdW68xv3DwE6xSULXMtqEFP."),
    ("abc123" * 12 + "xyz", "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$zC/1UDUG2ofEXB6Onr2vvyFzfhEOS3S"),
]


@pytest.mark.parametrize(("password", "encoded"), PASSLIB)
def test_the_prehash_agrees_with_passlib(password: str, encoded: str) -> None:
    _, _, parameters, salt, _ = encoded.split("$")
    cost = int(parameters.rpartition("=")[2])
    assert prehashed(password.encode(), f"$2b${cost:02d}${salt}".encode()).encoded == encoded


@pytest.mark.parametrize(("password", "encoded"), [vector for vector in PASSLIB if len(vector[0].encode()) > 72])
def test_a_password_that_bcrypt_would_cut_off_takes_the_prehash(password: str, encoded: str) -> None:
    assert hashed(Secret(password), 5, salt=encoded.split("$")[3]).encoded == encoded


# Openwall's crypt_blowfish 1.3, wrapper.c: tests[], the "$2b$"-compatible entries.
@pytest.mark.parametrize(
    ("password", "salt", "encoded"),
    [
        ("U*U", "CCCCCCCCCCCCCCCCCCCCC.", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("U*U*", "CCCCCCCCCCCCCCCCCCCCC.", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
        ("U*U*U", "XXXXXXXXXXXXXXXXXXXXXO", "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    ],
)
def test_a_short_password_is_plain_bcrypt(password: str, salt: str, encoded: str) -> None:
    assert hashed(Secret(password), 5, salt=salt).encoded == encoded


@pytest.mark.parametrize("password", ["a" * 71, "a" * 72, "ä" * 36, "日" * 24])
def test_up_to_72_bytes_are_plain_bcrypt(password: str) -> None:
    encoded = BcryptHasher(4).begin(Secret(password))().encoded
    assert encoded.startswith("$2b$04$")
    assert bcrypt.checkpw(password.encode(), encoded.encode())


@pytest.mark.parametrize("password", ["a" * 73, "ä" * 36 + "a", "日" * 25, "a" * 4096])
def test_more_than_72_bytes_are_never_truncated(password: str) -> None:
    encoded = BcryptHasher(4).begin(Secret(password))().encoded
    _, scheme, parameters, salt, digest = encoded.split("$")
    assert (scheme, parameters, len(salt), len(digest)) == ("bcrypt-sha256", "v=2,t=2b,r=4", 22, 31)
    assert hashed(Secret(password), 4, salt=salt).encoded == encoded
    assert hashed(Secret(password + "x"), 4, salt=salt).encoded != encoded
    assert hashed(Secret(password[:-1] + "x"), 4, salt=salt).encoded != encoded


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80), st.integers(0, 79))
def test_every_byte_counts(password: str, at: int) -> None:
    at %= len(password)
    other = password[:at] + ("b" if password[at] != "b" else "c") + password[at + 1 :]
    salt = "abcdefghijklmnopqrstuu"
    assert hashed(Secret(password), 4, salt=salt) != hashed(Secret(other), 4, salt=salt)


def test_every_hash_has_a_salt_of_its_own() -> None:
    hasher = BcryptHasher(4)
    assert hasher.begin(Secret("correct horse"))() != hasher.begin(Secret("correct horse"))()


def test_hashing_goes_on_beside_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    hash_password = bcrypt.hashpw

    def held(password: bytes, salt: bytes) -> bytes:
        assert go_on.wait(10)
        return hash_password(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", held)
    result = BcryptHasher(4).begin(Secret("correct horse"))  # returns while the hash is blocked
    go_on.set()
    assert bcrypt.checkpw(b"correct horse", result().encoded.encode())
    assert result() == result()


def test_what_fails_beside_the_caller_reaches_him() -> None:
    result = BcryptHasher(99).begin(Secret("correct horse"))
    with pytest.raises(ValueError, match="rounds"):
        result()


def test_many_passwords_are_hashed_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    hash_password = bcrypt.hashpw
    turns = itertools.count()

    def held(password: bytes, salt: bytes) -> bytes:
        time.sleep(0.01 * (next(turns) % 3 == 0))  # later ones finish before earlier ones
        return hash_password(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", held)
    passwords = [Secret(f"correct horse {number}") for number in range(30)]
    made = BcryptHasher(4).hash_all([(password, None) for password in passwords])
    assert len({each.encoded for each in made if each is not None}) == len(passwords)
    for password, each in zip(passwords, made, strict=True):
        assert each is not None
        assert bcrypt.checkpw(password.reveal().encode(), each.encoded.encode())
        assert not each.imported


def test_no_password_takes_no_thread() -> None:
    before = threading.active_count()
    assert BcryptHasher(4).hash_all([]) == []
    assert threading.active_count() == before


def test_a_stored_hash_that_fits_is_not_made_again() -> None:
    hasher = BcryptHasher(4)
    good, long = Secret("correct horse"), Secret("x" * 100)
    stored, older = hasher.begin(good)(), hashed(good, 5)
    foreign = PasswordHash("pbkdf2_sha256$1000$salt$boRToEKoQr22LeDTyHDsEkHpDsDOTyWJq16HknEiweU=", imported=True)
    cut = PasswordHash(bcrypt.hashpw(b"x" * 72, b"$2a$04$" + b"a" * 21 + b"u").decode(), imported=True)
    jobs: list[tuple[Secret, PasswordHash | None]] = [
        (good, stored),
        (Secret("another horse"), stored),
        (good, None),
        (good, older),
        (good, foreign),
        (long, cut),
        (long, PasswordHash(cut.encoded)),
        (good, PasswordHash("someone changed the column")),
    ]
    assert [made is None for made in hasher.hash_all(jobs)] == [True, False, False, True, True, True, False, False]


def test_a_failure_among_many_reaches_the_caller_and_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[int]()

    def verify(_: BcryptHasher, password: Secret, stored: PasswordHash) -> bool:
        begun.append(1)
        raise MemoryError

    monkeypatch.setattr(BcryptHasher, "verify", verify)
    before = threading.active_count()
    with pytest.raises(MemoryError):
        BcryptHasher(4).hash_all([(Secret("x"), PasswordHash("y"))] * 5_000)
    assert len(begun) < 5_000
    assert threading.active_count() == before


def test_a_stored_hash_that_cannot_be_compared_here_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(_: BcryptHasher, password: Secret, stored: PasswordHash) -> bool:
        raise PasswordHashUnsupported("no such function")

    monkeypatch.setattr(BcryptHasher, "verify", verify)
    (made,) = BcryptHasher(4).hash_all([(Secret("correct horse"), PasswordHash("$argon2d$"))])
    assert made is not None
    assert made.encoded.startswith("$2b$04$")


def test_an_interruption_waits_only_for_the_hashes_that_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread must not run bcrypt when the interpreter exits."""
    hash_password, begun = bcrypt.hashpw, list[int]()

    def held(password: bytes, salt: bytes) -> bytes:
        begun.append(1)
        if len(begun) == 10:  # all threads have been started
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return hash_password(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", held)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        BcryptHasher(4).hash_all([(Secret("x"), None)] * 500)
    assert 1 <= len(begun) < 50
    assert threading.active_count() == before
    done = len(begun)
    time.sleep(0.1)
    assert len(begun) == done


def test_a_hash_does_not_show_itself() -> None:
    assert "$2b$" not in repr(BcryptHasher(4).begin(Secret("correct horse"))())


@pytest.fixture
def hashes_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the cost of each hash without computing it, because cost 15 takes seconds."""
    costs: list[int] = []
    monkeypatch.setattr(bcrypt, "hashpw", lambda password, salt: costs.append(int(salt[4:6])))
    return costs


def pretended(durations_ns: list[int]) -> Iterator[int]:
    """Return the readings of a clock on which the measurements take these durations, one after the other."""
    now = 0
    for duration in durations_ns:
        yield now
        now += duration
        yield now


@pytest.mark.parametrize(
    ("at_cost_10", "confirmed", "cost"),
    [
        (58, 232, 12),
        (58, 500, 11),  # the second measurement differs and decides
        (58, 120, 13),
        (250, 250, 10),
        (2000, 2000, 10),
        (1, 32, 15),
        (8, 256, 15),
        (16, 256, 14),
    ],
)
def test_the_calibrated_cost_takes_nearest_a_quarter_of_a_second(
    at_cost_10: int, confirmed: int, cost: int, hashes_at: list[int]
) -> None:
    readings = pretended([d * MILLISECOND for d in (3 * at_cost_10, at_cost_10, 2 * at_cost_10, confirmed)])
    assert calibrate(lambda: next(readings)) == cost
    assert hashes_at[:3] == [10, 10, 10]
    assert len(hashes_at) == 4


@pytest.mark.usefixtures("hashes_at")
def test_a_clock_that_stands_still_does_not_break_calibration() -> None:
    assert calibrate(lambda: 7) == 15


def test_a_real_machine_gets_a_cost_in_range() -> None:
    assert BcryptHasher(4).calibrated_cost() in range(10, 16)


# Verification.

# Hashes from other programs: passlib 1.7.4, test_handlers_bcrypt.py, _bcrypt_test.known_correct_hashes, and
# crypt_blowfish 1.3, wrapper.c: tests[].
ELSEWHERE = [
    ("U*U*U*U*", "$2a$05$c92SVSfjeiCD6F2nAD6y0uBpJDjdRkt0EgeC4/31Rf2LUZbDRDE.O"),
    ("U*U***U", "$2a$05$WY62Xk2TXZ7EvVDQ5fmjNu7b0GEzSzUXUh2cllxJwhtOeMtWV3Ujq"),
    ("U*U***U*", "$2a$05$Fa0iKV3E2SYVUlMknirWU.CFYGvJ67UwVKI1E2FP6XeLiZGcH3MJi"),
    ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    ("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
    ("U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    (UNICODE, "$2a$05$Z17AXnnlpzddNUvnC6cZNOSwMA/8oNiKnHTHTwLlBijfucQQlHjaG"),
    *PASSLIB,
]


@pytest.mark.parametrize(("password", "encoded"), ELSEWHERE)
def test_a_hash_made_elsewhere_is_accepted_and_fits_its_password_alone(password: str, encoded: str) -> None:
    hasher = BcryptHasher(4)
    assert not hasher.verify(Secret("other"), accepted(hasher, encoded, password))


@pytest.mark.parametrize("password", ["", "a" * 72, "a" * 73, "\U0001f511" * 64, "ä" * 36, "a" * 4096])
def test_what_was_hashed_fits_and_nothing_else_does(password: str) -> None:
    hasher = BcryptHasher(4)
    stored = hasher.begin(Secret(password))()
    assert hasher.begin_check([Secret(password)], stored)() == 0
    for other in (password + "x", password[:-1], "x" + password[1:]):
        assert (hasher.begin_check([Secret(other)], stored)() is None) == (other != password)


def test_the_first_form_that_fits_is_told() -> None:
    hasher = BcryptHasher(4)
    stored = hasher.begin(Secret("two"))()
    assert hasher.begin_check([Secret("one"), Secret("two"), Secret("two")], stored)() == 1


def test_a_plain_hash_is_not_opened_by_what_bcrypt_would_cut_off() -> None:
    stored = PasswordHash(bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)).decode())
    assert BcryptHasher(4).verify(Secret("a" * 72), stored)
    assert not BcryptHasher(4).verify(Secret("a" * 73), stored)


PLAIN = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
LONG = PASSLIB[1][1]


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "correct horse",
        PLAIN[:-1],
        PLAIN + "\n",
        " " + PLAIN,
        PLAIN + PLAIN,
        PLAIN.replace("$2b$", "$2$"),
        PLAIN.replace("$2b$", "$2x$"),
        PLAIN.replace("$05$", "$03$"),
        PLAIN.replace("$05$", "$32$"),
        PLAIN.replace("$05$", "$٠٥$"),
        PLAIN.replace("CCC.", "CCCC"),  # unused bits that no bcrypt implementation sets
        PLAIN[:-1] + "X",
        LONG.replace("v=2", "v=1"),
        LONG.replace("t=2b", "t=2a"),
        LONG.replace("r=5", "r=05"),
        LONG.replace("r=5", "r=32"),
        LONG[:-1],
        "$bcrypt-sha256$2b,5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS",
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g",
        "pbkdf2_sha256$600000$salt$aGFzaA==",
    ],
)
def test_what_is_no_hash_is_neither_accepted_nor_opened(encoded: str) -> None:
    hasher = BcryptHasher(4)
    with pytest.raises(InvalidPasswordHash) as refusal:
        hasher.accept(Secret(encoded))
    assert encoded == "" or encoded not in refusal.value.message
    assert not hasher.verify(Secret("U*U"), PasswordHash(encoded))
    assert hasher.is_outdated(PasswordHash(encoded))


@pytest.mark.parametrize("encoded", [PLAIN, LONG])
def test_only_a_hash_in_a_format_of_the_hasher_is_accepted_as_its_own(encoded: str) -> None:
    hasher = BcryptHasher(4)
    assert hasher.accept(Secret(encoded)).imported
    assert not hasher.accept(Secret(encoded), imported=False).imported
    for prefix in ("$2a$", "$2y$", "bcrypt$$2b$", "bcrypt_sha256$$2b$"):
        assert hasher.accept(Secret(PLAIN.replace("$2b$", prefix)), imported=False).imported


@pytest.mark.parametrize(
    ("encoded", "scheme"),
    [
        (PLAIN, "bcrypt"),
        (PLAIN.replace("$2b$", "$2y$"), "bcrypt"),
        ("bcrypt$" + PLAIN, "bcrypt"),
        ("bcrypt_sha256$" + PLAIN, "django-bcrypt-sha256"),
        (LONG, "bcrypt-sha256"),
        ("", "unknown"),
        ("{SSHA}x", "unknown"),
    ],
)
def test_the_scheme_of_a_hash_has_a_name(encoded: str, scheme: str) -> None:
    assert BcryptHasher(4).scheme_of(PasswordHash(encoded)) == scheme


def test_a_hash_that_would_keep_every_login_waiting_is_not_accepted() -> None:
    prefixes = ("$2a$", "$2b$", "$2y$", "bcrypt$$2b$", "bcrypt_sha256$$2b$")
    spellings = [PLAIN.replace("$2b$05$", prefix + "%d$") for prefix in prefixes] + [LONG.replace("r=5", "r=%d")]
    for spelling in spellings:
        assert BcryptHasher(4).accept(Secret(spelling % 17)).encoded == spelling % 17
        for cost in (18, 20, 31):
            with pytest.raises(InvalidPasswordHash, match=f"has bcrypt cost {cost}; the limit is 17") as refusal:
                BcryptHasher(4).accept(Secret(spelling % cost))
            assert refusal.value.hint is not None


@pytest.mark.parametrize(
    ("encoded", "cost", "outdated"),
    [
        (PLAIN, 5, False),
        (PLAIN, 4, False),
        (PLAIN, 6, True),
        (PLAIN.replace("$2b$", "$2a$"), 5, True),
        (PLAIN.replace("$2b$", "$2y$"), 4, True),
        (LONG, 5, False),
        (LONG, 6, True),
    ],
)
def test_a_lower_cost_and_an_older_variant_are_outdated(encoded: str, cost: int, outdated: bool) -> None:
    assert BcryptHasher(cost).is_outdated(PasswordHash(encoded)) == outdated


@pytest.mark.parametrize("password", ["wrong", "a" * 100])
@pytest.mark.parametrize(
    "stored",
    [
        None,
        "garbage",
        PLAIN.replace("$05$", "$31$"),
        PLAIN.replace("$05$", "$18$"),
        LONG.replace("r=5", "r=18"),
        PLAIN.replace("$05$", "$09$"),
        PLAIN.replace("$05$", "$06$"),
        LONG.replace("r=5", "r=9"),
    ],
)
def test_every_failure_does_the_work_of_one_hash_at_the_configured_cost(
    password: str, stored: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[int] = []

    def counted(raw: bytes, setting: bytes) -> bytes:
        costs.append(int(setting[4:6]))
        return setting[:29] + b"." * 31

    monkeypatch.setattr(bcrypt, "hashpw", counted)
    assert not BcryptHasher(9).verify(Secret(password), None if stored is None else PasswordHash(stored))
    assert sum(2**cost for cost in costs) == 2**9

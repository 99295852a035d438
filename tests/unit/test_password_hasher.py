"""Password hashes: the published vectors, no truncation, work beside the caller, and the measured cost."""

import threading
from collections.abc import Iterator

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backctl.domain.values import Secret
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
    result = BcryptHasher(4).begin(Secret("correct horse"))  # returns while the hash is held back
    go_on.set()
    assert bcrypt.checkpw(b"correct horse", result().encoded.encode())
    assert result() == result()


def test_what_fails_beside_the_caller_reaches_him() -> None:
    result = BcryptHasher(99).begin(Secret("correct horse"))
    with pytest.raises(ValueError, match="rounds"):
        result()


def test_a_hash_does_not_show_itself() -> None:
    assert "$2b$" not in repr(BcryptHasher(4).begin(Secret("correct horse"))())


@pytest.fixture
def hashes_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The costs hashed at, while the hashing itself is left out: cost 15 takes seconds."""
    costs: list[int] = []
    monkeypatch.setattr(bcrypt, "hashpw", lambda password, salt: costs.append(int(salt[4:6])))
    return costs


def pretended(durations_ns: list[int]) -> Iterator[int]:
    """A clock that lets each measurement between two readings take the next of these durations."""
    now = 0
    for duration in durations_ns:
        yield now
        now += duration
        yield now


@pytest.mark.parametrize(
    ("at_cost_10", "confirmed", "cost"),
    [
        (58, 232, 12),
        (58, 500, 11),  # the confirmation disagrees and wins
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

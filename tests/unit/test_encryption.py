"""The encryption service: which key is tried, how it notices a rotation, and which values `reencrypt` changes."""

import io
import tracemalloc
from pathlib import Path

import pytest

import backctl
from backctl.application.content_views import DecryptedValue
from backctl.application.encryption import EncryptionService
from backctl.domain.errors import DecryptFailed, InstallationMissing, InvalidInput
from backctl.domain.key import Key
from backctl.domain.keyring import Keyring
from backctl.domain.values import Instant
from backctl.infrastructure.crypto.field_ciphers import KeyCiphers
from backctl.infrastructure.files.whole import WholeFiles
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.keyring.maker import make_keyring

NOW = Instant(1_800_000_000_000_000)


class Ring:
    """A keyring that others rotate."""

    def __init__(self) -> None:
        self.ring: Keyring = make_keyring(NOW)
        self.asked = 0

    def __call__(self) -> Keyring:
        self.asked += 1
        return self.ring

    def rotate(self) -> None:
        """Make a new key the primary key and retire the old one."""
        kid = f"encrypt-{len(self.ring.keys)}"
        key = Key.symmetric(kid, "encrypt", bytes([len(self.ring.keys)]) * 32, created=NOW.isoformat(), state="standby")
        self.ring = self.ring.add(key).promote(kid, now=NOW)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ring() -> Ring:
    return Ring()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(ring: Ring, clock: Clock) -> EncryptionService:
    return EncryptionService(keyring=ring, ciphers=KeyCiphers(), files=WholeFiles(), clock=clock)


def sealed(service: EncryptionService, plaintext: bytes, context: str = "c") -> bytes:
    return b"".join(service.encrypt_stream(io.BytesIO(plaintext).read, context=context))


def opened(service: EncryptionService, stream: bytes, context: str = "c") -> bytes:
    return b"".join(service.decrypt_stream(io.BytesIO(stream).read, context=context))


@pytest.mark.parametrize("value", [b"", b"\0", b"\xff\xfe", "", "über", b"x" * 100_000])
def test_a_value_comes_back_as_bytes(service: EncryptionService, ring: Ring, value: bytes | str) -> None:
    encrypted = service.encrypt(value, context="users.phone:1")
    assert encrypted.startswith(f"bk1.{ring.ring.primary('encrypt').kid}.")
    expected = value.encode() if isinstance(value, str) else value
    assert service.decrypt(encrypted, context="users.phone:1") == expected
    assert service.decrypt(encrypted.encode(), context="users.phone:1") == expected
    with pytest.raises(DecryptFailed):
        service.decrypt(encrypted, context="users.phone:2")


def test_a_value_is_79_bytes_and_a_third_longer(service: EncryptionService, ring: Ring) -> None:
    assert len(ring.ring.primary("encrypt").kid) == 20
    for size in (0, 60, 600):
        assert len(service.encrypt(bytes(size), context="users.phone:1")) == 79 + size * 4 // 3


@pytest.mark.parametrize("text", ["", "bk1", "bk1..", "bk1.x.y", "hello", "ä", "\ud800", "bk1.\ud800.x"])
def test_what_is_no_value_fails_like_what_was_changed(service: EncryptionService, text: str) -> None:
    with pytest.raises(DecryptFailed):
        service.decrypt(text, context="c")


def test_unpaired_surrogates_are_no_text(service: EncryptionService) -> None:
    for value, context in (("\ud800", "c"), ("x", "\udfff")):
        with pytest.raises(InvalidInput):
            service.encrypt(value, context=context)
    with pytest.raises(InvalidInput):
        service.decrypt("bk1.a.b", context="\ud800")


def test_a_retired_key_decrypts_and_a_destroyed_one_does_not(
    service: EncryptionService, ring: Ring, clock: Clock
) -> None:
    old = ring.ring.primary("encrypt").kid
    value, stream = service.encrypt("secret", context="c"), sealed(service, b"secret")
    ring.rotate()
    assert service.decrypt(value, context="c") == opened(service, stream) == b"secret"
    ring.ring = ring.ring.destroy(old, now=NOW)
    clock.now += 1
    with pytest.raises(DecryptFailed) as unknown:
        service.decrypt(value, context="c")
    with pytest.raises(DecryptFailed):
        opened(service, stream)
    assert (unknown.value.message, unknown.value.hint) == (DecryptFailed().message, DecryptFailed().hint)


def test_a_standby_key_decrypts(service: EncryptionService, ring: Ring, clock: Clock) -> None:
    before = ring.ring
    ring.rotate()
    clock.now += 1
    value = service.encrypt("from a quicker machine", context="c")
    kid = ring.ring.primary("encrypt").kid
    ring.ring = before.add(ring.ring.get(kid).as_standby())
    assert ring.ring.get(kid).state == "standby"
    assert service.decrypt(value, context="c") == b"from a quicker machine"


def test_exactly_the_named_key_is_tried(service: EncryptionService, ring: Ring) -> None:
    old = ring.ring.primary("encrypt").kid
    value = service.encrypt("secret", context="c")
    ring.rotate()
    new = ring.ring.primary("encrypt").kid
    with pytest.raises(DecryptFailed):
        service.decrypt(value.replace(old, new), context="c")
    for key in ring.ring.keys:
        if key.purpose != "encrypt":
            with pytest.raises(DecryptFailed):
                service.decrypt(value.replace(old, key.kid), context="c")


def test_a_kid_of_another_keyring_is_another_key(service: EncryptionService, ring: Ring, clock: Clock) -> None:
    value = service.encrypt("mine", context="c")
    key = ring.ring.primary("encrypt")
    service.decrypt(value, context="c")
    ring.ring = Keyring(
        tuple(
            Key.symmetric(key.kid, "encrypt", bytes(32), created=key.created) if other is key else other
            for other in ring.ring.keys
        )
    )
    clock.now += 1
    with pytest.raises(DecryptFailed):
        service.decrypt(value, context="c")


def test_a_service_follows_a_rotation_within_a_second(service: EncryptionService, ring: Ring, clock: Clock) -> None:
    old = service.encrypt("x", context="c").split(".")[1]
    ring.rotate()
    new = ring.ring.primary("encrypt").kid
    clock.now += 0.999
    assert service.encrypt("x", context="c").split(".")[1] == old
    clock.now += 0.001
    asked = ring.asked
    for _ in range(100):
        value = service.encrypt("x", context="c")
        assert value.split(".")[1] == new
        assert service.decrypt(value, context="c") == b"x"
        assert not service.reencrypt(value, context="c").changed
    assert ring.asked == asked + 2  # for the primary key and for the key named in the value


def test_reencryption_moves_what_is_under_another_key_and_nothing_else(
    service: EncryptionService, ring: Ring, clock: Clock
) -> None:
    value = service.encrypt("secret", context="c")
    same = service.reencrypt(value, context="c")
    assert (same.value, same.changed) == (value, False)
    ring.rotate()
    clock.now += 1
    moved = service.reencrypt(value, context="c")
    assert moved.changed
    assert moved.value.split(".")[1] == ring.ring.primary("encrypt").kid
    assert service.decrypt(moved.value, context="c") == b"secret"
    assert not service.reencrypt(moved.value, context="c").changed
    for whatever in (value, moved.value):
        with pytest.raises(DecryptFailed):
            service.reencrypt(whatever, context="elsewhere")
    with pytest.raises(DecryptFailed):
        service.reencrypt(moved.value[:-1] + ("A" if moved.value[-1] != "A" else "B"), context="c")


@pytest.mark.parametrize("size", [0, 16384, 500_000])
def test_a_stream_moves_or_stays_byte_for_byte(service: EncryptionService, ring: Ring, clock: Clock, size: int) -> None:
    stream = sealed(service, bytes(size))

    def move(raw: bytes, context: str = "c") -> tuple[bool, bytes]:
        changed, pieces = service.reencrypt_stream(io.BytesIO(raw).read, context=context)
        return changed, b"".join(pieces)

    assert move(stream) == (False, stream)
    ring.rotate()
    clock.now += 1
    changed, moved = move(stream)
    assert changed
    assert moved.startswith(b"bk1s.%s\n" % ring.ring.primary("encrypt").kid.encode())
    assert opened(service, moved) == bytes(size)
    for raw, context in ((stream, "d"), (moved, "d"), (stream[:-1], "c"), (moved[:-1], "c")):
        with pytest.raises(DecryptFailed):
            move(raw, context)


@pytest.mark.parametrize("rotated", [False, True])
def test_a_stream_of_any_size_takes_the_same_memory(
    service: EncryptionService, ring: Ring, clock: Clock, rotated: bool
) -> None:
    stream = io.BytesIO(sealed(service, bytes(8 << 20)))
    if rotated:
        ring.rotate()
        clock.now += 1
    tracemalloc.start()
    try:
        changed, pieces = service.reencrypt_stream(stream.read, context="c")
        size = sum(map(len, pieces))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (changed, size > 8 << 20) == (rotated, True)
    assert peak < 2 << 20


def test_nobody_sees_a_plaintext_in_a_view() -> None:
    assert "secret" not in repr(DecryptedValue("secret", "c2VjcmV0"))


# The keyring file.


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keyring.json")


def test_a_keyring_is_read_once_and_again_when_another_takes_its_place(keys: KeyFile) -> None:
    keys.create(make_keyring(NOW))
    first = keys.current()
    assert keys.current() is first
    keys.path.unlink()
    keys.create(make_keyring(NOW))
    assert keys.current() is not first
    assert keys.current() is keys.current()


def test_a_keyring_that_is_named_and_missing_is_never_made(tmp_path: Path) -> None:
    environ = {
        "BACKCTL_DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db",
        "BACKCTL_KEYRING_PATH": f"{tmp_path}/keyring.json",
    }
    with backctl.open_backend(environ=environ) as backend:
        with pytest.raises(InstallationMissing):
            backend.require_keyring()
        with pytest.raises(InstallationMissing):
            backend.encryption.encrypt("x", context="c")
        with pytest.raises(InstallationMissing):
            backend.encryption.decrypt("bk1.a.b", context="c")
        assert list(tmp_path.iterdir()) == []
        assert backend.initialise(by=backend.by()).changed
        value = backend.encryption.encrypt("x", context="c")
        backend.close()
        assert backend.encryption.decrypt(value, context="c") == b"x"

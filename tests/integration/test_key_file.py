"""The keyring file: created once, private, strictly parsed, and unchanged after a failure."""

import errno
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backctl.domain.canonical_json import canonical
from backctl.domain.errors import (
    BackctlError,
    KeyringDamaged,
    KeyringExposed,
    KeyringMissing,
    KeyringUnreadable,
)
from backctl.domain.keyring import PURPOSES, Keyring
from backctl.domain.values import Instant
from backctl.infrastructure.keyring.file import ChangeName, KeyFile
from backctl.infrastructure.keyring.maker import make_key, make_keyring

NOW = Instant(1_795_339_442_123_456)
NOBODY = 65534


@pytest.fixture
def keyring() -> Keyring:
    return make_keyring(NOW)


@pytest.fixture
def path(tmp_path: Path, keyring: Keyring) -> Path:
    path = tmp_path / "keyring.json"
    KeyFile(path).create(keyring)
    return path


def state(path: Path) -> tuple[bytes, int, int, int]:
    status = path.stat()
    return path.read_bytes(), status.st_mode, status.st_mtime_ns, status.st_ino


def refused_and_untouched(path: Path, error: type[BackctlError], *, allow_group_read: bool = False) -> BackctlError:
    before = state(path)
    with pytest.raises(error) as caught:
        KeyFile(path, allow_group_read=allow_group_read).read()
    assert state(path) == before
    assert caught.value.message.count(str(path)) == 1
    return caught.value


def test_a_new_keyring_has_one_primary_key_of_each_purpose(keyring: Keyring) -> None:
    assert tuple(key.purpose for key in keyring.keys) == PURPOSES
    assert all(key.state == "primary" for key in keyring.keys)
    assert all(re.fullmatch(rf"{key.purpose}-[0-9a-f]{{12}}", key.kid) for key in keyring.keys)
    assert {key.created for key in keyring.keys} == {NOW.isoformat()}
    assert len({key.secret_bytes() for key in keyring.keys if key.kty == "oct"}) == 3


def test_no_two_keyrings_share_a_key(keyring: Keyring) -> None:
    other = make_keyring(NOW)
    assert not set(keyring.kids()) & set(other.kids())
    assert not {key.material for key in keyring.keys} & {key.material for key in other.keys}


def test_the_signing_key_is_a_pair(keyring: Keyring) -> None:
    import base64

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    halves = {name: base64.urlsafe_b64decode(text + "=") for name, text in keyring.primary("sign").material[1:]}
    private = Ed25519PrivateKey.from_private_bytes(halves["d"])
    assert private.public_key().public_bytes_raw() == halves["x"]


def test_what_is_written_is_read(path: Path, keyring: Keyring) -> None:
    assert KeyFile(path).read() == keyring


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_file_is_private_whatever_the_umask(tmp_path: Path, keyring: Keyring, umask: int) -> None:
    before = os.umask(umask)
    try:
        KeyFile(tmp_path / "keyring.json").create(keyring)
    finally:
        os.umask(before)
    assert (tmp_path / "keyring.json").stat().st_mode & 0o7777 == 0o600
    assert os.listdir(tmp_path) == ["keyring.json"]
    assert KeyFile(tmp_path / "keyring.json").read() == keyring


def nothing_more(path: Path) -> None:
    assert path.parent.is_dir()


def a_file(path: Path) -> None:
    path.write_bytes(b"something else")


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize("in_the_way", [a_file, a_dangling_link, Path.mkdir])
def test_creating_replaces_nothing(tmp_path: Path, keyring: Keyring, in_the_way: Callable[[Path], None]) -> None:
    path = tmp_path / "keyring.json"
    in_the_way(path)
    before = path.lstat()
    with pytest.raises(FileExistsError):
        KeyFile(path).create(keyring)
    assert path.lstat() == before
    assert os.listdir(tmp_path) == ["keyring.json"]


def test_of_many_creators_exactly_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    rings = [make_keyring(NOW) for _ in range(16)]
    start = threading.Barrier(len(rings))
    made: list[Keyring] = []

    def create(ring: Keyring) -> None:
        start.wait()
        try:
            KeyFile(path).create(ring)
        except FileExistsError:
            return
        made.append(ring)

    threads = [threading.Thread(target=create, args=(ring,)) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [KeyFile(path).read()]
    assert os.listdir(tmp_path) == ["keyring.json"]


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyringMissing):
        KeyFile(tmp_path / "keyring.json").read()
    with pytest.raises(KeyringMissing):
        KeyFile(tmp_path / "no folder" / "keyring.json").read()


def test_a_link_to_a_keyring_is_followed(tmp_path: Path, path: Path, keyring: Keyring) -> None:
    (tmp_path / "..data").mkdir()
    path.rename(tmp_path / "..data" / "keyring.json")
    path.symlink_to("..data/keyring.json")
    assert KeyFile(path).read() == keyring


def test_the_target_of_a_link_must_be_private(tmp_path: Path, path: Path) -> None:
    path.chmod(0o644)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    with pytest.raises(KeyringExposed):
        KeyFile(link).read()


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o666, 0o607, 0o660, 0o620, 0o610, 0o640])
def test_a_file_that_others_can_reach_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    refused_and_untouched(path, KeyringExposed)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o620, 0o650, 0o604, 0o642])
def test_group_read_may_be_allowed_and_nothing_more(path: Path, mode: int) -> None:
    path.chmod(mode)
    refused_and_untouched(path, KeyringExposed, allow_group_read=True)


@pytest.mark.parametrize("mode", [0o640, 0o440, 0o600, 0o400])
def test_a_secret_mount_is_readable_for_its_group(path: Path, keyring: Keyring, mode: int) -> None:
    path.chmod(mode)
    assert KeyFile(path, allow_group_read=True).read() == keyring


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    else:  # only root can change the owner of a file; other users pretend to be someone else
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    refused_and_untouched(path, KeyringExposed)


def test_a_file_that_may_not_be_read_is_said_to_be_so(path: Path) -> None:
    path.chmod(0o000)
    path.parent.chmod(0o755)
    program = (
        "import json, os, sys\n"
        "from pathlib import Path\n"
        "from backctl.infrastructure.keyring.file import KeyFile\n"
        "os.chdir(sys.argv[1])\n"
        "if os.geteuid() == 0:\n"
        f"    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "try:\n"
        "    KeyFile(Path('keyring.json')).read()\n"
        "except Exception as error:\n"
        "    os.write(1, type(error).__name__.encode())\n"
    )
    child = subprocess.run([sys.executable, "-c", program, path.parent], stdout=subprocess.PIPE, check=True)
    assert child.stdout.decode() == KeyringUnreadable.__name__


def changed_first_byte(content: bytes) -> bytes:
    return b"[" + content[1:]


def rewritten(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return damage


def with_checksum(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    """Change the document and compute a matching checksum, so that only other checks can detect the damage."""
    import hashlib

    def damage(content: bytes) -> bytes:
        document = json.loads(content)
        del document["checksum"]
        change(document)
        return json.dumps(document | {"checksum": hashlib.sha256(canonical(document)).hexdigest()}).encode()

    return damage


def twice(content: bytes) -> bytes:
    return content.replace(b'"format": 1', b'"format": 1, "format": 1')


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[:-20],
    "first byte changed": changed_first_byte,
    "trailing data": lambda content: content + b"{}",
    "trailing NUL": lambda content: content + b"\0",
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "invalid UTF-8": lambda content: content.replace(b"audit", b"aud\xfft"),
    "too large": lambda content: content + b" " * (1 << 20),
    "nested too deeply": lambda content: b'{"a":' * 100_000,
    "nested arrays": lambda content: b"[" * 500_000 + b"]" * 500_000,
    "duplicate member": twice,
    "NaN": lambda content: content.replace(b'"format": 1', b'"format": NaN'),
    "Infinity": lambda content: content.replace(b'"format": 1', b'"format": -Infinity'),
    "float": lambda content: content.replace(b'"format": 1', b'"format": 1.0'),
    "huge integer": lambda content: content.replace(b'"format": 1', b'"format": ' + b"9" * 10_000),
    "unpaired surrogate": lambda content: content.replace(b'"format": 1', b'"format": "\\ud800"'),
    "no object": lambda content: b"[]",
    "null": lambda content: b"null",
    "checksum missing": rewritten(lambda document: document.pop("checksum")),
    "checksum of another type": rewritten(lambda document: document.update(checksum=[1])),
    "checksum not ASCII": rewritten(lambda document: document.update(checksum="é\ud800")),
    "checksum wrong": rewritten(lambda document: document.update(checksum="0" * 64)),
    "member added": rewritten(lambda document: document.update(comment="x")),
    "key removed": with_checksum(lambda document: document["keys"].pop()),  # type: ignore[attr-defined]
    "newer format": with_checksum(lambda document: document.update(format=2)),
    "no keys": with_checksum(lambda document: document.pop("keys")),
    "keys of another type": with_checksum(lambda document: document.update(keys=[[], 1, None])),
    "key short": with_checksum(lambda document: document["keys"][2].update(k="AAAA")),  # type: ignore[index]
    "purpose of another type": with_checksum(lambda document: document["keys"][2].update(purpose=[])),  # type: ignore[index]
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_refused_and_left_as_it_is(path: Path, damage: Callable[[bytes], bytes]) -> None:
    secrets = [text for key in KeyFile(path).read().keys for name, text in key.material if name in ("k", "d")]
    path.write_bytes(damage(path.read_bytes()))
    error = refused_and_untouched(path, KeyringDamaged)
    assert error.hint
    assert not any(secret in f"{error.message} {error.hint}" for secret in secrets)


def test_every_flipped_byte_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    ring = KeyFile(path).read()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            assert KeyFile(path).read() == ring, f"byte {at} changed the keyring unnoticed"  # white space may change
        except KeyringDamaged:
            continue


def a_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("in_its_place", [Path.mkdir, a_fifo, a_device, a_dangling_link])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, in_its_place: Callable[[Path], None]) -> None:
    path = tmp_path / "keyring.json"
    in_its_place(path)
    with pytest.raises(KeyringDamaged) as refusal:
        KeyFile(path).read()
    assert refusal.value.message.count(str(path)) == 1


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    path.symlink_to(path)
    with pytest.raises(KeyringUnreadable):
        KeyFile(path).read()


def test_reading_leaves_no_descriptor_open(path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    KeyFile(path).read()
    path.write_bytes(b"damaged")
    with pytest.raises(KeyringDamaged):
        KeyFile(path).read()
    assert len(os.listdir("/dev/fd")) == before


def changed(keyring: Keyring) -> Keyring:
    return keyring.add(make_key("sign", NOW))


CHANGE = ChangeName("a34ff729-0ecd-4db5-9cb5-638ddeca0af8", "01a20352-13f1-713a-8bfc-34375ead9623")


def test_a_staged_change_is_private_found_by_its_event_and_not_yet_read(path: Path, keyring: Keyring) -> None:
    file = KeyFile(path)
    staged = file.stage_change(changed(keyring), CHANGE)
    assert file.staged_changes() == {CHANGE: staged}
    assert staged.stat().st_mode & 0o7777 == 0o600
    assert file.read() == keyring
    assert file.beside(staged).read().keys[:-1] == keyring.keys


def test_a_change_takes_the_place_of_the_keyring_whole(path: Path, keyring: Keyring) -> None:
    file = KeyFile(path)
    file.put_in_place(file.stage_change(changed(keyring), CHANGE))
    assert file.read().keys[:-1] == keyring.keys
    assert file.staged_changes() == {}
    assert sorted(os.listdir(path.parent)) == ["keyring.json"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_changed_keyring_keeps_the_mode_of_its_file(path: Path, keyring: Keyring, mode: int) -> None:
    path.chmod(mode)
    file = KeyFile(path, allow_group_read=True)
    file.put_in_place(file.stage_change(changed(keyring), CHANGE))
    assert path.stat().st_mode & 0o7777 == mode
    assert file.read() != keyring


def test_a_keyring_that_root_changes_still_belongs_to_whoever_it_belonged_to(path: Path, keyring: Keyring) -> None:
    # Only root can change the owner of a file, so only root could take it away from its owner by mistake.
    owner = (NOBODY, NOBODY) if os.geteuid() == 0 else (path.stat().st_uid, path.stat().st_gid)
    os.chown(path, *owner)
    file = KeyFile(path)
    file.put_in_place(file.stage_change(changed(keyring), CHANGE))
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_a_change_behind_a_link_leaves_the_link(tmp_path: Path, path: Path, keyring: Keyring) -> None:
    link = tmp_path / "mounted" / "keyring.json"
    link.parent.mkdir()
    link.symlink_to(path)
    file = KeyFile(link)
    staged = file.stage_change(changed(keyring), CHANGE)
    assert (file.folder, staged.parent) == (path.parent, path.parent)
    file.put_in_place(staged)
    assert link.is_symlink()
    assert KeyFile(path).read() == file.read() != keyring


def test_a_change_that_cannot_be_staged_leaves_nothing(path: Path, keyring: Keyring) -> None:
    file = KeyFile(path)
    file.stage_change(changed(keyring), CHANGE)
    with pytest.raises(FileExistsError):
        file.stage_change(keyring, CHANGE)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file.stage_change(keyring, CHANGE._replace(event_id=CHANGE.event_id.replace("0", "1")))
    assert list(file.staged_changes()) == [CHANGE]


def test_what_only_resembles_a_staged_change_is_none(path: Path) -> None:
    for name in (
        f"keyring.json.{'.'.join(CHANGE)}.change",
        ".keyring.json.x.change",
        f".keyring.json.{CHANGE.event_id}.change",
        f".keyring.jsonx{'.'.join(CHANGE)}.change",
    ):
        path.with_name(name).touch()
    assert KeyFile(path).staged_changes() == {}


def test_what_is_current_is_read_again_only_when_the_file_has_changed(path: Path, keyring: Keyring) -> None:
    file = KeyFile(path)
    assert file.current() is file.current()
    file.put_in_place(file.stage_change(changed(keyring), CHANGE))
    assert file.current().keys[:-1] == keyring.keys
    path.chmod(0o666)
    with pytest.raises(KeyringExposed):
        file.current()
    path.chmod(0o600)
    assert file.current() is file.current() != keyring
    path.unlink()
    with pytest.raises(KeyringMissing):
        file.current()


def test_a_disk_that_fails_is_told_apart_from_a_missing_permission(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def read() -> None:
        with monkeypatch.context() as broken:
            broken.setattr(os, "fstat", fail)
            KeyFile(path).read()

    with pytest.raises(KeyringUnreadable, match="input/output error") as caught:
        read()
    assert caught.value.hint == "check the disk"

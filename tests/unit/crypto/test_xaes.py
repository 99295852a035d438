"""XAES-256-GCM values: published vectors, strict parsing, the use of nonces, and changes of every byte."""

import base64
import hashlib
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import DecryptFailed, InvalidInput
from backctl.infrastructure.crypto import xaes
from backctl.infrastructure.crypto.xaes import SubkeySource, XaesCipher, named_kid

VECTORS = Path(__file__).parent / "vectors"
SECRET = bytes(range(32))
KID = "encrypt-0123456789ab"


def xaes_seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """The algorithm of the specification, built from parts of backctl."""
    return AESGCM(SubkeySource(key).derive(nonce[:12])).encrypt(nonce[12:], plaintext, associated)


def payload(value: bytes) -> bytes:
    encoded = value.split(b".")[2]
    return base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))


def with_payload(raw: bytes) -> bytes:
    return b"bk1." + KID.encode() + b"." + base64.urlsafe_b64encode(raw).rstrip(b"=")


# Vectors.


@pytest.mark.parametrize(
    ("byte", "derived", "associated", "ciphertext"),
    [  # https://c2sp.org/XAES-256-GCM: the highest bit of L is 0, then 1
        (
            1,
            "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b",
            b"",
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        ),
        (
            3,
            "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8",
            b"c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ],
)
def test_the_specifications_single_vectors(byte: int, derived: str, associated: bytes, ciphertext: str) -> None:
    key, nonce = bytes([byte]) * 32, b"ABCDEFGHIJKLMNOPQRSTUVWX"
    assert SubkeySource(key).derive(nonce[:12]).hex() == derived
    assert xaes_seal(key, nonce, b"XAES-256-GCM", associated).hex() == ciphertext


def test_the_specifications_accumulated_vectors() -> None:
    stream, at = hashlib.shake_128(b"").digest(10_000 * (32 + 24 + 2 * 256)), 0
    assert stream[:16].hex() == "7f9c2ba4e88f827d616045507605853e"

    def taken(count: int) -> bytes:
        nonlocal at
        at += count
        return stream[at - count : at]

    ciphertexts = hashlib.shake_128()
    for _ in range(10_000):
        key, nonce = taken(32), taken(24)
        plaintext = taken(taken(1)[0])
        associated = taken(taken(1)[0])
        ciphertext = xaes_seal(key, nonce, plaintext, associated)
        ciphertexts.update(ciphertext)
    assert ciphertexts.hexdigest(32) == "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"


def nist(name: str) -> Iterator[Any]:
    for number, block in enumerate((VECTORS / name).read_text().split("\n\n")):
        found = re.findall(r"^(Key|IV|PT|AAD|CT|Tag) = ?([0-9a-f]*)$", block, re.MULTILINE)
        members = {name.lower(): bytes.fromhex(text) for name, text in found}
        yield pytest.param(members, "FAIL" in block, id=str(number))


@pytest.mark.parametrize(("members", "fails"), list(nist("nist-cavs-gcm-256-encrypt.rsp")))
def test_aes_gcm_seals_as_nist_says(members: dict[str, bytes], fails: bool) -> None:
    assert not fails
    sealed = AESGCM(members["key"]).encrypt(members["iv"], members["pt"], members["aad"])
    assert sealed == members["ct"] + members["tag"]


@pytest.mark.parametrize(("members", "fails"), list(nist("nist-cavs-gcm-256-decrypt.rsp")))
def test_aes_gcm_opens_and_refuses_as_nist_says(members: dict[str, bytes], fails: bool) -> None:
    gcm, sealed = AESGCM(members["key"]), members["ct"] + members["tag"]
    if fails:
        with pytest.raises(InvalidTag):
            gcm.decrypt(members["iv"], sealed, members["aad"])
    else:
        assert gcm.decrypt(members["iv"], sealed, members["aad"]) == members["pt"]


@given(st.binary(max_size=100), st.binary(max_size=40))
def test_others_open_a_value_knowing_the_format_alone(plaintext: bytes, context: bytes) -> None:
    value = XaesCipher(KID, SECRET).seal(plaintext, context)
    assert re.fullmatch(rb"bk1\.encrypt-0123456789ab\.[A-Za-z0-9_-]+", value)
    sealed = payload(value)
    key = KBKDFCMAC(
        algorithms.AES,
        Mode.CounterMode,
        length=32,
        rlen=2,
        llen=None,
        location=CounterLocation.BeforeFixed,
        label=None,
        context=None,
        fixed=b"X\0" + sealed[:12],
    ).derive(SECRET)
    assert AESGCM(key).decrypt(sealed[12:24], sealed[24:], b"bk1.encrypt-0123456789ab\0" + context) == plaintext


# Values.


@given(st.binary(max_size=1000), st.binary(max_size=100))
def test_what_is_sealed_opens_in_its_context_and_in_no_other(plaintext: bytes, context: bytes) -> None:
    cipher = XaesCipher(KID, SECRET)
    value = cipher.seal(plaintext, context)
    assert named_kid(value) == KID
    assert XaesCipher(KID, SECRET).open(value, context) == plaintext
    flipped = context[:-1] + bytes([context[-1] ^ 1]) if context else b"\0"
    for other in (context + b"x", b"x" + context, flipped, b"" if context else b"c"):
        with pytest.raises(DecryptFailed):
            cipher.open(value, other)


def test_every_changed_byte_of_every_part_is_found() -> None:
    cipher = XaesCipher(KID, SECRET)
    value = cipher.seal(b"nobody changes this", b"users.phone:1")
    for place, byte in enumerate(value):
        for other in {byte ^ 1, byte ^ 0x80, byte ^ 0x20, *b".-_+/=A\n"} - {byte}:
            with pytest.raises(DecryptFailed) as caught:
                cipher.open(value[:place] + bytes([other]) + value[place + 1 :], b"users.phone:1")
            assert (caught.value.code, caught.value.message) == ("decrypt.failed", "decryption failed")
    raw = payload(value)
    for place in range(len(raw)):
        for bit in range(8):
            changed = raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]
            with pytest.raises(DecryptFailed):
                cipher.open(with_payload(changed), b"users.phone:1")


def test_a_value_that_was_cut_or_grew_fails_everywhere() -> None:
    cipher = XaesCipher(KID, SECRET)
    value = cipher.seal(b"", b"")
    for length in range(len(value)):
        with pytest.raises(DecryptFailed):
            cipher.open(value[:length], b"")
    for more in (b"A", b"AA", b"AAA", b"AAAA", b"=", b"\n", b" ", b".", b"\0"):
        with pytest.raises(DecryptFailed):
            cipher.open(value + more, b"")


@pytest.mark.parametrize(
    "change",
    [
        lambda encoded: encoded + b"=" * (-len(encoded) % 4 or 4),
        lambda encoded: encoded[:10] + b"\n" + encoded[10:],
        lambda encoded: b" " + encoded,
        lambda encoded: encoded[:-1] + bytes([encoded[-1] + 1]),  # the same bytes in non-canonical base64
    ],
)
def test_only_one_text_stands_for_a_value(change: Any) -> None:
    cipher = XaesCipher(KID, SECRET)
    value = next(v for v in (cipher.seal(b"xy", b"") for _ in range(1000)) if v.endswith((b"A", b"Q", b"g", b"w")))
    start, _, encoded = value.rpartition(b".")
    assert cipher.open(start + b"." + encoded, b"") == b"xy"
    with pytest.raises(DecryptFailed):
        cipher.open(start + b"." + change(encoded), b"")


def test_the_other_alphabet_of_base64_is_refused() -> None:
    cipher = XaesCipher(KID, SECRET)
    value = next(v for v in (cipher.seal(b"xy", b"") for _ in range(1000)) if b"-" in v[25:] and b"_" in v[25:])
    start, _, encoded = value.rpartition(b".")
    for old, new in ((b"-", b"+"), (b"_", b"/")):
        with pytest.raises(DecryptFailed):
            cipher.open(start + b"." + encoded.replace(old, new), b"")


@given(st.binary(max_size=200))
def test_whatever_comes_fails_alike(raw: bytes) -> None:
    cipher = XaesCipher(KID, SECRET)
    for value in (raw, b"bk1." + raw, b"bk1." + KID.encode() + b"." + raw, with_payload(raw)):
        with pytest.raises(DecryptFailed):
            cipher.open(value, b"")


@pytest.mark.parametrize("kid", [b"", b"a b", b"a" * 65, b"../etc", "ä".encode(), b"a\0"])
def test_what_cannot_be_a_kid_names_no_key(kid: bytes) -> None:
    with pytest.raises(DecryptFailed):
        named_kid(b"bk1." + kid + b".AAAA")


def test_a_value_is_no_stream_and_no_later_format() -> None:
    for start in (b"bk1s.", b"bk2.", b"BK1.", b" bk1.", b"bk1"):
        with pytest.raises(DecryptFailed):
            named_kid(start + KID.encode() + b".AAAA")


def test_a_value_longer_than_memory_allows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xaes, "LONGEST_VALUE", 100_000)
    assert XaesCipher(KID, SECRET).seal(bytes(100_000), b"")
    with pytest.raises(InvalidInput) as caught:
        XaesCipher(KID, SECRET).seal(bytes(100_001), b"")
    assert caught.value.hint == "use --file for larger values"


def test_a_key_has_32_bytes() -> None:
    for size in (0, 16, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            XaesCipher(KID, bytes(size))


def test_a_cipher_shows_and_pickles_no_key() -> None:
    cipher = XaesCipher(KID, SECRET)
    assert repr(cipher) == f"XaesCipher('bk1.{KID}')"
    with pytest.raises(TypeError):
        pickle.dumps(cipher)


# Nonces.


def first_half(value: bytes) -> bytes:
    return payload(value)[:12]


def test_the_first_half_of_the_nonce_is_kept_and_the_second_is_new() -> None:
    cipher = XaesCipher(KID, SECRET)
    nonces = [payload(cipher.seal(b"same", b""))[:24] for _ in range(1000)]
    assert len({nonce[:12] for nonce in nonces}) == 1
    assert len({nonce[12:] for nonce in nonces}) == 1000
    assert first_half(XaesCipher(KID, SECRET).seal(b"same", b"")) != nonces[0][:12]


def test_the_first_half_is_drawn_again_after_2_to_the_16_messages() -> None:
    cipher = XaesCipher(KID, SECRET)
    halves = [first_half(cipher.seal(b"", b"")) for _ in range(2**16 + 1)]
    assert len(set(halves[:-1])) == 1
    assert halves[-1] != halves[0]


def test_the_first_half_is_drawn_again_before_2_to_the_32_bytes_are_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert xaes._MESSAGES * xaes._CHARGED == 2**32
    monkeypatch.setattr(xaes, "_MESSAGES", 4)
    cipher = XaesCipher(KID, SECRET)
    sizes = [2**16 - 1] * 4 + [2**16, 2**16] + [2**17, 1] + [2**18] + [0]
    halves = [first_half(cipher.seal(bytes(size), b"")) for size in sizes]
    assert [halves.index(half) for half in halves] == [0, 0, 0, 0, 4, 4, 6, 6, 8, 9]


def test_values_of_many_processes_open_when_more_of_them_come_than_are_remembered() -> None:
    reader = XaesCipher(KID, SECRET)
    values = [XaesCipher(KID, SECRET).seal(b"%d" % number, b"") for number in range(600)]
    for number, value in enumerate(values):
        assert reader.open(value, b"") == b"%d" % number


_FORKING = """
import base64, os, sys
from backctl.infrastructure.crypto.xaes import XaesCipher

cipher = XaesCipher("encrypt-0123456789ab", bytes(range(32)))

def nonce():
    return base64.urlsafe_b64decode(cipher.seal(b"x", b"").split(b".")[2] + b"==")[:24].hex()

said = [nonce()]
for _ in range(4):
    child = os.fork()
    if child == 0:
        os.write(1, "".join(nonce() + " child\\n" for _ in range(20)).encode())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    said.append(nonce())
os.write(1, "".join(line + " parent\\n" for line in said).encode())
"""


def test_forked_children_never_repeat_a_nonce() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKING], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len({nonce for nonce, _ in lines}) == len(lines) == 5 + 4 * 20
    halves = {(nonce[:24], who) for nonce, who in lines}
    assert sum(who == "parent" for _, who in halves) == 1
    assert sum(who == "child" for _, who in halves) == 4
    assert len({half for half, _ in halves}) == 5

"""Cobblestone-256: published vectors, other implementations, and messages that were cut or rearranged."""

import base64
import hashlib
import importlib.util
import io
import json
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.crypto import plain_cobblestone

from backctl.domain.errors import DecryptFailed, InvalidInput
from backctl.infrastructure.crypto import chunked
from backctl.infrastructure.crypto.hkdf import hkdf_expand

VECTORS = Path(__file__).parent / "vectors"
SECRET = bytes(range(32))
KID = "encrypt-0123456789ab"
CONTEXT = b"backups:monday"
CHUNK = 16384
SEALED = CHUNK + 16
HEAD = len(chunked.header(KID)) + 56


def seal(plaintext: bytes, context: bytes = CONTEXT) -> bytes:
    return b"".join(chunked.seal_stream(KID, SECRET, io.BytesIO(plaintext).read, context))


def unseal(sealed: bytes, context: bytes = CONTEXT, secret: bytes = SECRET) -> bytes:
    read = io.BytesIO(sealed).read
    return b"".join(chunked.open_stream(chunked.read_header(read), secret, read, context))


def refused(sealed: bytes, context: bytes = CONTEXT, secret: bytes = SECRET) -> None:
    with pytest.raises(DecryptFailed) as caught:
        unseal(sealed, context, secret)
    assert (caught.value.message, caught.value.hint) == (DecryptFailed().message, DecryptFailed().hint)


# Vectors.


def rfc_5869() -> Iterator[Any]:
    for block in (VECTORS / "rfc-5869-hkdf.txt").read_text().split("# A.")[1:]:
        members = dict(re.findall(r"^(\w+) *= *(\S*)$", block, re.MULTILINE))
        yield pytest.param(members, id=block.partition(" ")[0])


@pytest.mark.parametrize("members", list(rfc_5869()))
def test_hkdf_expand_makes_what_rfc_5869_says(members: dict[str, str]) -> None:
    digest = members["Hash"].replace("-", "").lower()
    made = hkdf_expand(digest, bytes.fromhex(members["PRK"]), bytes.fromhex(members["info"]), int(members["L"]))
    assert made.hex() == members["OKM"]


def published() -> Iterator[Any]:
    """Yield vectors of the scheme with SHA-256 instead of SHA-512, which test the chunks and the derivation."""
    for vector in json.loads((VECTORS / "chunked-encryption-sha256.json").read_text()):
        yield pytest.param(vector, id=vector["name"])


@pytest.mark.parametrize("vector", list(published()))
def test_published_messages_open_or_fail_as_they_should(vector: dict[str, Any]) -> None:
    sealed = base64.b64decode(vector["ciphertext"] or "")
    if vector.get("compressed"):
        sealed = zlib.decompress(sealed)
    key, context = bytes.fromhex(vector["key"]), vector["context"].encode()
    if len(key) != 32:
        with pytest.raises(ValueError, match="32 bytes"):
            chunked.MessageKeys.derived(key, sealed[:24], context, "sha256")
        return
    message = chunked.MessageKeys.derived(key, sealed[:24], context, "sha256")
    opened = chunked.open_chunks(message, io.BytesIO(sealed[56:]).read)
    if vector["expect"] == "failure":
        if message.commitment == sealed[24:56]:
            with pytest.raises(DecryptFailed):
                b"".join(opened)
        return
    assert (message.key.hex(), message.nonce.hex()) == (vector["aead_key"], vector["base_nonce"])
    assert message.commitment == sealed[24:56]
    plaintext = b"".join(opened)
    assert (len(plaintext), hashlib.sha256(plaintext).hexdigest()) == (
        vector["payload_length"],
        vector["payload_sha256"],
    )
    assert b"".join(chunked.seal_chunks(message, io.BytesIO(plaintext).read)) == sealed[56:]


COMMITTED = json.loads((VECTORS / "cobblestone-256.json").read_text())


@pytest.mark.parametrize("vector", COMMITTED, ids=lambda vector: str(vector["size"]))
def test_the_committed_vectors_hold_for_both_implementations(vector: dict[str, Any]) -> None:
    key, salt = bytes.fromhex(vector["key"]), bytes.fromhex(vector["salt"])
    plaintext = plain_cobblestone.plaintext(vector["size"])
    message = chunked.MessageKeys.derived(key, salt, vector["context"].encode())
    ours = salt + message.commitment + b"".join(chunked.seal_chunks(message, io.BytesIO(plaintext).read))
    assert hashlib.sha256(ours).hexdigest() == vector["sha256"]
    assert ours[:56].hex() == vector["header"]
    assert vector["last_chunk"] is None or ours.endswith(bytes.fromhex(vector["last_chunk"]))
    assert plain_cobblestone.vector(vector["size"]) == vector


def in_plain_python(key: bytes, context: bytes, sealed: bytes) -> bytes:
    return plain_cobblestone.decrypt(key, context, sealed)


def in_the_library(key: bytes, context: bytes, sealed: bytes) -> bytes:
    from cryptography.cobblestone import Cobblestone256Decryptor

    message = Cobblestone256Decryptor(key, context=context)
    return message.update(sealed) + message.finalize()


OTHERS: list[Callable[[bytes, bytes, bytes], bytes]] = [in_plain_python]
if importlib.util.find_spec("cryptography.cobblestone"):  # from version 50, which has no wheels for Intel Macs
    OTHERS.append(in_the_library)


@pytest.mark.parametrize("decrypt", OTHERS)
@pytest.mark.parametrize("size", plain_cobblestone.SIZES)
def test_others_open_what_is_made_here_knowing_the_format(
    decrypt: Callable[[bytes, bytes, bytes], bytes], size: int
) -> None:
    plaintext = plain_cobblestone.plaintext(size)
    first, _, message = seal(plaintext).partition(b"\n")
    assert first == b"bk1s." + KID.encode()
    key = hkdf_expand("sha512", SECRET, b"backctl/stream/1", 32)
    assert decrypt(key, first + b"\0" + CONTEXT, message) == plaintext


# Properties.


@given(st.integers(0, 4 * CHUNK), st.integers(1, 5000), st.binary(max_size=20))
def test_what_is_sealed_opens_however_it_is_read(size: int, step: int, context: bytes) -> None:
    plaintext = plain_cobblestone.plaintext(size)
    source = io.BytesIO(plaintext)
    sealed = b"".join(chunked.seal_stream(KID, SECRET, lambda most: source.read(min(most, step)), context))
    assert len(sealed) == HEAD + size + 16 * (size // CHUNK + 1)
    back = io.BytesIO(sealed)

    def read(most: int) -> bytes:
        return back.read(min(most, step))

    assert chunked.read_header(read) == KID
    assert b"".join(chunked.open_stream(KID, SECRET, read, context)) == plaintext


def test_two_streams_of_the_same_have_nothing_in_common() -> None:
    one, other = seal(b"again"), seal(b"again")
    assert one[: len(chunked.header(KID))] == other[: len(chunked.header(KID))]
    assert one[len(chunked.header(KID)) :][:24] != other[len(chunked.header(KID)) :][:24]
    assert one[-21:] != other[-21:]


def test_every_changed_byte_is_found() -> None:
    sealed = seal(b"nobody changes this")
    for place in range(len(sealed)):
        for flip in (0x01, 0x80):
            refused(sealed[:place] + bytes([sealed[place] ^ flip]) + sealed[place + 1 :])


@pytest.mark.parametrize("size", [0, 1, CHUNK, 2 * CHUNK + 7, 7 * CHUNK, 8 * CHUNK])
def test_a_stream_cut_at_a_chunk_or_anywhere_around_it_fails(size: int) -> None:
    sealed = seal(plain_cobblestone.plaintext(size))
    boundaries = {HEAD + number * SEALED for number in range(size // CHUNK + 2)}
    for boundary in sorted(boundaries):
        for length in range(boundary - 20, boundary + 20):
            if 0 <= length < len(sealed):
                refused(sealed[:length])


@pytest.mark.parametrize("cut", [0, 1, 5, 24, 25, 48, 56, 80])
def test_a_stream_without_its_beginning_fails(cut: int) -> None:
    refused(seal(b"short")[:cut])
    if cut:
        refused(seal(b"short")[cut:])


def test_chunks_that_change_places_are_doubled_or_follow_the_end_fail() -> None:
    sealed = seal(plain_cobblestone.plaintext(2 * CHUNK + 9))
    head, one, two, last = sealed[:HEAD], sealed[HEAD:][:SEALED], sealed[HEAD + SEALED :][:SEALED], sealed[-25:]
    assert head + one + two + last == sealed
    for mixed in (two + one + last, one + one + last, one + last, one + two + two + last, one + two + last + last):
        refused(head + mixed)


def test_a_stream_belongs_to_its_context_its_key_and_its_kid() -> None:
    sealed = seal(b"mine")
    refused(sealed, context=b"backups:tuesday")
    refused(sealed, context=b"")
    refused(sealed, secret=bytes(32))
    refused(sealed.replace(b"0123456789ab", b"0123456789ac", 1))


@pytest.mark.parametrize(
    "first",
    [b"", b"bk1s.", b"bk1s.\n", b"bk1s.a b\n", b"bk1s." + b"a" * 65 + b"\n", b"bk1.a\n", b"bk2s.a\n", b"bk1s.a\r\n"],
)
def test_what_does_not_begin_like_a_stream_is_none(first: bytes) -> None:
    with pytest.raises(DecryptFailed):
        chunked.read_header(io.BytesIO(first + bytes(200)).read)


def test_a_key_never_serves_two_schemes() -> None:
    assert chunked.stream_key(SECRET) != SECRET
    assert chunked.stream_context("a", b"b") == b"bk1s.a\0b"


def test_the_counter_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_MOST", 3)
    assert unseal(seal(bytes(2 * CHUNK + 5))) == bytes(2 * CHUNK + 5)
    with pytest.raises(InvalidInput):
        seal(bytes(3 * CHUNK))


def test_memory_does_not_grow_with_the_stream() -> None:
    def peak(size: int) -> int:
        left = size

        def read(most: int) -> bytes:
            nonlocal left
            block = bytes(min(most, left))
            left -= len(block)
            return block

        tracemalloc.start()
        for _ in chunked.open_stream(KID, SECRET, _sealed(read), CONTEXT):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(1 << 10)  # load the imports
    small, large = peak(1 << 20), peak(32 << 20)
    assert large < small + 100_000
    assert large < 1_500_000


def _sealed(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    pieces = chunked.seal_stream(KID, SECRET, read, CONTEXT)
    rest = next(pieces)[len(chunked.header(KID)) :]

    def read_sealed(most: int) -> bytes:
        nonlocal rest
        rest = rest or next(pieces, b"")
        block, rest = rest[:most], rest[most:]
        return block

    return read_sealed

"""Reads and writes the keyring document as text: plain, or wrapped with a passphrase.

Wrapping encrypts the whole document with AES-256-GCM (NIST SP 800-38D). scrypt (RFC 7914) derives the key from the
passphrase and a new salt for every write, so no key and nonce are used twice. The parameters are stored with the
ciphertext, authenticated with it, and checked against limits before they are used. A wrong passphrase and a changed
byte cause the same error.
"""

import json
import os
from collections.abc import Callable, Mapping

from backctl.domain.canonical_json import canonical
from backctl.domain.errors import KeyringDamaged, KeyringSealed
from backctl.domain.json_document import parsed
from backctl.domain.key import encoded, unpadded
from backctl.domain.keyring import Keyring

Passphrase = Callable[[], str]

# OWASP Password Storage Cheat Sheet: scrypt with N = 2¹⁷, r = 8, p = 1. 128 MiB and about 0.4 s.
_LOG_N, _R, _P = 17, 8, 1
_MEMORY = 256 << 20  # bytes; N ≤ 2²⁰, as for password hashes
_WORK = 1 << 24  # N · r · p: sixteen times the work of the parameters above
_SALT, _NONCE = 16, 12
_FORMAT = 1
_CIPHER = "scrypt-A256GCM"
_RESTORE = "restore it from a backup"


def written(ring: Keyring, passphrase: Passphrase | None = None, *, log_n: int = _LOG_N) -> str:
    """Format a keyring as text, wrapped if there is a passphrase. `log_n` is the cost of scrypt."""
    document = ring.document()
    if passphrase is not None:
        document = _wrapped(canonical(document), passphrase(), log_n)
    return json.dumps(document, indent=2) + "\n"


def read(text: str, passphrase: Passphrase | None = None) -> Keyring:
    """Parse the text of a keyring. An unwrapped keyring needs no passphrase.

    Raises KeyringDamaged, and KeyringSealed for a wrapped keyring that cannot be decrypted.
    """
    try:
        document = parsed(text)
        if isinstance(document, dict) and "wrapped" in document:
            document = parsed(_unwrapped(document, passphrase).decode())
    except (ValueError, RecursionError):
        raise KeyringDamaged("the keyring is damaged: it is not valid JSON", hint=_RESTORE) from None
    return Keyring.from_document(document)


def read_from(source: str, text: str, passphrase: Passphrase | None) -> Keyring:
    """Like `read`, with errors that begin with the name of the source."""
    try:
        return read(text, passphrase)
    except (KeyringDamaged, KeyringSealed) as error:
        raise type(error)(f"{source}: {error.message}", hint=error.hint) from None


def is_wrapped(text: str) -> bool:
    """Whether the text, an output of `written`, is wrapped with a passphrase."""
    document = parsed(text)
    return isinstance(document, dict) and "wrapped" in document


def _wrapped(plain: bytes, passphrase: str, log_n: int) -> dict[str, object]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    head: dict[str, object] = {
        "cipher": _CIPHER,
        "n": 1 << log_n,
        "r": _R,
        "p": _P,
        "salt": encoded(salt),
        "nonce": encoded(nonce),
    }
    key = _derived(passphrase, salt, 1 << log_n, _R, _P)
    sealed = AESGCM(key).encrypt(nonce, plain, canonical({"format": _FORMAT, "wrapped": head}))
    return {"format": _FORMAT, "wrapped": {**head, "ciphertext": encoded(sealed)}}


def _unwrapped(document: Mapping[str, object], passphrase: Passphrase | None) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    match document:
        case {
            "format": int(version),
            "wrapped": {
                "cipher": str(cipher),
                "n": int(n),
                "r": int(r),
                "p": int(p),
                "salt": str(salt),
                "nonce": str(nonce),
                "ciphertext": str(ciphertext),
                **more,
            },
            **others,
        } if (version, cipher) == (_FORMAT, _CIPHER) and not more and not others:
            pass
        case _:
            raise KeyringDamaged("the keyring is damaged: its wrapping format is unknown", hint=_NEWER)
    if not _is_bearable(n, r, p):
        raise KeyringDamaged("the keyring is damaged: decrypting it would take too much work", hint=_RESTORE)
    if passphrase is None:
        raise KeyringSealed(
            "the keyring is wrapped with a passphrase, but none is configured",
            hint="set keyring.passphrase_file, keyring.passphrase_command or BACKCTL_KEYRING_PASSPHRASE",
        )
    head: dict[str, object] = {"cipher": cipher, "n": n, "r": r, "p": p, "salt": salt, "nonce": nonce}
    try:
        key = _derived(passphrase(), unpadded(salt), n, r, p)
        bound = canonical({"format": _FORMAT, "wrapped": head})
        return AESGCM(key).decrypt(unpadded(nonce), unpadded(ciphertext), bound)
    except (InvalidTag, ValueError):
        raise KeyringSealed(
            "the keyring cannot be decrypted: the passphrase is wrong, or the keyring was changed",
            hint="check keyring.passphrase; restore a damaged keyring from a backup",
        ) from None


_NEWER = "it may come from a newer backctl"


def _is_bearable(n: int, r: int, p: int) -> bool:
    return (
        2 <= n <= 1 << 20
        and n & (n - 1) == 0
        and r >= 1
        and p >= 1
        and n.bit_length() - 1 < 16 * r  # RFC 7914 §2
        and 128 * n * r <= _MEMORY
        and n * r * p <= _WORK
    )


def _derived(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    import hashlib

    memory = 128 * r * (n + p + 2)
    secret = passphrase.encode(errors="surrogateescape")  # an environment variable may contain any bytes
    try:
        return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=32)
    except ValueError as error:  # the parameters are valid, so OpenSSL has run out of memory
        raise MemoryError from error

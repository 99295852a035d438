"""Checks password hashes of other programs, in other functions than bcrypt. Parses strictly; limits costs first.

    $argon2id$v=19$m=65536,t=3,p=4$SALT$HASH      PHC strings; argon2i and argon2d too. RFC 9106
    $scrypt$ln=14,r=8,p=1$SALT$HASH               passlib; Ory Kratos, where `ln` is N itself. RFC 7914
    $pbkdf2-sha256$29000$SALT$HASH                passlib and Authelia; Ory Kratos with `i=…,l=…`. RFC 8018
    pbkdf2_sha256$600000$SALT$HASH                Django; its scrypt$N$SALT$r$p$HASH and argon2$argon2id$… too
    scrypt:32768:8:1$SALT$HASH                    Werkzeug; its pbkdf2:sha256:600000$SALT$HASH too

In the first three formats, SALT and HASH are base64, and named parameters can have any order: node-argon2 writes
`m=65536,p=4,t=3`. In Django's and Werkzeug's formats the salt is text; Werkzeug's
hash is hexadecimal. The limits below are necessary: without them, one imported row could occupy a machine for a day.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from backctl.domain.errors import PasswordHashUnsupported

_KIB_MAX = 256 * 1024
_PASSES_MAX = 8  # over that much memory: about ten seconds
_SCRYPT_N_MAX = 1 << 20
_ITERATIONS_MAX = 10_000_000
_LANES_MAX = 255
_DIGEST_MIN, _DIGEST_MAX = 16, 64  # shorter digests could match by chance; no program writes longer ones
_ARGON2_SALT_MIN = 8  # RFC 9106 §3.1
_ARGON2_VERSION = 19
_LENGTH_MAX = 2048
_LOG_OR_N = 32  # scrypt never has 2³² rounds, so a larger `ln` is N itself

_N = "[1-9][0-9]{0,18}"
_BASE64 = "[A-Za-z0-9+/]{0,1400}={0,2}"
_AB64 = "[A-Za-z0-9+/.]{0,1400}={0,2}"  # passlib's alphabet: a dot instead of the plus, no padding
_TEXT = "[!-#%-~]{1,255}"  # printable ASCII without the dollar sign
_HEX = "[0-9a-f]+"
_DIGEST_SIZES = {"sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}
_FUNCTIONS = "|".join(_DIGEST_SIZES)


@dataclass(frozen=True, slots=True, repr=False)
class ForeignHash:
    """A parsed hash. `scheme` is the name of the function, such as `argon2id`.

    `excess` completes the sentence "the hash …" if the hash exceeds a limit. `threads` is the number of threads among
    which the function divides its work.
    """

    scheme: str
    digest: bytes
    derive: Callable[[bytes], bytes]
    excess: str | None = None
    threads: int = 1

    def fits(self, password: bytes) -> bool:
        """Whether the password matches. Must not be called if there is an `excess`.

        Raises PasswordHashUnsupported if the machine's library lacks the function.
        """
        import hmac

        return hmac.compare_digest(self.derive(password), self.digest)


def parse(encoded: str) -> ForeignHash | None:
    """Parse a hash; None for any other format."""
    if len(encoded) > _LENGTH_MAX:
        return None
    for form, read in _FORMS:
        match = re.fullmatch(form, encoded, re.ASCII)
        if match is not None:
            return read(match)
    return None


def _in_any_order(*names: str) -> str:
    """Return the pattern of a list of all these parameters, such as `m=65536,t=3,p=4`, each once and in any order.

    The values are groups with these names.
    """
    each = "".join(f"(?=(?:[a-z]+=[0-9]+,)*?{name}=(?P<{name}>{_N})[,$])" for name in names)
    return each + ",".join(["[a-z]+=[0-9]+"] * len(names))


# The formats. Each reader returns None if a part is outside the range of the function.


def _read_argon2(match: re.Match[str]) -> ForeignHash | None:
    salt, digest = _from_base64(match["salt"]), _from_base64(match["digest"])
    memory, passes, lanes = int(match["m"]), int(match["t"]), int(match["p"])
    if salt is None or digest is None or len(salt) < _ARGON2_SALT_MIN or memory < 8 * lanes:  # RFC 9106 §3.1
        return None
    version = int(match["version"] or 16)  # version 1.0 of the reference implementation omits it
    excess = _memory_excess(memory, memory * passes)
    if lanes > _LANES_MAX:
        excess = f"requires {lanes} lanes; the limit is {_LANES_MAX}"
    if version != _ARGON2_VERSION:
        excess = f"has argon2 version {version}; only version {_ARGON2_VERSION} is supported"
    derive = partial(
        _argon2, kind=match["kind"], salt=salt, length=len(digest), memory=memory, passes=passes, lanes=lanes
    )
    return _made(f"argon2{match['kind']}", digest, derive, excess, threads=lanes)


def _read_scrypt_phc(match: re.Match[str]) -> ForeignHash | None:
    ln = int(match["ln"])
    n = 1 << ln if ln < _LOG_OR_N else ln
    return _scrypt_of(n, match, _from_base64(match["salt"]), _from_base64(match["digest"]))


def _read_scrypt_django(match: re.Match[str]) -> ForeignHash | None:
    return _scrypt_of(int(match["n"]), match, match["salt"].encode(), _from_base64(match["digest"]))


def _read_scrypt_werkzeug(match: re.Match[str]) -> ForeignHash | None:
    return _scrypt_of(int(match["n"]), match, match["salt"].encode(), _from_hex(match["digest"]))


def _scrypt_of(n: int, match: re.Match[str], salt: bytes | None, digest: bytes | None) -> ForeignHash | None:
    r, p = int(match["r"]), int(match["p"])
    log_n = n.bit_length() - 1
    if salt is None or digest is None or n < 2 or n != 1 << log_n or log_n >= 16 * r:  # RFC 7914 §2
        return None
    memory = 128 * r * (n + p - 1) // 1024  # §2: V holds N blocks of 128·r bytes, B holds p of them
    excess = _memory_excess(memory, 128 * r * n * p // 1024)
    if n > _SCRYPT_N_MAX:
        excess = f"requires N = {n}; the limit is {_SCRYPT_N_MAX}"
    return _made("scrypt", digest, partial(_scrypt, salt=salt, length=len(digest), n=n, r=r, p=p), excess)


def _read_pbkdf2_phc(match: re.Match[str]) -> ForeignHash | None:
    salt, digest = (_from_base64(match[part].replace(".", "+")) for part in ("salt", "digest"))
    return _pbkdf2_of(match, int(match["i"] or match["rounds"]), salt, digest)


def _read_pbkdf2_django(match: re.Match[str]) -> ForeignHash | None:
    return _pbkdf2_of(match, int(match["i"]), match["salt"].encode(), _from_base64(match["digest"]))


def _read_pbkdf2_werkzeug(match: re.Match[str]) -> ForeignHash | None:
    return _pbkdf2_of(match, int(match["i"]), match["salt"].encode(), _from_hex(match["digest"]))


def _pbkdf2_of(match: re.Match[str], iterations: int, salt: bytes | None, digest: bytes | None) -> ForeignHash | None:
    if not salt or digest is None:
        return None
    function = match["function"] or "sha1"
    blocks = -(-len(digest) // _DIGEST_SIZES[function])  # RFC 8018 §5.2: the iterations run for each block
    excess = None
    if iterations * blocks > _ITERATIONS_MAX:
        excess = f"requires {iterations * blocks} iterations; the limit is {_ITERATIONS_MAX}"
    derive = partial(_pbkdf2, function=function, salt=salt, length=len(digest), iterations=iterations)
    return _made(f"pbkdf2-{function}", digest, derive, excess)


_FORMS: tuple[tuple[str, Callable[[re.Match[str]], ForeignHash | None]], ...] = (
    (
        (
            r"(?:argon2)?\$argon2(?P<kind>id|i|d)\$"
            rf"(?:v=(?P<version>{_N})\$)?{_in_any_order('m', 't', 'p')}\$"
            rf"(?P<salt>{_BASE64})\$(?P<digest>{_BASE64})"
        ),
        _read_argon2,
    ),
    (
        rf"\$scrypt\${_in_any_order('ln', 'r', 'p')}\$(?P<salt>{_BASE64})\$(?P<digest>{_BASE64})",
        _read_scrypt_phc,
    ),
    (
        rf"scrypt\$(?P<n>{_N})\$(?P<salt>{_TEXT})\$(?P<r>{_N})\$(?P<p>{_N})\$(?P<digest>{_BASE64})",
        _read_scrypt_django,
    ),
    (
        rf"scrypt:(?P<n>{_N}):(?P<r>{_N}):(?P<p>{_N})\$(?P<salt>{_TEXT})\$(?P<digest>{_HEX})",
        _read_scrypt_werkzeug,
    ),
    (
        (
            rf"\$pbkdf2(?:-(?P<function>{_FUNCTIONS}))?\$"
            rf"(?:(?P<l>l={_N},)?i=(?P<i>{_N})(?(l)|(?:,l={_N})?)|(?P<rounds>{_N}))\$"
            rf"(?P<salt>{_AB64})\$(?P<digest>{_AB64})"
        ),
        _read_pbkdf2_phc,
    ),
    (
        rf"pbkdf2_(?P<function>sha1|sha256)\$(?P<i>{_N})\$(?P<salt>{_TEXT})\$(?P<digest>{_BASE64})",
        _read_pbkdf2_django,
    ),
    (
        rf"pbkdf2:(?P<function>{_FUNCTIONS}):(?P<i>{_N})\$(?P<salt>{_TEXT})\$(?P<digest>{_HEX})",
        _read_pbkdf2_werkzeug,
    ),
)


# Shared helpers.


def _made(
    scheme: str, digest: bytes, derive: Callable[[bytes], bytes], excess: str | None, *, threads: int = 1
) -> ForeignHash | None:
    return ForeignHash(scheme, digest, derive, excess, threads) if _DIGEST_MIN <= len(digest) <= _DIGEST_MAX else None


def _memory_excess(kib: int, kib_touched: int) -> str | None:
    if kib > _KIB_MAX:
        return f"requires {kib} KiB of memory; the limit is {_KIB_MAX}"
    if kib_touched > _KIB_MAX * _PASSES_MAX:
        return f"fills {kib_touched} KiB of memory in total; the limit is {_KIB_MAX * _PASSES_MAX}"
    return None


def _from_base64(text: str) -> bytes | None:
    """Decode RFC 4648 §4 base64, padded or not; None for non-canonical text."""
    import base64
    import binascii

    bare = text.rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    try:
        raw = base64.b64decode(padded, validate=True)
    except binascii.Error:
        return None
    return raw if text in (bare, padded) and base64.b64encode(raw).decode() == padded else None


def _from_hex(text: str) -> bytes | None:
    return bytes.fromhex(text) if len(text) % 2 == 0 else None


# The functions.


def _argon2(password: bytes, *, kind: str, salt: bytes, length: int, memory: int, passes: int, lanes: int) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2d, Argon2i, Argon2id

    functions: dict[str, type[Argon2d] | type[Argon2i] | type[Argon2id]] = {"id": Argon2id, "i": Argon2i, "d": Argon2d}
    try:
        function = functions[kind](salt=salt, length=length, iterations=passes, lanes=lanes, memory_cost=memory)
        return function.derive(password)
    except UnsupportedAlgorithm:
        raise PasswordHashUnsupported(
            f"the stored hash uses argon2{kind}, which OpenSSL on this machine does not support",
            hint="install cryptography from a wheel, which includes OpenSSL, or set another password",
        ) from None


def _scrypt(password: bytes, *, salt: bytes, length: int, n: int, r: int, p: int) -> bytes:
    import hashlib

    memory = 128 * r * (n + p + 2)  # the memory that OpenSSL compares with `maxmem`
    try:
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=length)
    except ValueError as error:  # the parameters are valid, so OpenSSL has run out of memory
        raise MemoryError from error


def _pbkdf2(password: bytes, *, function: str, salt: bytes, length: int, iterations: int) -> bytes:
    import hashlib

    return hashlib.pbkdf2_hmac(function, password, salt, iterations, length)

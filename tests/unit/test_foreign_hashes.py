"""Hashes from other programs: published samples verify, and hashes that need too much work are rejected at once."""

import base64
import hashlib
import os
import time
from functools import partial

import bcrypt
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf import argon2
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.accepted_hashes import accepted

from backctl.domain.errors import InvalidPasswordHash, PasswordHashUnsupported
from backctl.domain.values import PasswordHash, Secret
from backctl.infrastructure.crypto import foreign_hashes
from backctl.infrastructure.crypto.password_hasher import BcryptHasher

TABLE = "t\u00e1\u0411\u2113\u0259"  # passlib.tests.utils: UPASS_TABLE
WAV = "\u0399\u03c9\u03b1\u03bd\u03bd\u03b7\u03c2"  # passlib.tests.test_handlers: UPASS_WAV
LETMEIN = "l\u00e8tmein"

# github.com/ory/docs, docs/kratos/manage-identities/25_import-user-accounts-identities.mdx: the examples of "BCrypt,
# PKBDF2, Argon2, SCrypt family hashed password"; their password is the one in Kratos's own tests.
KRATOS_DOCUMENTS = [
    (
        "123456",
        "$scrypt$ln=16384,r=8,p=1$ZtQva9xCHzlSELH/mA7Kj5KjH2tCrkbwYzdxknkL0QQ=$pnTcXKaWVT+FwFDdk3vO1K0J7ZgOxdSU1tCJNYmn8zI=",
    ),
    ("123456", "$pbkdf2-sha256$i=1000,l=128$e8/arsEf4cvQihdNgqj0Nw$5xQQKNTyeTHx2Ld5/JDE7A"),
    ("123456", "$argon2id$v=19$m=16,t=2,p=1$bVI1aE1SaTV6SGQ3bzdXdw$fnjCcZYmEPOUOjYXsT92Cg"),
    ("123456", "$2a$10$ZsCsoVQ3xfBG/K2z2XpBf.tm90GZmtOqtqWcB5.pYd5Eq8y7RlDyq"),
]
# github.com/ory/kratos, hash/hasher_test.go: TestCompare.
KRATOS = [
    ("test", "$argon2id$v=19$m=32,t=2,p=4$cm94YnRVOW5jZzFzcVE4bQ$MNzk5BtR2vUhrp6qQEjRNw"),
    ("test", "$argon2i$v=19$m=65536,t=3,p=4$kk51rW/vxIVCYn+EG4kTSg$NyT88uraJ6im6dyha/M5jhXvpqlEdlS/9fEm7ScMb8c"),
    ("test", "$argon2id$v=19$m=32,t=5,p=4$cm94YnRVOW5jZzFzcVE4bQ$fBxypOL0nP/zdPE71JtAV71i487LbX3fJI5PoTN6Lp4"),
    (
        "test",
        "$pbkdf2-sha256$i=100000,l=32$1jP+5Zxpxgtee/iPxGgOz0RfE9/KJuDElP1ley4VxXc$QJxzfvdbHYBpydCbHoFg3GJEqMFULwskiuqiJctoYpI",
    ),
    (
        "test",
        "$pbkdf2-sha512$i=100000,l=32$bdHBpn7OWOivJMVJypy2UqR0UnaD5prQXRZevj/05YU$+wArTfv1a+bNGO1iZrmEdVjhA+lL11wF4/IxpgYfPwc",
    ),
    (
        "test",
        "$scrypt$ln=16384,r=8,p=1$2npRo7P03Mt8keSoMbyD/tKFWyUzjiQf2svUaNDSrhA=$MiCzNcIplSMqSBrm4HckjYqYhaVPPjTARTzwB1cVNYE=",
    ),
]
# github.com/authelia/authelia, docs/content/reference/guides/passwords.md: from the user file and from `crypto hash`.
AUTHELIA = [
    ("password", "$argon2id$v=19$m=65536,t=3,p=2$BpLnfgDsc2WD8F2q$o/vzA4myCqZZ36bUGsDY//8mKUYNZZaR0t4MFFSs+iM"),
    ("password", "$argon2id$v=19$m=65536,t=3,p=4$Hjc8e7WYcBFcJmEDUOsS9A$ozM7RyZR1EyDR8cuyVpDDfmLrGPGFgo5E2NNqRumui4"),
]
# github.com/django/django, tests/auth_tests/test_hashers.py; the rest from passlib 1.7.4, test_handlers_django.py.
DJANGO = [
    (LETMEIN, "pbkdf2_sha256$30000$seasalt$VrX+V8drCGo68wlvy6rfu8i1d1pfkdeXA4LJkRGJodY="),
    (LETMEIN, "pbkdf2_sha256$30000$seasalt2$a75qzbogeVhNFeMqhdgyyoqGKpIzYUo651sq57RERew="),
    (LETMEIN, "pbkdf2_sha1$30000$seasalt2$pMzU1zNPcydf6wjnJFbiVKwgULc="),
    (
        LETMEIN,
        "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
    ),
    ("not a password", "pbkdf2_sha256$10000$kjVJaVz6qsnJ$5yPHw3rwJGECpUf70daLGhOrQ5+AMxIJdz1c3bqK1Rs="),
    (TABLE, "pbkdf2_sha256$10000$bEwAfNrH1TlQ$OgYUblFNUX1B8GfMqaCYUK/iHyO0pa7STTDdaEJBuY0="),
    ("password", "argon2$argon2i$v=19$m=380,t=2,p=2$c29tZXNhbHQ$SrssP8n7m/12VWPM8dvNrw"),
    (LETMEIN, "argon2$argon2i$v=19$m=512,t=2,p=2$V25jN1l4UUJZWkR1$MxpA1BD2Gh7+D79gaAw6sQ"),
    ("", "bcrypt$$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
    (TABLE, "bcrypt$$2a$05$Z17AXnnlpzddNUvnC6cZNOSwMA/8oNiKnHTHTwLlBijfucQQlHjaG"),
    ("", "bcrypt_sha256$$2a$06$/3OeRpbOf8/l6nPPRdZPp.nRiyYqPobEZGdNRBWihQhiFDh1ws1tu"),
    (LETMEIN, "bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC"),
    ("abc123" * 12, "bcrypt_sha256$$2a$06$Tg/oYyZTyAf.Nb3qSgN61OySmyXA8FoY4PjGizjE1QSDfuL5MXNni"),
    ("abc123" * 12 + "qwr", "bcrypt_sha256$$2a$06$Tg/oYyZTyAf.Nb3qSgN61Ocy0BEz1RK6xslSNi8PlaLX2pe7x/KQG"),
]
# passlib 1.7.4: test_handlers_argon2.py, test_handlers_scrypt.py (the first two and the last from the scrypt paper,
# appendix B), test_handlers_pbkdf2.py.
PASSLIB = [
    ("password", "$argon2i$v=19$m=256,t=1,p=1$c29tZXNhbHQ$AJFIsNZTMKTAewB4+ETN1A"),
    (TABLE, "$argon2i$v=19$m=512,t=2,p=2$1sV0O4PWLtc12Ypv1f7oGw$z+yqzlKtrq3SaNfXDfIDnQ"),
    ("password\0", "$argon2i$v=19$m=512,t=2,p=2$c29tZXNhbHQ$Fb5+nPuLzZvtqKRwqUEtUQ"),
    ("password", "$argon2d$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$cZn5d+rFh+ZfuRhm2iGUGgcrW5YLeM6q7L3vBsdmFA0"),
    ("", "$scrypt$ln=4,r=1,p=1$$d9ZXYjhleyA7GcpCwYoEl/FrSETjB0ro39/6P+3iFEI"),
    ("password", "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWI"),
    ("test", "$scrypt$ln=8,r=8,p=1$wlhLyXmP8b53bm1NKYVQqg$mTpvG8lzuuDk+DWz8HZIB6Vum6erDuUm0As5yU+VxWA"),
    (TABLE, "$scrypt$ln=7,r=8,p=1$jjGmtDamdA4BQAjBeA9BSA$OiWRHhQtpDx7M/793x6UXK14AD512jg/qNm/hkWZG4M"),
    ("nacl", "$scrypt$ln=1,r=4,p=2$yhnD+J+Tci4lZCwFgHCuVQ$fAsEWmxSHuC0cHKMwKVFPzrQukgvK09Sj+NueTSxKds"),
    ("pleaseletmein", "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI"),
    ("password", "$pbkdf2$1212$OB.dtnSEXZK8U5cgxU/GYQ$y5LKPOplRmok7CZp/aqVDVg8zGI"),
    ("password", "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ"),
    (WAV, "$pbkdf2-sha256$1212$3SABFJGDtyhrQMVt1uABPw$WyaUoqCLgvz97s523nF4iuOqZNbp5Nt8do/cuaa7AiI"),
    (
        "password",
        "$pbkdf2-sha512$1212$RHY0Fr3IDMSVO/RSZyb5ow$eNLfBK.eVozomMr.1gYa17k9B7KIK25NOEshvhrSX.esqY3s.FvWZViXz4KoLlQI.BzY/YTNJOiKc5gBYFYGww",
    ),
]
# github.com/P-H-C/phc-winner-argon2, src/test.c, version 0x13.
ARGON2 = [
    ("password", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA"),
    ("password", "$argon2i$v=19$m=262144,t=2,p=1$c29tZXNhbHQ$KW266AuAfNzqrUSudBtQbxTbCVkmexg7EY+bJCKbx8s"),
    ("password", "$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E"),
    ("differentpassword", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$FK6NoBr+qHAMI1jc73xTWNkCEoK9iGY6RWL1n7dNIu4"),
    ("password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
]


def plain(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def bare(raw: bytes) -> str:
    return plain(raw).rstrip("=")


# RFC 7914 §12 and §11, and RFC 6070, in the forms of Werkzeug, passlib and Django.
SCRYPT_RFC = (
    "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
    "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
)
PBKDF2_RFC = (
    "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
    "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"
)
RFC = [
    ("password", f"scrypt:1024:8:16$NaCl${SCRYPT_RFC}"),
    ("password", f"scrypt$1024$NaCl$8$16${plain(bytes.fromhex(SCRYPT_RFC))}"),
    ("Password", f"pbkdf2:sha256:80000$NaCl${PBKDF2_RFC}"),
    ("Password", f"pbkdf2_sha256$80000$NaCl${plain(bytes.fromhex(PBKDF2_RFC))}"),
    ("Password", f"$pbkdf2-sha256$i=80000,l=64${bare(b'NaCl')}${bare(bytes.fromhex(PBKDF2_RFC))}"),
    ("password", "pbkdf2:sha1:4096$salt$4b007901b765489abead49d926f721d065a429c1"),
]
# Only the first 32 bytes, which are the PBKDF2 output for a shorter length.
RFC += [("passwd", "pbkdf2:sha256:1$salt$55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc")]
# github.com/riverrun/pbkdf2_elixir, test/base_test.exs: SHA-224 and SHA-384.
ELIXIR = [
    (
        "passDATAb00AB7YxDTT",
        "$pbkdf2-sha224$100000$c2FsdEtFWWJjVGNYSENCeHRqRA$gIzBTgAdt2f1t01eNMRX6Z88RIiD4Xwccvf.13gwJ7E",
    ),
    (
        "passDATAb00AB7YxDTT",
        "$pbkdf2-sha384$100000$c2FsdEtFWWJjVGNYSENCeHRqRA$05AhNZYUxfNCmBD6J6Fdp1HO9Z1931bMmOhAbmkdhHk",
    ),
]
# github.com/go-crypt/crypt, which Authelia uses: the tests of PBKDF2.
GO_CRYPT = [
    ("password", "$pbkdf2-sha224$100000$qRzrfXPp6ilID9bO89rJkA$akPivgY3p3gLDj8Kd7agycHkM5b0xlTxeLEsqg"),
    (
        "password",
        "$pbkdf2-sha384$100000$GIZt3eMjZrEs0ycxed3zHg$o8IZWpxd.shbcATBSk9nHqktuvLTv1YeLYowxZM7mO5hhWLa3s4tVFejl9NH9jSO",
    ),
]
PUBLISHED = [*KRATOS_DOCUMENTS, *KRATOS, *AUTHELIA, *DJANGO, *PASSLIB, *ARGON2, *RFC, *ELIXIR, *GO_CRYPT]


@pytest.mark.parametrize(("password", "encoded"), PUBLISHED)
def test_a_published_sample_is_accepted_and_fits_its_password_alone(password: str, encoded: str) -> None:
    hasher = BcryptHasher(4)
    assert hasher.is_outdated(accepted(hasher, encoded, password))


@pytest.mark.parametrize(
    ("password", "encoded"),
    [
        ("password", "$argon2id$v=19$m=65536,p=1,t=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
        ("password", "$argon2id$v=19$p=1,t=2,m=65536$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
        ("password", "argon2$argon2i$v=19$t=2,p=2,m=380$c29tZXNhbHQ$SrssP8n7m/12VWPM8dvNrw"),
        ("password", "$scrypt$ln=10,p=16,r=8$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWI"),
        ("password", "$scrypt$r=8,p=16,ln=10$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWI"),
        ("123456", "$pbkdf2-sha256$l=128,i=1000$e8/arsEf4cvQihdNgqj0Nw$5xQQKNTyeTHx2Ld5/JDE7A"),
    ],
)
def test_named_parameters_have_any_order(password: str, encoded: str) -> None:
    accepted(BcryptHasher(4), encoded, password)


@pytest.mark.parametrize("function", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_each_function_of_werkzeug_and_kratos_is_computed(function: str) -> None:
    digest = hashlib.pbkdf2_hmac(function, b"password", b"somesalt", 1000)
    accepted(BcryptHasher(4), f"pbkdf2:{function}:1000$somesalt${digest.hex()}", "password")
    parameters = f"i=1000,l={len(digest)}"
    accepted(BcryptHasher(4), f"$pbkdf2-{function}${parameters}${bare(b'somesalt')}${bare(digest)}", "password")


def test_the_library_computes_argon2_as_the_rfc_has_it() -> None:
    """RFC 9106 §5.1 to §5.3. Stored hashes cannot contain the secret and the associated data of these vectors."""
    functions: dict[type[argon2.Argon2d] | type[argon2.Argon2i] | type[argon2.Argon2id], str] = {
        argon2.Argon2d: "512b391b6f1162975371d30919734294f868e3be3984f3c1a13a4db9fabe4acb",
        argon2.Argon2i: "c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8",
        argon2.Argon2id: "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659",
    }
    for function, tag in functions.items():
        made = function(
            salt=b"\x02" * 16, length=32, iterations=3, lanes=4, memory_cost=32, secret=b"\x03" * 8, ad=b"\x04" * 12
        )
        assert made.derive(b"\x01" * 32).hex() == tag


ID = "$argon2id$v=19$m=16,t=2,p=1$bVI1aE1SaTV6SGQ3bzdXdw$fnjCcZYmEPOUOjYXsT92Cg"
SCRYPT = "$scrypt$ln=4,r=1,p=1$$d9ZXYjhleyA7GcpCwYoEl/FrSETjB0ro39/6P+3iFEI"
PBKDF2 = "pbkdf2_sha256$10000$kjVJaVz6qsnJ$5yPHw3rwJGECpUf70daLGhOrQ5+AMxIJdz1c3bqK1Rs="
WERKZEUG = f"scrypt:1024:8:16$NaCl${SCRYPT_RFC}"


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (ID.replace("m=16", "m=262145"), "the hash requires 262145 KiB of memory; the limit is 262144"),
        (ID.replace("m=16", "m=1048576"), "the hash requires 1048576 KiB of memory; the limit is 262144"),
        (ID.replace("t=2", "t=9999999999999"), None),
        (ID.replace("m=16,t=2", "m=262144,t=9"), "the hash fills 2359296 KiB of memory in total; the limit is 2097152"),
        (ID.replace("m=16,t=2,p=1", "m=65536,t=2,p=256"), "the hash requires 256 lanes; the limit is 255"),
        (
            # phc-winner-argon2, src/test.c, version 0x10
            "$argon2i$m=65536,t=2,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
            "the hash has argon2 version 16; only version 19 is supported",
        ),
        (ID.replace("v=19", "v=20"), "the hash has argon2 version 20; only version 19 is supported"),
        # RFC 7914 §12, the fourth: N = 2²⁰, r = 8
        (SCRYPT.replace("ln=4,r=1", "ln=20,r=8"), "the hash requires 1048576 KiB of memory; the limit is 262144"),
        (SCRYPT.replace("ln=4,r=1", "ln=21,r=2"), "the hash requires N = 2097152; the limit is 1048576"),
        (SCRYPT.replace("ln=4,r=1", "ln=4194304,r=2"), "the hash requires N = 4194304; the limit is 1048576"),
        (SCRYPT.replace("ln=4,r=1,p=1", "ln=18,r=8,p=9"), None),
        (SCRYPT.replace("p=1", "p=9999999999"), None),
        (SCRYPT.replace("r=1", "r=9999999999999999"), None),
        (WERKZEUG.replace(":1024:", ":2097152:"), "the hash requires N = 2097152; the limit is 1048576"),
        (PBKDF2.replace("10000", "10000001"), "the hash requires 10000001 iterations; the limit is 10000000"),
        (PBKDF2.replace("10000", "9" * 19), f"the hash requires {'9' * 19} iterations; the limit is 10000000"),
        # two blocks of SHA-256
        (f"pbkdf2:sha256:5000001$NaCl${PBKDF2_RFC}", "the hash requires 10000002 iterations; the limit is 10000000"),
    ],
)
def test_what_asks_for_too_much_is_refused_and_never_computed(encoded: str, message: str | None) -> None:
    hasher = BcryptHasher(4)
    begun = time.monotonic()
    with pytest.raises(InvalidPasswordHash) as refusal:
        hasher.accept(Secret(encoded))
    if message is not None:
        assert refusal.value.message == message
    assert encoded not in refusal.value.message
    assert not hasher.verify(Secret("password"), PasswordHash(encoded))
    assert time.monotonic() - begun < 5, "what it asks for would have taken longer"


@pytest.mark.parametrize(
    ("encoded", "scheme"),
    [
        (ID, "argon2id"),
        (ID.replace("argon2id", "argon2d"), "argon2d"),
        ("argon2" + ID.replace("argon2id", "argon2i"), "argon2i"),
        (SCRYPT, "scrypt"),
        (WERKZEUG, "scrypt"),
        (PBKDF2, "pbkdf2-sha256"),
        (PBKDF2.replace("sha256", "sha1"), "pbkdf2-sha1"),
        (f"pbkdf2:sha512:1000$NaCl${PBKDF2_RFC}", "pbkdf2-sha512"),
        (SCRYPT.replace("ln=4,r=1", "ln=22,r=8"), "scrypt"),
    ],
)
def test_the_scheme_has_the_same_name_in_every_format(encoded: str, scheme: str) -> None:
    assert BcryptHasher(4).scheme_of(PasswordHash(encoded)) == scheme


@pytest.mark.parametrize(
    "encoded",
    [
        ID.replace("m=16,t=2", "m=262144,t=8"),
        SCRYPT.replace("ln=4,r=1", "ln=20,r=2"),
        SCRYPT.replace("ln=4,r=1", "ln=1048576,r=2"),
        PBKDF2.replace("10000", "10000000"),
    ],
)
def test_what_asks_for_exactly_the_bound_is_accepted(encoded: str) -> None:
    assert BcryptHasher(4).accept(Secret(encoded)).encoded == encoded


@pytest.mark.parametrize(
    "encoded",
    [
        ID[:-1],
        ID + "\n",
        ID + "$",
        ID + "=",  # correct padding would be `==`, and padding is not allowed
        ID.replace("argon2id", "argon2x"),
        ID.replace("argon2id", "Argon2id"),
        ID.replace("v=19$", "v=019$"),
        ID.replace("m=16,t=2", "m=16,m=16"),
        ID.replace("m=16,t=2", "m=16,t=2,t=2"),
        ID.replace("m=16,t=2,p=1", "m=16,t=2"),
        ID.replace("m=16,t=2,p=1", "m=16,t=2,p=1,"),
        ID.replace("m=16,t=2,p=1", "m=16,,t=2,p=1"),
        ID.replace("p=1", "x=1"),
        ID.replace("m=16", "m=016"),
        ID.replace("m=16", "m=-16"),
        ID.replace("m=16", "m=١٦"),
        ID.replace("m=16", "m=7"),  # less than 8 KiB per lane
        ID.replace("t=2", "t=0"),
        ID.replace("p=1", "p=3"),
        ID.replace("p=1", "p=1,keyid=ABCD"),
        ID.replace("p=1", "p=1,data=c29tZWRhdGE"),
        ID.replace("bVI1aE1SaTV6SGQ3bzdXdw", "c2FsdA"),  # salt of 4 bytes
        ID.replace("Cg", "Ch"),  # unused bits that no encoder sets
        ID.replace("fnjCcZYmEPOUOjYXsT92Cg", "fnjCcZYmEPOUOjYXsT92"),  # hash of 15 bytes
        ID.replace("fnjC", "fnj-"),
        "$argon2id$v=19$m=16,t=2,p=1$bVI1aE1SaTV6SGQ3bzdXdw",
        SCRYPT.replace("ln=4", "ln=0"),
        SCRYPT.replace("ln=4", "ln=16"),  # N must be below 2^(16·r)
        SCRYPT.replace("ln=4", "ln=100"),  # neither a logarithm nor a power of two
        SCRYPT.replace("r=1", "r=A"),
        SCRYPT.replace(",p=1", ""),
        SCRYPT.replace("$scrypt$", "scrypt$"),
        WERKZEUG.replace("1024", "1000"),
        WERKZEUG.replace("1024", "1"),
        WERKZEUG[:-1],
        WERKZEUG.upper(),
        WERKZEUG.replace("$NaCl$", "$$"),
        WERKZEUG.replace("$NaCl$", "$Na Cl$"),
        WERKZEUG + "00",  # 65 bytes
        PBKDF2 + "=",
        PBKDF2.replace("sha256", "sha224"),
        PBKDF2.replace("10000", "0"),
        PBKDF2.replace("10000", "-1"),
        PBKDF2.replace("10000", "1e4"),
        PBKDF2.replace("$kjVJaVz6qsnJ$", "$$"),
        "pbkdf2:sha256$NaCl$" + PBKDF2_RFC,  # Werkzeug before 0.9: how many iterations depends on its version
        "$pbkdf2$01212$THDqatpidANpadlLeTeOEg$HV3oi1k5C5LQCgG1BMOL.BX4YZc",
        "$pbkdf2$$THDqatpidANpadlLeTeOEg$HV3oi1k5C5LQCgG1BMOL.BX4YZc",
        "bcrypt_sha256$xyz$2a$06$/3OeRpbOf8/l6nPPRdZPp.nRiyYqPobEZGdNRBWihQhiFDh1ws1tu",
        "bcrypt_sha256$$2a$03$/3OeRpbOf8/l6nPPRdZPp.nRiyYqPobEZGdNRBWihQhiFDh1ws1tu",
        "bcrypt_sha256$$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS",
        "bcrypt$bcrypt$$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
        "sha1$seasalt$cff36ea83f5706ce9aa7454e63e431fc726b2dc8",
        "md5$seasalt$3f86d0d3d465b7b458c231bf3555c0e3",
        "$6$saltsalt$hash",
        "!",
        ID + "A" * 4096,
    ],
)
def test_what_is_written_otherwise_is_neither_accepted_nor_opened(encoded: str) -> None:
    hasher = BcryptHasher(4)
    with pytest.raises(InvalidPasswordHash) as refusal:
        hasher.accept(Secret(encoded))
    assert refusal.value.message == "unsupported password hash"
    assert not hasher.verify(Secret("123456"), PasswordHash(encoded))
    assert hasher.is_outdated(PasswordHash(encoded))


def test_a_hash_that_this_machine_cannot_compute_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(**parameters: object) -> None:
        raise UnsupportedAlgorithm("This version of OpenSSL does not support argon2")

    monkeypatch.setattr(argon2, "Argon2id", lacking)
    with pytest.raises(PasswordHashUnsupported, match="argon2id") as failure:
        BcryptHasher(4).begin_check([Secret("123456")], PasswordHash(ID))()
    assert ID not in failure.value.message


def test_a_foreign_hash_does_not_show_itself() -> None:
    found = foreign_hashes.parse(ID)
    assert found is not None
    assert "fnjCcZY" not in repr(found)
    assert repr(found.digest) not in repr(found)


# Hashes from other implementations: each function is computed in another way than in the code under test.

PASSWORDS = st.text(max_size=80)
TEXT_SALTS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="$"), min_size=1, max_size=32
)


@settings(max_examples=40, deadline=None)
@given(PASSWORDS, TEXT_SALTS, st.integers(1, 50), st.sampled_from(["sha1", "sha256", "sha512"]), st.integers(16, 64))
def test_every_pbkdf2_that_werkzeug_can_write_opens(
    password: str, salt: str, iterations: int, function: str, length: int
) -> None:
    made = hashlib.pbkdf2_hmac(function, password.encode(), salt.encode(), iterations, length)
    found = foreign_hashes.parse(f"pbkdf2:{function}:{iterations}${salt}${made.hex()}")
    assert found is not None
    assert found.excess is None
    assert found.fits(password.encode())
    assert not found.fits(password.encode() + b"x")


@settings(max_examples=40, deadline=None)
@given(PASSWORDS, st.binary(max_size=40), st.integers(1, 6), st.integers(1, 8), st.integers(1, 3))
def test_every_scrypt_that_passlib_can_write_opens(password: str, salt: bytes, ln: int, r: int, p: int) -> None:
    made = hashlib.scrypt(password.encode(), salt=salt, n=1 << ln, r=r, p=p, dklen=32)
    found = foreign_hashes.parse(f"$scrypt$ln={ln},r={r},p={p}${bare(salt)}${bare(made)}")
    assert found is not None
    assert found.fits(password.encode())
    assert not found.fits(password.encode() + b"x")


SCHEMES = ["argon2", "argon2id", "scrypt", "pbkdf2", "-sha256", "_sha256", "v=19", "m=", "t=", "p=", "ln=", "r=", "i="]
VALUES = ["$", ":", ",", "=", "0", "1", "16", "1024", "9" * 20, "c29tZXNhbHQ", "AJFIsNZTMKTAewB4+ETN1A", "é", "\ud800"]
PIECES = st.sampled_from([*SCHEMES, *VALUES])


@settings(max_examples=300)
@example("$argon2id$v=19$m=16,t=2,p=1$" + "A" * 1399 + "$" + "A" * 22)
@given(st.lists(PIECES, max_size=24).map("".join) | st.text(max_size=60))
def test_whatever_is_read_is_read_without_an_exception(text: str) -> None:
    found = foreign_hashes.parse(text)
    assert found is None or found.excess is None or found.excess.isprintable()


def meaning(found: foreign_hashes.ForeignHash) -> object:
    assert isinstance(found.derive, partial)
    return found.digest, found.derive.func, found.derive.keywords


@settings(max_examples=200)
@given(st.sampled_from([ID, SCRYPT, PBKDF2, WERKZEUG]), st.data())
def test_a_hash_with_one_character_changed_opens_nothing_or_is_another_hash(encoded: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(encoded) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters=encoded[at]))
    found = foreign_hashes.parse(encoded[:at] + other + encoded[at + 1 :])
    original = foreign_hashes.parse(encoded)
    assert original is not None
    assert found is None or found.excess is not None or meaning(found) != meaning(original)


# The time of a refusal.


class Workshop:
    """A clock that advances only with work: 1 µs for a bcrypt round, and `foreign_ns` for a foreign hash."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, foreign_ns: int) -> None:
        self.now = 0
        self.costs: list[int] = []
        self._foreign_ns = foreign_ns
        monkeypatch.setattr(bcrypt, "hashpw", self._hash)
        monkeypatch.setattr(hashlib, "pbkdf2_hmac", self._derive)

    def _hash(self, raw: bytes, setting: bytes) -> bytes:
        self.costs.append(int(setting[4:6]))
        self.now += 1000 * 2 ** self.costs[-1]
        return setting[:29] + b"." * 31

    def _derive(self, *parameters: object) -> bytes:
        self.now += self._foreign_ns
        return b"." * 32


COST = 12
ONE_HASH = 1000 * 2**COST


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.9, 0.96])
@pytest.mark.parametrize("password", ["wrong", "a" * 100])
def test_a_refusal_of_a_cheaper_foreign_hash_takes_as_long_as_one_of_ours(
    share: float, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workshop(monkeypatch, foreign_ns=int(ONE_HASH * share))
    assert not BcryptHasher(COST, clock_ns=lambda: work.now).verify(Secret(password), PasswordHash(PBKDF2))
    assert abs(work.now - ONE_HASH) <= ONE_HASH / 100


@pytest.mark.parametrize("share", [1, 1.5, 40])
def test_a_refusal_of_a_dearer_foreign_hash_takes_little_more_than_that(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workshop(monkeypatch, foreign_ns=int(ONE_HASH * share))
    assert not BcryptHasher(COST, clock_ns=lambda: work.now).verify(Secret("wrong"), PasswordHash(PBKDF2))
    assert work.costs == [COST - 5]
    assert work.now <= ONE_HASH * share + ONE_HASH / 32


@pytest.mark.parametrize(("processors", "turns"), [(1, 4), (2, 2), (3, 2), (4, 1), (64, 1)])
def test_work_in_several_threads_counts_by_the_time_it_takes(
    processors: int, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workshop(monkeypatch, foreign_ns=0)

    def derive(password: bytes, **parameters: object) -> bytes:
        work.now += ONE_HASH // 8  # the work of one of four threads
        return b"." * 16

    monkeypatch.setattr(foreign_hashes, "_argon2", derive)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)), raising=False)
    stored = PasswordHash(ID.replace("m=16", "m=32").replace("p=1", "p=4"))
    assert not BcryptHasher(COST, clock_ns=lambda: work.now).verify(Secret("wrong"), stored)
    made_up = ONE_HASH - turns * ONE_HASH // 8
    assert abs(work.now - ONE_HASH // 8 - made_up) <= ONE_HASH / 100


@pytest.mark.parametrize("cost", [4, 5, 6, 8])
def test_at_the_lowest_costs_a_refusal_does_at_most_a_round_too_much(
    cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workshop(monkeypatch, foreign_ns=0)
    assert not BcryptHasher(cost, clock_ns=lambda: work.now).verify(Secret("wrong"), PasswordHash(PBKDF2))
    assert sum(2**each for each in work.costs) == 2**cost


def test_a_clock_that_stands_still_costs_one_hash_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Workshop(monkeypatch, foreign_ns=1)
    assert not BcryptHasher(COST, clock_ns=lambda: 7).verify(Secret("wrong"), PasswordHash(PBKDF2))
    assert sum(2**each for each in work.costs) == 2**COST


def test_what_asks_for_too_much_costs_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Workshop(monkeypatch, foreign_ns=0)
    stored = PasswordHash(PBKDF2.replace("10000", "10000001"))
    assert not BcryptHasher(COST, clock_ns=lambda: work.now).verify(Secret("wrong"), stored)
    assert work.costs == [COST]


def test_a_right_password_costs_the_foreign_hash_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Workshop(monkeypatch, foreign_ns=5)
    encoded = f"pbkdf2_sha256$1$salt${plain(b'.' * 32)}"
    assert BcryptHasher(COST, clock_ns=lambda: work.now).verify(Secret("right"), PasswordHash(encoded))
    assert (work.now, work.costs) == (5, [])

"""`lines.py WAY FILE`: encrypt every line of a file with a program written for this purpose."""

import os
import sys
from collections.abc import Callable


def fernet() -> Callable[[bytes], bytes]:
    from cryptography.fernet import Fernet

    return Fernet(Fernet.generate_key()).encrypt


def jwe() -> Callable[[bytes], bytes]:
    """Compact JWE with direct AES-256-GCM encryption, by joserfc."""
    from joserfc import jwe as library
    from joserfc.jwk import OctKey

    key, header = OctKey.import_key(os.urandom(32)), {"alg": "dir", "enc": "A256GCM"}
    return lambda line: library.encrypt_compact(dict(header), line, key).encode()


def main(way: str) -> None:
    encrypt = {"fernet": fernet, "jwe": jwe}[way]()
    with open(sys.argv[2], "rb") as lines:
        for line in lines:
            sys.stdout.buffer.write(encrypt(line.removesuffix(b"\n")) + b"\n")


main(sys.argv[1])

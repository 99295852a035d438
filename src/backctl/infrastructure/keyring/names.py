"""Finds the names of keys for completion. It must be fast, asks for nothing, and callers ignore its errors.

Reads only the names. `KeyFile` checks a keyring completely; here a wrong file has no effect other than a wrong word.
"""

import os
from stat import S_IRWXO, S_ISREG

_LONGEST = 1 << 20  # bytes, as in `KeyFile`


def names_of_keys(path: str) -> list[str]:
    """Return the names of the keys in a keyring file, in order; none if it is wrapped with a passphrase.

    Raises OSError, ValueError, LookupError or TypeError for a file that is not a private keyring of this user.
    """
    import json

    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode) or status.st_mode & S_IRWXO or status.st_uid not in (0, os.geteuid()):
            raise OSError(f"{path} is not a private file")
        document = json.loads(file.read(_LONGEST))
    return [str(key["kid"]) for key in document["keys"]]

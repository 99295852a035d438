"""The most common passwords, shipped compressed; `data/common-passwords.origin.txt` says where they come from."""

from functools import cache
from pathlib import Path

_LIST = Path(__file__).parent / "data" / "common-passwords.txt.gz"


def is_common(password: str) -> bool:
    """Whether a password, folded as `domain.values.folded(…, "NFKC")` does, is one of the list."""
    if not password or "\n" in password:
        return False
    # One search through 320 KB takes microseconds; building a set of it would take longer than loading it.
    return b"\n%b\n" % password.encode("utf-8", "surrogatepass") in _entries()


@cache
def _entries() -> bytes:
    """All entries, folded and sorted, each between two line feeds."""
    import zlib

    return b"\n%b\n" % zlib.decompress(_LIST.read_bytes(), wbits=zlib.MAX_WBITS | 16)  # 16: a gzip header

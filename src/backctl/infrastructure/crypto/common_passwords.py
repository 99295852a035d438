"""The compressed list of the most common passwords. `data/common-passwords.origin.txt` describes its source."""

from functools import cache
from pathlib import Path

_LIST = Path(__file__).parent / "data" / "common-passwords.txt.gz"


def is_common(password: str) -> bool:
    """Whether a password, folded with `domain.values.folded(…, "NFKC")`, is in the list."""
    if not password or "\n" in password:
        return False
    # One search in 320 KB takes microseconds; building a set would take longer than loading the list.
    return b"\n%b\n" % password.encode("utf-8", "surrogatepass") in _entries()


@cache
def _entries() -> bytes:
    """Return all entries, folded and sorted, each between two line feeds."""
    import zlib

    return b"\n%b\n" % zlib.decompress(_LIST.read_bytes(), wbits=zlib.MAX_WBITS | 16)  # 16: a gzip header

"""Run the program, and do something at a named point of an import: `POINT NUMBER ACTION ARGUMENTS…`.

The points are `FILE-unwritten`, `FILE-half-written`, `FILE-written` (not yet flushed) and `FILE-flushed` for the files
`results` and `secrets`, and `commit-begins` and `commit-ended` for the transactions that write to one of them. ACTION
is done when a point is reached for the NUMBERth time. It is the number of a signal to send to this process, or two such
numbers with a comma between; `full` to fail like a full disk; or `limit` to let the WAL of the
database grow no further. `apply` changes as many accounts in a transaction as the variable APPLY_BATCH says.
"""

import errno
import os
import resource
import sys
from collections import Counter

point, number, action, *arguments = sys.argv[1:]
sys.argv[1:] = arguments

from sqlalchemy.engine.base import RootTransaction  # noqa: E402 - importing must not see the driver's arguments

from backctl import staged_files  # noqa: E402
from backctl.__main__ import main  # noqa: E402
from backctl.infrastructure.files import growing  # noqa: E402

reached: Counter[str] = Counter()
open_imports: list[str] = []
"""The writes to the files since the last COMMIT."""


def reach(name: str) -> None:
    reached[name] += 1
    if name != point or reached[name] != int(number):
        return
    if action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if action == "limit":
        size = os.stat(os.environ["WAL"]).st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return
    for each in action.split(","):
        os.kill(os.getpid(), int(each))


def write_all(descriptor: int, piece: bytes) -> None:
    file = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
    open_imports.append(file)
    reach(f"{file}-unwritten")
    half = len(piece) // 2
    original_write_all(descriptor, piece[:half])
    reach(f"{file}-half-written")
    original_write_all(descriptor, piece[half:])
    reach(f"{file}-written")


def append(self: growing.GrowingFile, lines: bytes) -> None:
    original_append(self, lines)
    reach(f"{os.path.basename(self._path)}-flushed")


def commit(self: RootTransaction) -> None:
    is_import = bool(open_imports)
    open_imports.clear()
    if is_import:
        reach("commit-begins")
    original_commit(self)
    if is_import:
        reach("commit-ended")


original_write_all = staged_files.write_all
growing.write_all = write_all  # type: ignore[attr-defined]
original_append = growing.GrowingFile.append
growing.GrowingFile.append = append  # type: ignore[method-assign]
original_commit = RootTransaction._do_commit
RootTransaction._do_commit = commit  # type: ignore[method-assign]
if "APPLY_BATCH" in os.environ:
    from backctl.application.seeding import applying

    applying.BATCH_SIZE = int(os.environ["APPLY_BATCH"])
sys.exit(main())

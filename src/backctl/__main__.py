"""Entry point of the program. What needs nothing is answered before anything is imported."""

import sys

_NO_MEMORY = ("allocate memory", "failed to map segment", "without exception set", "without setting an exception")
"""What the C library says, and Python where there is none for a MemoryError."""


def main() -> int:
    """Run the command line and answer the exit code.

    Garbage collection is off while modules load: nothing they make is garbage, and scanning it takes a fifth of the
    start-up. Work that makes much turns it on again. Frozen at the end, the modules are not scanned on the way out.
    """
    try:
        if sys.argv[1:2] == ["--version"]:
            return _say_version()
        if sys.argv[1:2] == ["__complete"]:
            return _complete()
        import gc

        gc.disable()
        from backctl.presentation.app import run

        code = run(sys.argv[1:])
        gc.freeze()
        _ignore_signals()
    except KeyboardInterrupt:  # while modules were still loading
        code = _ended(130)
    except (ImportError, MemoryError, OSError, SystemError) as error:
        if not _tell_exhaustion(error):
            raise
        code = _ended(5)
    except BaseException as end:
        if not hasattr(end, "exit_code"):
            raise
        code = _ended(end.exit_code)  # SIGTERM or SIGHUP, when all was done and told
    _leave_threads(code)
    return code


def _tell_exhaustion(error: Exception) -> bool:
    """Say that modules could not be loaded for want of memory or files, without loading any; False for other causes."""
    from errno import EMFILE, ENFILE

    words = str(error)
    if isinstance(error, MemoryError) or any(said in words for said in _NO_MEMORY):
        what = "there is not enough memory"
    elif isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
        what = "too many files are open"
    else:
        return False
    if sys.stderr is not None:
        sys.stderr.write(f"backctl: error: {what}\n")
    return True


def _ended(code: int) -> int:
    """Ignore signals; answers the exit code, that of a signal which arrives meanwhile."""
    try:
        _ignore_signals()
    except KeyboardInterrupt:
        return _ended(130)
    except BaseException as end:
        return _ended(getattr(end, "exit_code", code))
    return int(code)


def _ignore_signals() -> None:
    """All is done and told: a signal from here on could only break off the interpreter's own end."""
    if "signal" not in sys.modules:  # it ended while modules were loading
        return
    import signal

    # The last one brings back a signal that arrived in a finalizer; Python's end would let it kill.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _leave_threads(code: int) -> None:
    """End at once where a hash is still being computed for nobody.

    A thread that comes back from bcrypt while the interpreter ends is thrown out of foreign code, which aborts the
    process: https://docs.python.org/3.11/c-api/init.html#c.PyEval_RestoreThread.
    """
    if "threading" not in sys.modules:
        return
    import os
    import threading

    if any(thread.name == "bcrypt" for thread in threading.enumerate()):
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            os._exit(code)


def _complete() -> int:
    import os

    from backctl.suggestions.answers import answer

    return answer(sys.argv[2:], os.environ)


def _say_version() -> int:
    from backctl import __version__

    try:
        if sys.stdout is None:
            from errno import EBADF

            raise OSError(EBADF, "closed")
        sys.stdout.write(f"backctl {__version__}\n")
        sys.stdout.flush()
    except OSError as error:
        from backctl.presentation import errors, terminal

        terminal.discard(sys.stdout)
        return 0 if isinstance(error, BrokenPipeError) else errors.report(terminal.output_failed(error), as_json=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

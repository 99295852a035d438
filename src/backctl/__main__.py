"""Entry point of the program. `--version` and `__complete` run before the command line is imported."""

import sys

_NO_MEMORY = ("allocate memory", "failed to map segment", "without exception set", "without setting an exception")
"""Messages of the C library, and of Python when it cannot create a MemoryError."""


def main() -> int:
    """Run the command line and return the exit code.

    Garbage collection is off while modules load, because they create no garbage and scanning takes a fifth of the
    start-up time. Commands that create many objects turn it on again. `gc.freeze` avoids a scan of the modules at exit.
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
        code = _ended(end.exit_code)  # SIGTERM or SIGHUP, after all work and output were done
    _leave_threads(code)
    return code


def _tell_exhaustion(error: Exception) -> bool:
    """Report that memory or files ran out while modules loaded, without loading more. False for other causes."""
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
    """Ignore signals and return the exit code: `code`, or that of a signal that arrives meanwhile."""
    try:
        _ignore_signals()
    except KeyboardInterrupt:
        return _ended(130)
    except BaseException as end:
        return _ended(getattr(end, "exit_code", code))
    return int(code)


def _ignore_signals() -> None:
    """Ignore signals from now on: all work is done, so a signal could only interrupt the interpreter's exit."""
    if "signal" not in sys.modules:  # the program ended while modules were loading
        return
    import signal

    # SIGALRM repeats a signal that arrived in a finalizer; without this it would kill the process at exit.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _leave_threads(code: int) -> None:
    """Exit at once if a thread still computes a hash that nobody needs.

    A thread that returns from bcrypt while the interpreter exits is terminated inside foreign code, which aborts the
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
        # Not sys.stdout: with PYTHONUNBUFFERED it writes what fits on a full disk and drops the rest.
        with open(1, "wb", closefd=False) as output:
            output.write(f"backctl {__version__}\n".encode())
    except OSError as error:
        from backctl.presentation import errors, terminal

        return 0 if isinstance(error, BrokenPipeError) else errors.report(terminal.output_failed(error), as_json=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A service that uses `open_backend`. It answers each line of JSON on standard input with a line on standard output.

A request is a list: the name of a function below and its arguments. Values come from files, which stand for a database.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import backctl
from backctl.backend import Backend
from backctl.domain.errors import BackctlError

Request = Callable[..., object]


def say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def get(backend: Backend, ident: str) -> object:
    """Return whether an account is active, and its role."""
    user = backend.accounts.get(ident)
    return {"active": user.is_active, "role": user.role}


def reads(backend: Backend, ident: str, times: int, pause_s: float = 0) -> object:
    """Read an account again and again. Return what was found, and how long each took in seconds."""
    found, took = set(), []
    for _ in range(times):
        began = time.monotonic()
        found.add(backend.accounts.get(ident).is_active)
        took.append(time.monotonic() - began)
        time.sleep(pause_s)
    return {"active": sorted(found), "took": took}


def load(backend: Backend, key: str, path: str, tags: Sequence[str] = (), stops: bool = False) -> object:
    """Return the cached content of a file. Each load adds a line with the id of the process to the file `PATH.loads`.

    With `stops`, the loader answers with "loading" after it has read the file, and waits for a line.
    """

    def loader() -> str:
        counted = os.open(f"{path}.loads", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(counted, f"{os.getpid()}\n".encode())
        os.close(counted)
        content = Path(path).read_text()
        if stops:
            say("loading")
            sys.stdin.readline()
        return content

    return backend.cache.get_or_load(key, loader, tags=tags)


def peek(backend: Backend, key: str) -> object:
    """Return what the cache contains."""
    return backend.cache.get(key)


def deactivate(backend: Backend, ident: str) -> object:
    return backend.accounts.deactivate(ident, by=backend.by("service")).changed


def fork(backend: Backend, requests: str, answers: str) -> object:
    """Go on in a forked child too, which uses two named pipes. Return its process id."""
    child = os.fork()
    if child == 0:
        for number, (path, flags) in enumerate(((requests, os.O_RDONLY), (answers, os.O_WRONLY))):
            opened = os.open(path, flags)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = os.fdopen(0, closefd=False)
        say("forked")
        serve(backend)
        os._exit(0)
    return child


def held(backend: Backend) -> object:
    """Return the threads and the file descriptors of this process."""
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "files": len(os.listdir("/proc/self/fd")),
    }


def close(backend: Backend) -> object:
    """Close the backend; return how long it took in seconds."""
    began = time.monotonic()
    backend.close()
    return time.monotonic() - began


def crowd(backend: Backend, size: int, key: str, path: str) -> object:
    """Load a key in many forked children at the same time. Return what they found, after a line on standard input.

    Their loaders wait until the file `PATH.go` exists.
    """

    def loader() -> str:
        counted = os.open(f"{path}.loads", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(counted, f"{os.getpid()}\n".encode())
        os.close(counted)
        while not os.path.exists(f"{path}.go"):
            time.sleep(0.01)
        return Path(path).read_text()

    backend.cache.get(key)  # so that the children need not import the modules
    backend.close()
    start, ended = os.pipe(), os.pipe()
    children = []
    for _ in range(size):
        child = os.fork()
        if child == 0:
            os.close(start[1])
            os.read(start[0], 1)  # the end of the file
            found = backend.cache.get_or_load(key, loader)
            os.write(ended[1], found.encode() + b"\n")
            os._exit(0)
        children.append(child)
    os.close(ended[1])
    os.close(start[1])
    say(children)
    for child in children:
        os.waitpid(child, 0)
    with os.fdopen(ended[0]) as found_by_all:
        return found_by_all.read().split()


REQUESTS: dict[str, Request] = {
    request.__name__: request for request in (get, reads, load, peek, deactivate, fork, held, close, crowd)
}


def serve(backend: Backend) -> None:
    while line := sys.stdin.readline():
        name, *arguments = json.loads(line)
        try:
            say(REQUESTS[name](backend, *arguments))
        except BackctlError as error:
            say({"error": type(error).__name__})


if __name__ == "__main__":
    with backctl.open_backend() as opened:
        serve(opened)

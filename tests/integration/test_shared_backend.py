"""One backend used by all threads of a process and by its forked children."""

import os
import threading
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.integration.conftest import GOOD, Services

import backctl
from backctl.backend import Backend
from backctl.domain.errors import DatabaseUnusable
from backctl.domain.values import Secret
from backctl.infrastructure.sql.pool import CONNECTIONS

THREADS = 16
ROUNDS = 3


def work(backend: Backend, name: str, start: threading.Barrier) -> list[str]:
    """Do what a web worker does: read, verify a token, change its own account and one that all workers change."""
    me = backend.by(name)
    start.wait()
    seen = []
    for _ in range(ROUNDS):
        token = backend.tokens.issue("ada", by=me).value.access_token
        assert token is not None
        seen.append(backend.tokens.verify(token).sub)
        assert backend.accounts.show("ada").id == seen[-1]
        assert backend.accounts.count() >= 5
        assert any(user.username == "ada" for user in backend.accounts.stream())
        assert backend.accounts.deactivate(name, by=me).changed
        assert backend.accounts.activate(name, by=me).changed
        backend.accounts.update("none", role="moderator", by=me)
        backend.accounts.update("none", role="user", by=me)
        sealed = backend.encryption.encrypt(name, context="c")
        assert backend.encryption.decrypt(sealed, context="c") == name.encode()
    return seen


def names(backend: Backend) -> list[str]:
    me = backend.by("setup")
    found = [f"worker{number:02}" for number in range(THREADS)]
    for name in found:
        backend.accounts.create(email=f"{name}@example.org", username=name, by=me)
    return found


def test_sixteen_threads_read_verify_and_change_at_once(services: Services) -> None:
    workers = names(services.backend)
    services.backend.close()  # so that all threads create the services and connect at the same time
    start = threading.Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        seen = list(pool.map(lambda name: work(services.backend, name, start), workers))
    assert seen == [[services.id_of("ada")] * ROUNDS] * THREADS
    for name in workers:
        assert services.backend.accounts.show(name).version == 1 + 2 * ROUNDS
    assert services.backend.audit.verify().ok


def test_services_taken_before_it_is_closed_connect_again(services: Services) -> None:
    accounts, tokens = services.backend.accounts, services.backend.tokens
    me = services.backend.by("test")
    token = tokens.issue("ada", by=me).value.access_token
    assert token is not None
    services.backend.close()
    assert accounts.show("ada").id == tokens.verify(token).sub
    assert accounts.deactivate("none", by=me).changed
    assert services.backend.accounts is not accounts
    services.backend.close()


def in_a_child(act: Callable[[], object]) -> None:
    """Run `act` in a forked child and check that it succeeds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            act()
            status = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as report:
        told = report.read().decode()
    _, ended = os.waitpid(pid, 0)
    assert (told, os.waitstatus_to_exitcode(ended)) == ("", 0)


def use(backend: Backend, name: str) -> None:
    me = backend.by(name)
    token = backend.tokens.issue("ada", by=me).value.access_token
    assert token is not None
    assert backend.tokens.verify(token).sub == backend.accounts.show("ada").id
    assert backend.accounts.deactivate("none", by=me).changed
    assert backend.accounts.activate("none", by=me).changed
    assert backend.audit.verify().ok


def test_parent_and_forked_child_both_go_on(services: Services) -> None:
    use(services.backend, "parent")
    for number in range(3):
        in_a_child(lambda number=number: use(services.backend, f"child{number}"))  # type: ignore[misc]  # it is bound
        use(services.backend, "parent")


def test_what_a_child_commits_outlives_the_connections_of_its_parent(services: Services) -> None:
    use(services.backend, "parent")
    before = services.backend.accounts.count()
    connected, connecting = os.pipe()
    go, going = os.pipe()

    def create() -> None:
        os.close(going)
        use(services.backend, "child")  # connects before the parent closes
        os.write(connecting, b"x")
        os.read(go, 1)
        for number in range(5):
            services.backend.accounts.create(
                email=f"late{number}@example.org", username=f"late{number}", by=services.backend.by()
            )

    def close() -> None:
        os.read(connected, 1)
        services.backend.close()
        os.write(going, b"x")

    closing = threading.Thread(target=close)
    with warnings.catch_warnings():
        # Python 3.12 and later warn about a fork while a thread runs; this thread only waits for the pipe.
        warnings.simplefilter("ignore", DeprecationWarning)
        closing.start()
        in_a_child(create)
    closing.join()
    for end in (connected, connecting, go, going):
        os.close(end)
    assert services.backend.accounts.count() == before + 5
    assert services.backend.audit.verify().ok


def test_a_child_forked_while_sqlite_is_in_use_is_refused(services: Services) -> None:
    if not services.place.url.startswith("sqlite"):
        in_a_child(lambda: use(services.backend, "child"))
        return
    stream = services.backend.accounts.stream()
    next(stream)

    def refused() -> None:
        with pytest.raises(DatabaseUnusable, match="was forked while"):
            services.backend.accounts.count()

    in_a_child(refused)
    assert len(list(stream)) > 1


def test_a_thread_may_ask_while_it_reads_streams(services: Services) -> None:
    if not services.place.url.startswith("sqlite"):
        streams = [services.backend.accounts.stream() for _ in range(3)]
    else:
        streams = [services.backend.accounts.stream() for _ in range(2 * CONNECTIONS)]
    first = [next(stream) for stream in streams]
    assert services.backend.accounts.count() == 5
    assert {user.id for user in first} == {first[0].id}
    for stream in streams:
        assert len(list(stream)) == 4


def test_services_are_made_by_two_threads_at_once(services: Services) -> None:
    """One thread takes the lock of the properties first, the other the lock of the installation."""
    for _ in range(50):
        backend = services.place.open()
        start = threading.Barrier(2)

        def care(backend: Backend = backend, start: threading.Barrier = start) -> None:
            start.wait()
            backend.database.status()

        def read(backend: Backend = backend, start: threading.Barrier = start) -> None:
            start.wait()
            backend.audit.page()

        with ThreadPoolExecutor(2) as pool:
            for done in (pool.submit(care), pool.submit(read)):
                done.result(timeout=60)
        backend.close()


def test_a_child_forked_while_another_thread_works_has_free_locks(services: Services) -> None:
    services.backend.accounts.show("ada")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with services.backend._opened.lock, services.backend._storage.installation._lock:
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    try:
        in_a_child(lambda: use(services.backend, "child"))
    finally:
        done.set()
        holder.join()


def test_threads_that_create_the_first_accounts_at_once_make_one_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    start = threading.Barrier(8)
    with backctl.open_backend(environ={"BACKCTL_PASSWORDS_BCRYPT_COST": "4"}) as backend:

        def create(number: int) -> bool:
            start.wait()
            return backend.accounts.create(
                email=f"u{number}@example.org", username=f"user{number}", password=Secret(GOOD), by=backend.by()
            ).changed

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(create, range(8))) == [True] * 8
        assert backend.accounts.count() == 8
        assert [event.type for event in backend.audit.stream()].count("InstallationCreated") == 1

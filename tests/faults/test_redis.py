"""What a Redis server does when it is not well: one clear error in bounded time, and exact limits afterwards."""

import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from struct import unpack

import pytest
import redis
from tests.limit_checks import checked
from tests.ports import free_port
from tests.redis_servers import FLAVOURS, Cluster, RedisServer, WithSentinel, until
from tests.redis_stores import redis_servers

from backctl.application.ports.limits import LimitStore, Request, raised
from backctl.domain.errors import BackctlError, DamagedLimit, RedisUnavailable, RedisUnusable
from backctl.domain.rate_limit import ALGORITHMS, Algorithm, Policy
from backctl.infrastructure.redis.limits import RedisLimits, script

POLICY = Policy("p", 3, 3_600_000_000)
PATIENCE_S = 0.4


def limits(url: str, *, timeout_s: float = PATIENCE_S, namespace: str | None = None) -> RedisLimits:
    return RedisLimits(redis_servers(url, timeout_s=timeout_s), namespace=namespace or secrets.token_hex(8))


def admitted(store: LimitStore, identifier: bytes = b"ada", policy: Policy = POLICY) -> bool:
    return checked(store, [policy], [Request(identifier)])[0][0].allowed


@pytest.fixture(params=FLAVOURS)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of the test alone, which it may break."""
    own = RedisServer(request.param)
    yield own
    own.close()


def overfull(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory", 1)


def replica(server: RedisServer) -> None:
    server.ask("REPLICAOF", "127.0.0.1", free_port())


def unable_to_save(server: RedisServer) -> None:
    (server.folder / "dump.rdb").mkdir()
    server.ask("CONFIG", "SET", "save", "100000 100000")
    server.ask("BGSAVE")
    until(lambda: server.admin().info("persistence")["rdb_last_bgsave_status"] == "err", "a failed save")


def without_replicas(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "min-replicas-to-write", 1)


def busy(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "busy-reply-threshold", 1)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"EVAL 'while true do end' 0\r\n")
        until(lambda: answers(server, b"BUSY"), "a busy server")


def answers(server: RedisServer, word: bytes) -> bool:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET x\r\n")
        return connection.recv(100).startswith(b"-" + word)


def loading(server: RedisServer) -> None:
    server.ask("EVAL", "for i = 1, 20000 do redis.call('SET', 'k' .. i, i) end", 0)
    server.ask("SAVE")
    server.kill()
    server.settings |= {"key-load-delay": "1000", "loading-process-events-interval-bytes": "1024"}
    server.start()


def protected(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "requirepass", "hunter2")


def forbidden(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "default", "-evalsha")


def frozen(server: RedisServer) -> None:
    server.freeze()


def dead(server: RedisServer) -> None:
    server.kill()


ILLS: dict[str, tuple[Callable[[RedisServer], None], type[Exception], str]] = {
    "dead": (dead, RedisUnavailable, "cannot be reached: connection refused"),
    "frozen": (frozen, RedisUnavailable, "does not answer"),
    "OOM": (overfull, RedisUnavailable, "has no memory left"),
    "READONLY": (replica, RedisUnavailable, "is a replica"),
    "MISCONF": (unable_to_save, RedisUnavailable, "cannot save its data"),
    "NOREPLICAS": (without_replicas, RedisUnavailable, "too few replicas"),
    "BUSY": (busy, RedisUnavailable, "busy with a script"),
    "LOADING": (loading, RedisUnavailable, "still loading"),
    "NOAUTH": (protected, RedisUnusable, "refuses the login"),
    "NOPERM": (forbidden, RedisUnusable, "refuses the login"),
}


@pytest.mark.parametrize("ill", ILLS)
def test_a_server_that_is_not_well_is_one_error_with_a_hint(server: RedisServer, ill: str) -> None:
    inflict, kind, words = ILLS[ill]
    with closing(limits(server.url())) as before, closing(limits(server.url())) as after:
        assert admitted(before)
        inflict(server)
        for store in (before, after) if ill != "NOAUTH" else (after,):  # a connection stays logged in
            with pytest.raises(kind, match=words) as caught:
                admitted(store)
            assert caught.value.hint  # type: ignore[attr-defined]
            assert "redis://test" in str(caught.value)


def test_a_wrong_password_is_not_retried(server: RedisServer) -> None:
    protected(server)
    with closing(limits(f"redis://:wrong@127.0.0.1:{server.port}/0")) as store:
        for _ in range(5):  # the circuit breaker is for what may pass
            with pytest.raises(RedisUnusable, match="refuses the login"):
                admitted(store)
    with closing(limits(f"redis://:hunter2@127.0.0.1:{server.port}/0")) as store:
        assert admitted(store)


def test_a_server_that_is_slow_or_back_again_is_used_again(server: RedisServer) -> None:
    with closing(limits(server.url(), timeout_s=30)) as store:
        assert admitted(store)
        server.freeze()
        thawing = threading.Timer(0.2, server.thaw)
        thawing.start()
        assert admitted(store)
        thawing.join()
        server.kill()
        server.start()  # empty
        assert [admitted(store) for _ in range(4)] == [True, True, True, False]


def test_a_server_that_has_finished_loading_answers_within_the_timeout(server: RedisServer) -> None:
    loading(server)
    server.ask("CONFIG", "SET", "key-load-delay", 0)
    with closing(limits(server.url(), timeout_s=30)) as store:
        assert admitted(store)


def test_a_damaged_key_concerns_only_its_own_request(server: RedisServer) -> None:
    with closing(limits(server.url(), namespace="n")) as store:
        server.ask("LPUSH", "n:rl:{b}:sliding-window:3:3600000000:3:p", "x")
        for remaining in (2, 1):
            outcomes = store.check([POLICY], [Request(b"a"), Request(b"b"), Request(b"c")])
            assert isinstance(outcomes[1], DamagedLimit)
            assert [raised(outcomes[at])[0].remaining for at in (0, 2)] == [remaining] * 2
        for _ in range(5):  # such an error does not open the circuit breaker
            with pytest.raises(DamagedLimit):
                admitted(store, b"b")
        assert admitted(store, b"d")


def test_nobody_waits_for_a_server_that_failed_three_times(server: RedisServer) -> None:
    with closing(limits(server.url())) as store:
        server.freeze()
        for _ in range(3):
            with pytest.raises(RedisUnavailable, match="does not answer"):
                admitted(store)
        with pytest.raises(RedisUnavailable, match="was unavailable a moment ago"):
            admitted(store)


def test_nobody_waits_for_sentinels_that_failed_three_times() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis+sentinel://127.0.0.1:{silent.getsockname()[1]}/main"
        with closing(limits(url, timeout_s=0.1)) as store:
            for _ in range(3):
                with pytest.raises(RedisUnavailable, match="is not known to any sentinel"):
                    admitted(store)
            with pytest.raises(RedisUnavailable, match="was unavailable a moment ago"):
                admitted(store)


def test_a_check_within_a_check_gets_its_own_answer(server: RedisServer) -> None:
    """Such as in a signal handler, or while another thread closes the store."""
    inner = Policy("inner", 5, 3_600_000_000)
    with closing(limits(server.url(), timeout_s=30)) as store:
        assert admitted(store)
        server.ask("CLIENT", "PAUSE", 300)
        with ThreadPoolExecutor(2) as pool:
            outer = pool.submit(checked, store, [POLICY], [Request(b"ada")])
            other = pool.submit(checked, store, [inner], [Request(b"ada")])
            store.close()
            assert other.result()[0][0].remaining == 4
            assert outer.result()[0][0].remaining == 1


def test_a_forked_child_has_its_own_connection(server: RedisServer) -> None:
    with closing(limits(server.url(), timeout_s=30)) as store:
        assert admitted(store)
        child = os.fork()
        if child == 0:
            os._exit(0 if admitted(store) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert admitted(store)
        assert not admitted(store)


def test_scripts_that_were_forgotten_are_sent_again(server: RedisServer) -> None:
    with closing(limits(server.url())) as store:
        for expected in (True, True, True, False):
            assert admitted(store) is expected
            server.ask("SCRIPT", "FLUSH")
        many = [Request(str(number).encode()) for number in range(1000)]
        assert all(decision.allowed for (decision,) in checked(store, [POLICY], many))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_of_another_kind_or_content_is_left_alone(server: RedisServer, algorithm: Algorithm) -> None:
    policy = Policy("p", 3, 3_600_000_000, algorithm)
    with closing(limits(server.url())) as store:
        assert admitted(store, policy=policy)
        ((key,),) = [server.ask("KEYS", "*")]
        server.ask("DEL", key)
        server.ask("LPUSH", key, "x")
        with pytest.raises(DamagedLimit, match="a key of another kind"):
            admitted(store, policy=policy)
        assert server.ask("LRANGE", key, 0, -1) == [b"x"]
        for content in ("", "x", "not a state", "\0" * 30, "\xff" * 30):
            server.ask("SET", key, content)
            if content:
                with pytest.raises(DamagedLimit):
                    admitted(store, policy=policy)
                assert server.ask("GET", key) == content.encode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_states_end_with_their_window(server: RedisServer, algorithm: Algorithm) -> None:
    policy = Policy("p", 3, 60_000_000, algorithm)
    with closing(limits(server.url())) as store:
        assert admitted(store, policy=policy)
        ((key,),) = [server.ask("KEYS", "*")]
        left = server.ask("PTTL", key)
        assert 15_000 < left <= (120_000 if algorithm == "sliding-counter" else 60_000)
        short = Policy("short", 3, 1_000, algorithm)
        assert admitted(store, policy=short)
        until(lambda: server.ask("DBSIZE") == 1, "a key that has ended")


def test_a_full_window_takes_seven_bytes_for_each_request(server: RedisServer) -> None:
    policy = Policy("p", 1000, 3_600_000_000)
    with closing(limits(server.url())) as store:
        for _ in range(1000):
            assert admitted(store, policy=policy)
        assert not admitted(store, policy=policy)
        ((key,),) = [server.ask("KEYS", "*")]
        assert server.ask("MEMORY", "USAGE", key) <= 7 * 1000


def test_the_time_is_that_of_the_server(server: RedisServer) -> None:
    """The only arguments are whether to consume, and costs."""
    key = "{ada}:gcra:3:60000000:3:p"
    before = server.ask("TIME")
    source = script(frozenset(ALGORITHMS)).source
    server.ask("EVAL", source, 1, key, 1, 1)
    after = server.ask("TIME")
    (last,) = unpack(">16xQ", server.ask("GET", key))
    assert before[0] * 1_000_000 + before[1] <= last <= after[0] * 1_000_000 + after[1]
    assert source.count(b"redis.call('TIME')") == 1
    code = re.sub(rb"--[^\n]*", b"", source)
    assert set(re.findall(rb"ARGV\b[^,;) ]*", code)) == {b"ARGV", b"ARGV[1]", b"ARGV[request"}
    assert b"os.time" not in source


def test_a_sentinel_names_the_new_primary() -> None:
    watched = WithSentinel(down_after_ms=500)
    try:
        with closing(limits(watched.url(), timeout_s=1)) as store:
            assert [admitted(store) for _ in range(2)] == [True, True]
            watched.primary.wait_for_replica("probe")
            watched.primary.kill()
            with pytest.raises(RedisUnavailable):
                admitted(store)
            watched.fail_over()
            until(lambda: works(store), "a primary")
            assert [admitted(store) for _ in range(2)] == [True, False]
    finally:
        watched.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    own = Cluster(node_timeout_ms=1000)
    yield own
    own.close()


def test_a_cluster_redirects_while_and_after_slots_move(cluster: Cluster) -> None:
    people = [Request(str(number).encode()) for number in range(300)]
    source, target = cluster.nodes[0], cluster.nodes[1]
    ids = [node.ask("CLUSTER", "MYID").decode() for node in (source, target)]
    with closing(limits(cluster.url(), timeout_s=30)) as store:
        assert {decision.remaining for (decision,) in checked(store, [POLICY], people)} == {2}
        by_slot = {source.ask("CLUSTER", "KEYSLOT", key): key for key in source.ask("KEYS", "*")}
        moving = dict(list(by_slot.items())[:10])
        assert moving
        for slot, key in moving.items():
            target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        assert {decision.remaining for (decision,) in checked(store, [POLICY], people)} == {1}  # ASK
        for slot in moving:
            for node in (target, source, cluster.nodes[2]):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        assert {decision.remaining for (decision,) in checked(store, [POLICY], people)} == {0}  # MOVED


def test_a_cluster_answers_what_its_other_nodes_can(cluster: Cluster) -> None:
    people = [Request(str(number).encode()) for number in range(100)]
    with closing(limits(cluster.url(), timeout_s=0.3)) as store:
        checked(store, [POLICY], people)
        cluster.nodes[1].freeze()
        outcomes = store.check([POLICY], people)
        cluster.nodes[1].thaw()
    failed = [outcome for outcome in outcomes if isinstance(outcome, BackctlError)]
    answered = [raised(outcome)[0].remaining for outcome in outcomes if not isinstance(outcome, BackctlError)]
    assert 10 < len(failed) < 60
    assert set(answered) == {1}
    assert all("does not answer" in error.message for error in failed)


def test_a_new_primary_receives_the_script(cluster: Cluster) -> None:
    people = [Request(str(number).encode()) for number in range(100)]
    until(lambda: works_at(cluster.url()), "a complete cluster")
    with closing(limits(cluster.url(), timeout_s=30)) as store:
        checked(store, [POLICY], people)
        replica = cluster.nodes[4]
        until(lambda: replica.admin().info("replication")["master_link_status"] == "up", "a replica")
        replica.ask("CLUSTER", "FAILOVER")
        until(lambda: replica.admin().info("replication")["role"] == "master", "a failover")
        assert {decision.remaining for (decision,) in checked(store, [POLICY], people)} == {1}


def test_configuration_mistakes_are_not_worth_a_retry(cluster: Cluster, server: RedisServer) -> None:
    mistakes = {
        cluster.url().replace("://", "://:wrong@"): "refuses the login",
        f"redis+cluster://127.0.0.1:{server.port}": "does not belong to a cluster",
        f"redis://127.0.0.1:{server.port}/9999": "does not have the database",
    }
    for url, words in mistakes.items():
        with closing(limits(url)) as store, pytest.raises(RedisUnusable, match=words):
            admitted(store)
    with closing(limits(f"redis://127.0.0.1:{cluster.nodes[2].port}")) as store:
        outcomes = store.check([POLICY], [Request(str(number).encode()) for number in range(100)])
        messages = {outcome.message for outcome in outcomes if isinstance(outcome, BackctlError)}
    assert [isinstance(outcome, RedisUnusable) for outcome in outcomes].count(True) > 40
    assert all("belongs to a cluster" in message for message in messages)


def test_sentinels_that_do_not_answer_and_servers_that_are_none_are_named(server: RedisServer) -> None:
    url = f"redis+sentinel://127.0.0.1:{free_port()}/main"
    with closing(limits(url)) as store, pytest.raises(RedisUnavailable, match="is not known to any sentinel"):
        admitted(store)
    url = f"redis+sentinel://127.0.0.1:{server.port}/main"
    with closing(limits(url)) as store, pytest.raises(RedisUnusable, match="is not a sentinel"):
        admitted(store)


def test_a_cluster_fails_over(cluster: Cluster) -> None:
    people = [Request(str(number).encode()) for number in range(300)]
    with closing(limits(cluster.url(), timeout_s=1)) as store:
        assert all(decision.allowed for (decision,) in checked(store, [POLICY], people))
        cluster.nodes[2].kill()
        with pytest.raises(RedisUnavailable):
            checked(store, [POLICY], people)
        cluster.fail_over(2)
        until(lambda: works(store), "a complete cluster")


def works_at(url: str) -> bool:
    with closing(limits(url, timeout_s=1)) as store:
        return works(store)


def works(store: LimitStore) -> bool:
    try:
        checked(store, [POLICY], [Request(secrets.token_hex(4).encode()) for _ in range(50)])
    except RedisUnavailable:
        return False
    return True


def test_a_single_server_that_belongs_to_a_cluster_is_named() -> None:
    server = RedisServer(settings={"cluster-enabled": "yes"})
    try:
        with closing(limits(server.url())) as store, pytest.raises((RedisUnavailable, RedisUnusable)):
            admitted(store)
    finally:
        server.close()


def test_redis_py_is_used_as_it_is_documented() -> None:
    assert int(redis.__version__.split(".")[0]) == 8  # the version whose connections `connection.py` knows

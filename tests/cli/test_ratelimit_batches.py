"""`backctl ratelimit` with many lines, programs and logs, on both kinds of store."""

import json
import re

import pytest
from tests.cli.conftest import Machine
from tests.cli.ratelimits import CHECK, POLICIES, on
from tests.redis_stores import redis_url
from tests.servers import Servers


@pytest.fixture(params=["sqlite", "redis"])
def stored(request: pytest.FixtureRequest, machine: Machine, servers: Servers) -> Machine:
    if request.param == "sqlite":
        machine.configure(POLICIES)
        return machine
    return on(machine, redis_url(servers, "redis"))


def test_the_answer_as_headers(stored: Machine) -> None:
    first = stored.run(*CHECK, "login", "ada", "--cost", "2", "-o", "headers").succeeded()
    assert first.out == 'RateLimit-Policy: "login";q=2;w=3600\nRateLimit: "login";r=0;t=3600\n'
    second = stored.run(*CHECK, "login", "ada", "-o", "headers")
    assert second.code == 6
    assert second.out.splitlines()[2] in ("Retry-After: 3600", "Retry-After: 3599")
    never = stored.run(*CHECK, "login", "ada", "--cost", "3", "-o", "headers")
    assert "Retry-After" not in never.out
    both = stored.run(*CHECK, "login", "ada", "--also", "api", "-o", "headers").out.splitlines()
    assert both[0] == 'RateLimit-Policy: "login";q=2;w=3600, "api";q=3;w=2'  # 100 a minute, 3 at once: 3 in 1.8 seconds
    assert re.fullmatch('RateLimit: "login";r=0;t=3(600|599), "api";r=3;t=0', both[1])
    assert [line.partition(":")[0] for line in both[2:]] == ["Retry-After"]
    error = stored.run("ratelimit", "policy", "list", "-o", "headers")
    assert (error.code, error.out) == (2, "")
    assert "only answers of rate limits have them" in error.err


# Many lines.


def test_each_line_gets_an_answer_in_order(stored: Machine) -> None:
    lines = 'ada\n\r\nbob\r\nada\n{"ident": "eve", "cost": 2}\nada\n'
    done = stored.run(*CHECK, "login", "--from-file", "-", "-o", "jsonl", stdin=lines)
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [(answer["ident"], answer["ok"], answer["remaining"]) for answer in answers] == [
        ("ada", True, 1),
        ("bob", True, 1),
        ("ada", True, 0),
        ("eve", True, 0),
        ("ada", False, 0),
    ]
    assert done.code == 7
    assert "1 of 5 requests were refused" in done.err


def test_no_refusal_is_success_in_every_format(stored: Machine) -> None:
    (stored.home / "list").write_text("\ufeffada\nbob")
    for form in ("tsv", "csv", "json", "jsonl", "id", "table", "headers"):
        rate = ("--rate", "1/1h", "--from-file", "list")
        done = stored.run(*CHECK, f"in-{form}", *rate, "-o", form).succeeded()
        assert done.out.count("ada") + done.out.count("true") + done.out.count('"in-headers"') >= 1
    assert [item["ident"] for item in stored.run(*CHECK, "x", *rate, "-o", "json").json["items"]] == ["ada", "bob"]
    quiet = stored.run(*CHECK, "x", *rate, "-q")
    assert (quiet.code, quiet.out) == (7, "")
    assert stored.run(*CHECK, "y", "--rate", "1/1h", "--from-file", "-").succeeded().out.count("\n") == 1


def test_a_filter_passes_the_admitted_lines_unchanged(stored: Machine) -> None:
    lines = b'ada x\r\n {"ident": "ada x", "n": 1.50}\nada x\n\xff\n\nbob'
    done = stored.run(*CHECK, "login", "--from-file", "-", "--filter", stdin=lines).succeeded()
    assert done.out.encode(errors="surrogateescape") == b'ada x\r\n {"ident": "ada x", "n": 1.50}\n\xff\nbob'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x" * 1025, "1025 bytes"),
        ("x" * 70_000, "longer than 65536 bytes"),
        ("{", "is not JSON"),
        ('{"id": "ada"}', "no text 'ident'"),
        ('{"ident": 1}', "no text 'ident'"),
        ('{"ident": ""}', "the identifier is empty"),
        ('{"ident": "ada", "cost": 0}', "the cost is 0"),
        ('{"ident": "ada", "cost": 1.5}', "not a whole number"),
        ('{"ident": "ada", "cost": true}', "not a whole number"),
        ("[" * 100_000, "longer than"),
    ],
)
def test_a_line_without_an_identifier_is_reported_and_the_others_are_checked(
    stored: Machine, line: str, reason: str
) -> None:
    done = stored.run(*CHECK, "login", "--from-file", "-", "--no-header", stdin=f"ada\n{line}\nbob\n")
    assert done.code == 7
    assert [row.split("\t")[2] for row in done.out.splitlines()] == ["ada", "bob"]
    assert "line 2: " in done.err
    assert reason in done.err
    document = stored.run(*CHECK, "login", "--from-file", "-", "-o", "json", stdin=f"ada\n{line}\nbob\n").json
    assert list(document) == ["items", "summary"]
    assert [item.get("ok") for item in document["items"]] == [True, None, True]
    assert list(document["items"][1]) == ["line", "error"]
    assert reason in document["items"][1]["error"]["message"]
    assert document["summary"] == {"total": 3, "yes": 2, "no": 0, "failed": 1}


def test_a_refused_line_is_a_no_and_not_a_failure(stored: Machine) -> None:
    words = (*CHECK, "one", "--rate", "1/1h", "--from-file", "-", "-o", "json")
    done = stored.run(*words, stdin="ada\nada\n")
    assert done.code == 7
    assert [item["ok"] for item in done.json["items"]] == [True, False]
    assert done.json["summary"] == {"total": 2, "yes": 1, "no": 1, "failed": 0}


@pytest.mark.parametrize(
    "words",
    [
        ("login",),
        ("login", "ada", "--from-file", "list"),
        ("login", "--from-file", "list", "--wait", "1s"),
        ("login", "--from-file", "list", "--also", "guest"),
        ("login", "ada", "--filter"),
        ("login", "--from-file", "nowhere"),
        ("login", "--from-file", "list", "--cost", "0"),
        ("login", "ada", "--also", "guest", "--wait", "1s"),
        ("login", "ada", "--also", "login"),
        ("", "ada", "--rate", "1/1m"),
        ("x" * 256, "ada", "--rate", "1/1m"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(machine: Machine, words: tuple[str, ...]) -> None:
    machine.configure(POLICIES)
    (machine.home / "list").write_text("ada\n")
    done = machine.run(*CHECK, *words)
    assert (done.code, done.out) == (2, "")
    assert not machine.data.exists()


# Run.


def test_a_program_runs_while_the_limit_permits_it(stored: Machine) -> None:
    run = ("ratelimit", "run", "login", "job")
    first = stored.run(*run, "--", "sh", "-c", "cat; echo done >&2; exit 3", stdin="in")
    assert (first.code, first.out, first.err) == (3, "in", "done\n")
    gone = stored.run(*run, "--", "no-such-program", "-o", "json")
    assert (gone.code, gone.out) == (2, "")
    stored.run(*run, "--", "true").succeeded()
    third = stored.run(*run, "--", "touch", "made")
    assert (third.code, third.out) == (6, "")
    assert third.err == "backctl: not run: the limit login is reached for job\n"
    assert stored.run(*run, "-q", "--limited-exit", "0", "--", "touch", "made").succeeded().err == ""
    assert not (stored.home / "made").exists()
    new = ("ratelimit", "run", "new", "job", "--rate", "9/1h", "--")
    stored.run(*new, "touch", "made").succeeded()
    assert (stored.home / "made").exists()
    script = stored.home / "script"
    for content in ("#!/no/such/interpreter\n", "\x7fELF"):
        script.write_text(content)
        script.chmod(0o755)
        done = stored.run(*new, str(script))
        assert (done.code, done.out) == (2, "")
        assert "cannot be run: " in done.err
    ignored = stored.run(*new, "grep", "SigIgn", "/proc/self/status")
    if ignored.out:  # Linux; Python ignores SIGPIPE and SIGXFSZ
        assert int(ignored.out.split()[1], 16) & (1 << 12 | 1 << 24) == 0


# Simulate.


def test_a_simulation_shows_what_a_limit_would_have_answered(machine: Machine) -> None:
    log = "10.0 ada\n10.1 ada\n10.2 ada\n9 bob\n\nnonsense\n" + json.dumps({"time": 10.15, "ident": "ada"})
    (machine.home / "log").write_text(log)
    simulate = ("ratelimit", "simulate", "--rate", "2/1s", "--log")
    done = machine.run(*simulate, "log", "-o", "json")
    assert [list(item.values()) for item in done.json["items"]] == [
        ["ada", 4, 2, 2, 4, 0.85],
        ["bob", 1, 1, 0, 1, 0],
    ]
    assert done.code == 7
    assert "line 6" in done.err
    good = "".join(f"{1795737600 + number % 7} ada\n" for number in range(50))
    (machine.home / "good").write_text(good)
    screen = machine.at_terminal(*simulate, "good").succeeded()
    assert "█" in screen.out
    assert "2026-11-27T00:00:06Z" in screen.out
    assert not machine.data.exists()


@pytest.mark.parametrize(
    ("words", "log"),
    [
        ((), "1 ada\n"),
        (("nowhere",), "1 ada\n"),
        (("--rate", "2/1s"), ""),
        (("--rate", "2/1s"), "\n\n"),
        (("--rate", "2/1s", "--time-field", "at"), '{"time": 1}'),
        (("--rate", "0/1s"), "1 ada\n"),
    ],
)
def test_a_simulation_without_a_policy_or_a_log_is_refused(machine: Machine, words: tuple[str, ...], log: str) -> None:
    done = machine.run("ratelimit", "simulate", *words, "--log", "-", stdin=log)
    assert (done.code, done.out) == (3 if words == ("nowhere",) else 2, "")

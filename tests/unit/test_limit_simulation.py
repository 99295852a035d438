"""Replaying recorded requests, compared with an independent count."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.application.limit_simulation import RequestLog, parsed_request
from backctl.domain.errors import InvalidInput
from backctl.domain.rate_limit import Policy
from backctl.presentation.limit_plot import plot

SECOND = 1_000_000


def parsed(line: bytes) -> tuple[int, bytes] | None:
    return parsed_request(line, time_field="time", ident_field="ident")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1795737600\n", (1795737600 * SECOND, b"-")),
        (b"1795737600.25 ada\r\n", (1795737600 * SECOND + 250_000, b"ada")),
        (b"\xef\xbb\xbf0.0000019\t a b ", (1, b"a b")),
        (b"2026-11-27T00:00:00Z 203.0.113.7", (1795737600 * SECOND, b"203.0.113.7")),
        (b"2026-11-27T01:00:00+01:00 \xff", (1795737600 * SECOND, b"\xff")),
        (b'{"time": 1795737600.000001, "ident": "ada"}', (1795737600 * SECOND + 1, b"ada")),
        (b'{"time": "2026-11-27T00:00:00Z", "ident": 7}', (1795737600 * SECOND, b"7")),
        (b'{"time": 1}', (SECOND, b"-")),
        (b" \r\n", None),
    ],
)
def test_a_line_is_a_time_and_an_identifier(line: bytes, expected: tuple[int, bytes] | None) -> None:
    assert parsed(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"ada",
        b"-1 ada",
        b"1e3 ada",
        b"1795737600000 ada",  # milliseconds
        b"2026-11-27T00:00:00 ada",
        b"{",
        b"[1]",
        b'{"ident": "ada"}',
        b'{"time": true}',
        b'{"time": null}',
        b'{"time": 1, "ident": null}',
        b'{"time": 1, "ident": ["a"]}',
        b"\xff",
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidInput):
        parsed(line)


requests = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([b"ada", b"bob"])), min_size=1, max_size=60)


@given(requests, st.integers(1, 5), st.integers(1, 10))
def test_a_sliding_window_admits_what_an_independent_count_admits(
    made: list[tuple[int, bytes]], limit: int, window: int
) -> None:
    log = RequestLog()
    for time, who in made:
        log.add(time * 1_000, who)
    replay = log.replay(Policy("p", limit, window * 1_000))
    for view in replay.views():
        times = sorted(time for time, who in made if who == view.ident.encode())
        admitted: list[int] = []
        for time in times:
            if sum(time - window < earlier for earlier in admitted) < limit:
                admitted.append(time)
        worst = max(sum(end - window < time <= end for time in times) for end in times)
        assert (view.requests, view.admitted, view.worst_window) == (len(times), len(admitted), worst)
        assert view.refused == view.requests - view.admitted
        assert (view.longest_wait > 0) is (view.refused > 0)
    assert list(replay.times) == sorted(time * 1_000 for time, _ in made)


@given(requests)
def test_a_plot_fits_the_terminal_and_shows_every_request(made: list[tuple[int, bytes]]) -> None:
    times = sorted(time * SECOND for time, _ in made)
    lines = plot(times, [at % 2 for at in range(len(times))]).splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[1].startswith("admitted")
    assert lines[9].startswith("refused")
    assert [bool(set("".join(lines[start : start + 8])) & set("▁▂▃▄▅▆▇█")) for start in (1, 9)] == [
        len(times) > 1,  # every second request
        True,
    ]
    assert datetime.fromtimestamp(times[0] / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") in lines[17]

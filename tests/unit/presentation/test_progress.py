from backctl.presentation.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _work(total: int | None, seconds: list[float], *, live: bool, lines: bool) -> list[str]:
    clock = Clock()
    written: list[str] = []
    with Progress("reading", total, write=written.append, live=live, lines=lines, clock=clock) as progress:
        for step in seconds:
            clock.now += step
            progress.advance(50)
    return written


def test_a_terminal_gets_one_line_that_is_rewritten_and_removed() -> None:
    written = _work(400, [0.1, 0.9, 1.0, 0.05], live=True, lines=False)
    assert written == [
        "\r\x1b[Kreading: 100 of 400, 100/s, 3 s left",
        "\r\x1b[Kreading: 150 of 400, 75/s, 3 s left",
        "\r\x1b[K",
    ]


def test_without_a_terminal_a_line_every_ten_seconds() -> None:
    written = _work(None, [4.0, 7.0, 9.0, 1.5], live=False, lines=True)
    assert written == ["backctl: reading: 100, 9.1/s\n", "backctl: reading: 200, 9.3/s\n"]


def test_otherwise_nothing() -> None:
    assert _work(10, [60.0] * 5, live=False, lines=False) == []


def test_long_times_are_readable() -> None:
    assert _work(100_000, [60.0], live=False, lines=True) == [
        "backctl: reading: 50 of 100000, 0.8/s, 33 h 19 min left\n"
    ]
    assert _work(200, [60.0], live=False, lines=True) == ["backctl: reading: 50 of 200, 0.8/s, 3 min 0 s left\n"]

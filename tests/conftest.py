"""Fixtures and options for all tests."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests import programs
from tests.servers import Servers
from tests.starter import STARTER


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`, which also runs tests that take minutes, and starts a new interpreter for every command."""
    parser.addoption("--long", action="store_true", help="also run tests marked `long`, and start each command cold")


def pytest_configure(config: pytest.Config) -> None:
    STARTER.cold = config.getoption("--long")
    if not STARTER.cold:
        settings.register_profile("short", settings.default, max_examples=50)
        settings.load_profile("short")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, commands would ignore it too
    if programs.must_all_be_there() and (names := programs.missing()):
        raise pytest.UsageError(f"CI=true allows no gaps; {programs.notice(names)}")


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are processors, because many tests wait for servers and for processes."""
    return len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) + 1


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the starter; the last line of a run names what was not tested, and what to install."""
    STARTER.close()
    if not hasattr(config, "workerinput") and (names := programs.missing()):
        print(programs.notice(names))  # noqa: T201 - for the person who runs the tests


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect long tests instead of skipping them, because skipped tests look like gaps."""
    if config.getoption("--long"):
        return
    long = [item for item in items if "long" in item.keywords]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if "long" not in item.keywords]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The real servers. Each is started when it is first used."""
    running = Servers()
    yield running
    running.close()

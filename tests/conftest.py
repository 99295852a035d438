"""What every test may ask for."""

from collections.abc import Iterator

import pytest
from tests.servers import Servers
from tests.starter import STARTER


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long` also runs the tests that take minutes, and gives every command an interpreter of its own."""
    parser.addoption("--long", action="store_true", help="start every command cold, and run the tests marked `long`")


def pytest_configure(config: pytest.Config) -> None:
    STARTER.cold = config.getoption("--long")


def pytest_unconfigure() -> None:
    STARTER.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect, rather than skip: what did not run without `--long` is no gap in the suite."""
    if config.getoption("--long"):
        return
    long = [item for item in items if "long" in item.keywords]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if "long" not in item.keywords]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The real servers, each started when it is first asked for."""
    running = Servers()
    yield running
    running.close()

"""Calls that begin at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def at_once(*tasks: Callable[[], object], refusal: type[Exception]) -> list[object]:
    """Run all tasks at the same time. Return the result of each, or the `refusal` that it raised."""
    start = threading.Barrier(len(tasks))

    def run(task: Callable[[], object]) -> object:
        start.wait()
        try:
            return task()
        except refusal as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))

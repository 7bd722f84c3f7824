# SPDX-License-Identifier: Apache-2.0
"""Run a function on many items concurrently, in threads that do not keep the process alive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each(items: Sequence[T], work: Callable[[T], R], concurrency: int) -> Iterator[R]:
    """Yield ``work(item)`` of all items, as they end.

    The first exception stops the start of further items. Those that run already are awaited and yielded; then it is raised.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    ended: queue.SimpleQueue[tuple[R | None, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()
    threads = [
        threading.Thread(target=_work, args=(waiting, work, ended, stopped), name="teacher", daemon=True)
        for _ in range(min(concurrency, len(items)))
    ]
    for thread in threads:
        thread.start()
    try:
        yield from _results(ended, len(threads))
    finally:
        stopped.set()


def _work(
    waiting: queue.SimpleQueue[T],
    work: Callable[[T], R],
    ended: queue.SimpleQueue[tuple[R | None, BaseException | None]],
    stopped: threading.Event,
) -> None:
    failure: BaseException | None = None
    while not stopped.is_set() and failure is None:
        try:
            item = waiting.get_nowait()
        except queue.Empty:
            break
        try:
            ended.put((work(item), None))
        except BaseException as error:  # noqa: BLE001  # raised in the thread that iterates
            failure = error
            stopped.set()
    ended.put((None, failure or _Finished()))


class _Finished(Exception):
    """The end of a thread."""


def _results(ended: queue.SimpleQueue[tuple[R | None, BaseException | None]], num_threads: int) -> Iterator[R]:
    failure: BaseException | None = None
    while num_threads:
        result, end = ended.get()
        if end is None:
            yield result  # type: ignore[misc]  # None only with an end
        else:
            num_threads -= 1
            failure = failure or (None if isinstance(end, _Finished) else end)
    if failure is not None:
        raise failure

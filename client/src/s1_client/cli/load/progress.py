# SPDX-License-Identifier: Apache-2.0
"""Progress of a load test: a bar on stderr if it is a terminal, and a line on stdout for each finished level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from s1_client.cli.output import echo
from s1_client.loadtest._metric_definitions import METRICS, TIMES, num_sampled_tokens, values_of, with_all_times
from s1_client.loadtest._observation import Observation
from s1_client.loadtest._record import Level
from s1_client.loadtest._replicas import balance, summarise_replicas
from s1_client.loadtest._scenario import Stage


class LevelProgress:
    """Shows the progress of the levels within its ``with`` block."""

    def __init__(self, stages: Sequence[Stage], console: Console | None = None) -> None:
        self._width = max((len(stage.name) for stage in stages), default=0)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn())
        failed = TextColumn("[red]{task.fields[failed]} failed[/]")
        console = console or Console(stderr=True)
        self._progress = Progress(*columns, failed, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=None, failed=0)
        self._name, self._num_failed = "", 0

    def __enter__(self) -> LevelProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def level_started(self, stage: Stage) -> None:
        """Start the bar of the next level."""
        self._name, self._num_failed = stage.name, 0
        self._progress.reset(self._task, total=stage.load.num_requests, description=stage.name, failed=0)

    def request_ended(self, seen: Observation) -> None:
        """Advance the bar by a request."""
        self._num_failed += seen.error is not None
        self._progress.update(self._task, advance=1, failed=self._num_failed)

    def level_ended(self, level: Level) -> None:
        """Print the line of a finished level."""
        self._progress.stop() if self._progress.live.is_started else None
        echo(f"{self._name:{self._width}}  {level_line(level)}")
        self._progress.start()


def level_line(level: Level) -> str:
    """Return a level's figures in a line.

    The times are medians over the same replies; if others were not streamed, the line says of how many.
    """
    done = level.done
    num_tokens = sum(map(num_sampled_tokens, done))
    parts = [f"{len(done)} of {len(level.requests)} answered in {level.duration_s:.1f} s"]
    if level.duration_s:
        parts.append(f"{num_tokens / level.duration_s:.1f} tokens/s")
    streamed = with_all_times(done)
    times = [
        f"{label} {median(values):.0f} ms"
        for name, label in zip(TIMES, ("first token", "first answer token", "whole"), strict=True)
        if (values := values_of(streamed or done, METRICS[name]))
    ]
    if times and len(streamed) not in (0, len(done)):
        times[-1] += f" (of {len(streamed)} streamed)"
    return ", ".join([*parts, *times, *_replicas(level)])


def _replicas(level: Level) -> Iterator[str]:
    """Yield the requests of each replica, those lost, and the balance; nothing if no replica is known."""
    names = sorted({request.replica for request in level.requests if request.replica is not None})
    for found in summarise_replicas(level.requests, names):
        num_lost = found.num_lost_retryable + found.num_lost
        lost = f" ({num_lost} lost, {found.num_lost_retryable} may be retried)" if num_lost else ""
        yield f"{found.replica} took {found.num_requests}{lost}"
    if (even := balance(level.requests, names)) is not None:
        yield f"max/mean {even:.2f}"

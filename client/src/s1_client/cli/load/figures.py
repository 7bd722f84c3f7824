# SPDX-License-Identifier: Apache-2.0
"""The figures of a load test's report, each as wide as a phone screen and with a caption that describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from s1_client.cli.load.axes import empty_axes, log_x, log_y, set_log_ticks
from s1_client.cli.output import clean
from s1_client.cli.plots.style import COLOURS, INK, MARKERS, NUMBERS, label_ends
from s1_client.loadtest._metric_definitions import METRICS, values_of
from s1_client.loadtest._record import Run
from s1_client.loadtest._spread import Spread
from s1_client.loadtest._summary import LevelSummary, RunSummary, mean_context

NUM_STEPS = 160  # of a distribution's line; more would be invisible
_NUM_ROOFLINE = 24
_FULL_TEXT = 8.5
_DASHES: Sequence[Any] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
FIRST = {
    "time_to_first_token_ms": "first token",
    "time_to_first_answer_token_ms": "first answer\ntoken",
    "request_latency_ms": "whole reply",
}
BETWEEN = {"inter_token_latency_thinking_ms": "thinking", "inter_token_latency_answer_ms": "answer"}
ROUNDS = {"ignore_cost_ms": "refused\nend", "answer_gap_ms": "transition\nto answer", "round_gap_ms": "round gap\n(server)"}
STREAMED = " All three are over the same replies: those that were streamed and have thinking and an answer."
_STRIPS = (
    ("first-token", "Time to first token, first answer token and end of the reply", FIRST),
    ("between-tokens", "Inter-token latency by phase", BETWEEN),
    ("rounds", "Cost of a refused end, transition to the answer, and round gap", ROUNDS),
)


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure; ``caption`` is the text below it and its description for screen readers."""

    name: str
    title: str
    caption: str
    figure: Figure


def level_name(level: LevelSummary) -> str:
    """Return a level's short name: "4" for a concurrency, "4/s" for a request rate, "4/s P" for one with Poisson gaps."""
    if level.mode == "concurrency":
        return f"{level.value:g}"
    return f"{level.value:g}/s{' P' if level.distribution == 'poisson' else ''}"


def draw_run(run: Run, summary: RunSummary) -> Iterator[ReportFigure]:
    """Yield the figures of a run that have something to show."""
    levels = [level for level in summary.levels if level.num_done]
    concurrent, even, poisson = ([level for level in levels if level.distribution == gaps] for gaps in (None, "constant", "poisson"))
    if len(concurrent) > 1 or (concurrent and run.roofline):  # a single point shows nothing
        yield draw_throughput([(run, summary)])
    for number, rated in enumerate(group for group in (even, poisson) if len(group) > 1):
        yield _rates(rated, "rates" if number == 0 else "rates-poisson")
    if levels:
        yield _distribution(run, summary)
    for name, title, series in _STRIPS:
        spreads = [level.streamed if series is FIRST else level.metrics for level in levels]
        if any(spread[metric].p50 for spread in spreads for metric in series):
            yield _strips(name, title, series, levels, spreads)
    if levels:
        yield _tokens(levels)
    if any(level.num_failed for level in summary.levels):
        yield _errors(summary.levels)


# --- throughput -----------------------------------------------------------------------------------


def draw_throughput(runs: Sequence[tuple[Run, RunSummary]], names: Sequence[str] = ("measured",)) -> ReportFigure:
    """Draw tokens/s against the concurrency, a line for each run, with the upper bound of each run's GPUs if known."""
    figure, axes = empty_axes("concurrency", "tokens/s")
    ends: list[tuple[float, str, str]] = []
    for number, (run, summary) in enumerate(runs):
        colour, marker = COLOURS[number], MARKERS[number]
        points = sorted((level.value, level.tokens_per_s) for level in summary.levels if level.mode == "concurrency" and level.num_done)
        if points:
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, color=colour, marker=marker, gid=f"throughput-{number}")
            ends.append((ys[-1], names[number], colour))
            ends += _roofline(axes, run, xs, number)
    levels = sorted({level.value for _, summary in runs for level in summary.levels if level.mode == "concurrency"})
    log_x(axes, levels)
    log_y(axes)
    label_ends(figure, axes, ends)
    caption = "Sampled tokens per second against the concurrency; both axes are logarithmic."
    if any(run.roofline for run, _ in runs):
        caption += " Dashed: upper bound from the memory bandwidth of the GPUs at the run's mean context, computed, not measured."
    return ReportFigure("throughput", "Throughput against concurrency", caption, figure)


def _roofline(axes: Axes, run: Run, xs: Sequence[float], number: int) -> list[tuple[float, str, str]]:
    done = [request for level in run.levels for request in level.done]
    if run.roofline is None or not done:
        return []
    context = mean_context(done)
    concurrencies = np.geomspace(min(xs), max(*xs, min(xs) * 2), _NUM_ROOFLINE)
    limits = [run.roofline.tokens_per_s(float(value), context) for value in concurrencies]
    axes.plot(concurrencies, limits, color=INK, linestyle="--", linewidth=1.2, gid=f"roofline-{number}")
    return [(limits[-1], "limit of\nthe GPUs", INK)]


def _rates(levels: Sequence[LevelSummary], figure_name: str) -> ReportFigure:
    """Draw the replies of levels with the same distribution of gaps."""
    figure, axes = empty_axes("request rate, 1/s", "replies, 1/s")
    points = sorted((level.value, level.requests_per_s, level.goodput_requests_per_s) for level in levels)
    rates, replies, good = zip(*points, strict=True)
    axes.plot(rates, rates, color=INK, linestyle="--", linewidth=1, gid="request-rate")
    for number, (name, values) in enumerate((("replies", replies), ("good-replies", good))):
        axes.plot(rates, values, color=COLOURS[number], marker=MARKERS[number], gid=name)
    axes.set_ylim(0, None)
    axes.set_xlim(0, max(rates) * 1.08)
    axes.xaxis.set_major_formatter(NUMBERS)
    ends = [(rates[-1], "request\nrate", INK), (replies[-1], "replies", COLOURS[0]), (good[-1], "good\nreplies", COLOURS[1])]
    label_ends(figure, axes, ends)
    gaps = "Poisson" if levels[0].distribution == "poisson" else "even"
    title = f"Replies against request rate, {gaps} gaps"
    return ReportFigure(figure_name, title, f"Replies and good replies per second against the request rate, with {gaps} gaps.", figure)


# --- latencies ------------------------------------------------------------------------------------


def _distribution(run: Run, summary: RunSummary) -> ReportFigure:
    figure, axes = empty_axes("request latency, s", "share of replies, %")
    for number, (level, level_summary) in enumerate(zip(run.levels, summary.levels, strict=True)):
        xs, ys = ecdf([value / 1e3 for value in values_of(level.requests, METRICS["request_latency_ms"])])
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "linestyle": _DASHES[number % len(_DASHES)]}
        axes.plot(xs, 100 * ys, drawstyle="steps-post", label=level_name(level_summary), gid=f"ecdf-{number}", **style)
    axes.set_ylim(0, 102)
    axes.set_xscale("log")
    set_log_ticks(axes.xaxis, axes.get_xlim())
    figure.legend(loc="outside upper left", ncols=6, frameon=False, title=_loads(summary.levels), alignment="left", fontsize=_FULL_TEXT)
    caption = "For each latency, the share of replies that took no longer. A line for each load; the latency axis is logarithmic."
    return ReportFigure("latency", "Distribution of the request latency", caption, figure)


def ecdf(values: Sequence[float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the empirical distribution: sorted values and the share of values up to each; at most ``NUM_STEPS`` points."""
    ordered = np.sort(np.asarray(values, dtype=float))
    picked = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), NUM_STEPS)).round().astype(int))
    return ordered[picked], (picked + 1) / max(1, len(ordered))


def _strips(
    name: str, title: str, series: dict[str, str], levels: Sequence[LevelSummary], spreads: Sequence[Mapping[str, Spread]]
) -> ReportFigure:
    """Draw a marker at each median and a line to the 95th percentile; ``spreads`` holds percentiles by level and metric."""
    figure, axes = empty_axes(_loads(levels), "ms")
    shown = {metric: label for metric, label in series.items() if any(spread[metric].p50 for spread in spreads)}
    ends = []
    for number, (metric, label) in enumerate(shown.items()):
        shift = 0.16 * (number - (len(shown) - 1) / 2)
        colour, marker = COLOURS[number], MARKERS[number]
        placed = [(place + shift, spread[metric]) for place, spread in enumerate(spreads)]
        found = [(x, spread.p50, spread.p95) for x, spread in placed if spread.p50 and spread.p95]  # 0 has no place on the axis
        for x, median, upper in found:
            axes.plot([x, x], [median, upper], color=colour, linewidth=1.2, solid_capstyle="butt")
        xs, medians = [x for x, _, _ in found], [median for _, median, _ in found]
        axes.plot(xs, medians, color=colour, marker=marker, linestyle="none", gid=metric)
        ends.append((medians[-1], label, colour))
    _categories(axes, levels)
    log_y(axes)
    label_ends(figure, axes, ends)
    caption = "Marker: median; line: up to the 95th percentile. The axis is logarithmic."
    if any(spread[metric].p50 == 0 for spread in spreads for metric in series):
        caption += " Medians of 0 ms cannot be drawn on it."
    return ReportFigure(name, title, caption + (STREAMED if series is FIRST else ""), figure)


# --- counts ---------------------------------------------------------------------------------------


def _tokens(levels: Sequence[LevelSummary]) -> ReportFigure:
    parts = {"thinking": [level.tokens.thinking or 0 for level in levels], "answer": [level.tokens.answer or 0 for level in levels]}
    figure = _stacked(levels, parts, "tokens per reply (mean)")
    return ReportFigure(
        "tokens", "Tokens by phase", "Mean tokens per reply, thinking below and answer above, injected tokens included.", figure
    )


def _errors(levels: Sequence[LevelSummary]) -> ReportFigure:
    codes = sorted({code for level in levels for code in level.errors})
    figure = _stacked(levels, {code: [level.errors.get(code, 0) for level in levels] for code in codes}, "failed requests")
    return ReportFigure("errors", "Errors by code", "Requests without a complete reply, by error.", figure)


def _stacked(levels: Sequence[LevelSummary], parts: Mapping[str, Sequence[float]], y_label: str) -> Figure:
    figure, axes = empty_axes(_loads(levels), y_label)
    bottom = np.zeros(len(levels))
    for number, (name, heights) in enumerate(parts.items()):
        style: dict[str, Any] = {
            "color": COLOURS[number % len(COLOURS)],
            "hatch": ("", "//", "..", "xx")[number % 4],
            "edgecolor": "#ffffff",
        }
        axes.bar(range(len(levels)), heights, 0.62, bottom, label=clean(name), linewidth=0, **style)
        bottom += np.asarray(heights, dtype=float)
    _categories(axes, levels)
    axes.set_ylim(0, max(1.0, *bottom) * 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(NUMBERS)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=_FULL_TEXT)
    return figure


# --- axes -----------------------------------------------------------------------------------------


def _loads(levels: Sequence[LevelSummary]) -> str:
    names = {"concurrency": "concurrency", "request_rate": "request rate, 1/s"}
    text = " or ".join(name for mode, name in names.items() if any(level.mode == mode for level in levels))
    return f"{text}; P: Poisson gaps" if any(level.distribution == "poisson" for level in levels) else text


def _categories(axes: Axes, levels: Sequence[LevelSummary]) -> None:
    axes.set_xticks(range(len(levels)), [level_name(level).replace(" ", "\n") for level in levels])
    axes.set_xlim(-0.6, len(levels) - 0.4)
    axes.tick_params(axis="x", length=0)

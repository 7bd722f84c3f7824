# SPDX-License-Identifier: Apache-2.0
"""A report for a terminal: a table of settings, one of metrics, and sentences about their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from rich import box
from rich.table import Table

from s1_client.cli.tables import number, percent
from s1_client.evaluation._curves import Curve
from s1_client.evaluation._intervals import Comparison, Estimate
from s1_client.evaluation._protocol import REBASE, limit_name
from s1_client.evaluation._report import Report, Row
from s1_client.evaluation._steps import steps
from s1_client.evaluation._versus import Versus

VOTE, BEST, _FAILED = attrgetter("majority"), attrgetter("best_of"), attrgetter("num_failed")
_MAX_PAIRS = 6  # of a kind that are printed; all are in the summary


def report_parts(report: Report) -> Iterator[Table | str]:
    """Yield the tables and sentences of a report, in the order of reading."""
    yield settings(report)
    yield ""
    if any(row.accuracy for row in report.rows):
        yield metrics(report)
        yield ""
    yield from sentences(report)


def settings(report: Report) -> Table:
    """Return the table of settings, which fits into 80 columns."""
    shown = _table("setting")
    optional = {"vote\n%": VOTE, "best\n%": BEST, "fail": _FAILED}
    there = {header: choice for header, choice in optional.items() if any(map(choice, report.rows))}
    counts = ("n", "thought\ntokens", "thought\ncut %", "answer\ntokens", "answer\ncut %", "spent\ntokens")
    for header in (*counts, "right %\n(95%)", *there):
        shown.add_column(header, justify="right", no_wrap=True)
    for row in report.rows:
        shown.add_row(row.setting, *_cells(row), *(_last(choice(row)) for choice in there.values()))
    return shown


def _table(first: str) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column(first, overflow="fold")
    return shown


def _cells(row: Row) -> list[str]:
    return [
        str(row.num_samples),
        number(row.mean_thinking_tokens, ".1f"),
        percent(row.share_thinking_cut),
        number(row.mean_answer_tokens, ".1f"),
        percent(row.share_answers_cut),
        number(row.mean_spent_tokens, ".1f"),
        _share(row.accuracy),
    ]


def _last(found: Mapping[str, Estimate] | int) -> str:
    """Return a count, or the accuracy of the vote of all samples."""
    if isinstance(found, int):
        return str(found)
    return percent(list(found.values())[-1].value if found else None)


def _share(found: Estimate | None) -> str:
    return percent(None) if found is None else f"{percent(found.value)} ({percent(found.low)}–{percent(found.high)})"


# --- a sweep --------------------------------------------------------------------------------------

_RIGHT, _FAIL = "right %\n(95%)", "fail"
_GRID: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("budget", lambda row: limit_name(row.limit)),
    ("num\nignore", lambda row: str(row.num_ignore)),
    ("n", lambda row: str(row.num_samples)),
    ("thought\ntokens", lambda row: number(row.mean_thinking_tokens, ".1f")),
    ("ends\nrefused", lambda row: number(row.mean_ignored, ".2f")),
    ("cut\n%", lambda row: percent(row.share_thinking_cut)),
    ("natural\n%", lambda row: percent(row.share_thinking_natural)),
    ("answer\ntokens", lambda row: number(row.mean_answer_tokens, ".1f")),
    ("cut\n%", lambda row: percent(row.share_answers_cut)),
    (_RIGHT, lambda row: _share(row.accuracy)),
    ("median\ns", lambda row: number(row.median_s, ".2f")),
    (_FAIL, lambda row: str(row.num_failed)),
)


def grid(report: Report) -> Table:
    """Return the table of a sweep, a row for each budget and number of refused ends; it fits into 80 columns."""
    is_shown = {_RIGHT: any(row.accuracy for row in report.rows), _FAIL: any(row.num_failed for row in report.rows)}
    columns = [(header, cell) for header, cell in _GRID if is_shown.get(header, True)]
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for header, _ in columns:
        shown.add_column(header, justify="right", no_wrap=True)
    for _, rows in groupby(report.rows, key=lambda row: row.num_ignore):
        for row in rows:
            shown.add_row(*(cell(row) for _, cell in columns))
        shown.add_section()
    return shown


# --- metrics and comparisons ----------------------------------------------------------------------


def metrics(report: Report) -> Table:
    """Return the table of the paper's metrics, a row for each curve, each figure with its interval below."""
    shown = _table("curve\n(95%)")
    for header in ("settings", "Control\n%", "Scaling,\na doubling", "Scaling,\na token", "Perform-\nance %"):
        shown.add_column(header, justify="right", no_wrap=True)
    for curve in _shown(report.curves):
        figures = (
            _figure(curve.control, curve.control_interval, ".0f"),
            _figure(curve.scaling_log2, curve.scaling_log2_interval, "+.1f"),
            _figure(curve.scaling_linear, curve.scaling_linear_interval, "+.2g"),
            _figure(curve.performance, curve.performance_interval, ".0f"),
        )
        shown.add_row(curve.name, str(curve.num_settings), *figures)
    return shown


def _shown(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves without those of a single setting, whose only figure is in the table of settings; else all."""
    return [curve for curve in curves if curve.num_settings > 1 or curve.control is not None] or list(curves)


def _figure(value: float | None, bounds: tuple[float, float] | None, form: str) -> str:
    if bounds is None:
        return number(value, form)
    between = " to " if form.startswith("+") else "–"
    return f"{number(value, form)}\n({bounds[0]:{form}}{between}{bounds[1]:{form}})"


def versus_parts(found: Versus) -> Iterator[Table | str]:
    """Yield the comparison of two evaluations: a table of their common settings, and sentences."""
    first, second = found.names
    yield f"1: {first} (model {found.models[0]}); 2: {second} (model {found.models[1]}); {found.num_questions} questions in both"
    yield ""
    if found.pairs:
        shown = _table("setting")
        for header in ("thought\ntokens 1", "thought\ntokens 2", "right %\n1", "right %\n2", "difference, points\n(95%)"):
            shown.add_column(header, justify="right", no_wrap=True)
        for pair in found.pairs:
            tokens = (number(mean, ".1f") for mean in pair.thinking_tokens)
            shown.add_row(pair.setting, *tokens, *map(percent, pair.accuracies), _points(pair.comparison))
        yield shown
        yield ""
    yield from found.notes
    yield from _pairs([pair.comparison for pair in found.pairs])


def _points(pair: Comparison) -> str:
    return f"{100 * pair.difference:+.1f} ({100 * pair.low:+.1f} to {100 * pair.high:+.1f})"


def sentences(report: Report) -> Iterator[str]:
    """Yield the sentences below the tables: settings without effect, missing metrics, steps of the curve, pairs of settings."""
    yield from report.effects
    thoughtless = [row.setting for row in report.rows if row.mean_thinking_tokens == 0 and row.kind != REBASE]
    if thoughtless:
        yield f"Scaling a doubling leaves out settings without thinking: {'; '.join(thoughtless)}"
    if any(row.kind == "class" for row in report.rows) and all(row.setting != "budget context" for row in report.rows):
        yield "class prompts: no Control without --max-thinking-tokens -1, the run without a limit"
    found = list(steps(report))
    yield from (step.sentence() for step in found)
    yield from _pairs(report.comparisons, [step.comparison for step in found])


def _pairs(comparisons: Sequence[Comparison], steps_of_curve: Sequence[Comparison] = ()) -> Iterator[str]:
    """Yield sentences about pairs of settings, without those of ``comparisons`` that are steps of a curve."""
    others = [pair for pair in comparisons if pair not in steps_of_curve]
    apart = [pair for pair in others if pair.can_be_told_apart]
    alike = [pair for pair in others if not pair.can_be_told_apart]
    for pairs in (apart, alike):
        yield from (pair.sentence() for pair in pairs[:_MAX_PAIRS])
        if len(pairs) > _MAX_PAIRS:
            kind = "can" if pairs is apart else "cannot"
            yield f"… {len(pairs) - _MAX_PAIRS} more pairs of settings {kind} be told apart"
    if len(comparisons) > 1:
        yield f"{len(comparisons)} pairs were compared: at 95%, about 1 in 20 differs by chance alone"

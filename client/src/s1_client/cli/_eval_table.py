# SPDX-License-Identifier: Apache-2.0
"""An evaluation's report for a terminal: a table of settings, one of metrics, and what has to be said in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

from rich import box
from rich.table import Table

from s1_client.cli._table import number, percent
from s1_client.evaluation._intervals import Estimate
from s1_client.evaluation._protocol import REBASE
from s1_client.evaluation._report import Report, Row

VOTE, BEST = attrgetter("majority"), attrgetter("best_of")
_MOST_PAIRS = 6  # of a kind, that are told one by one; all are in the summary


def told(report: Report) -> Iterator[Table | str]:
    """In the order in which it is read."""
    yield settings(report)
    yield ""
    yield metrics(report)
    yield ""
    yield from words(report)


def settings(report: Report) -> Table:
    """A row for each; it fits into 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("setting", overflow="fold")
    choices = {"vote\n%": VOTE, "best\n%": BEST}
    there = {header: choice for header, choice in choices.items() if any(map(choice, report.rows))}
    for header in ("n", "thought\ntokens", "answer\ntokens", "spent\ntokens", "cut\n%", "right %\n(95%)", *there, "fail"):
        shown.add_column(header, justify="right", no_wrap=True)
    for row in report.rows:
        shown.add_row(row.setting, *_cells(row, [choice(row) for choice in there.values()]))
    return shown


def _cells(row: Row, chosen: Sequence[Mapping[str, Estimate]]) -> list[str]:
    cut = row.thinking_ends.get("budget", 0) / row.num_samples if row.num_samples else None
    return [
        str(row.num_samples),
        number(row.mean_thinking_tokens, ".1f"),
        number(row.mean_answer_tokens, ".1f"),
        number(row.mean_spent_tokens, ".1f"),
        percent(cut),
        _share(row.accuracy),
        *(percent(list(shares.values())[-1].value if shares else None) for shares in chosen),
        str(row.num_failed),
    ]


def _share(found: Estimate | None) -> str:
    return percent(None) if found is None else f"{percent(found.value)} ({percent(found.low)}–{percent(found.high)})"


def metrics(report: Report) -> Table:
    """The paper's, curve by curve."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("curve", overflow="fold")
    for header in ("settings", "Control\n%", "Scaling,\na doubling", "Scaling,\na token", "Perform-\nance %"):
        shown.add_column(header, justify="right", no_wrap=True)
    for curve in report.curves:
        figures = ((curve.control, ".0f"), (curve.scaling_log2, "+.2f"), (curve.scaling_linear, "+.4f"), (curve.performance, ".1f"))
        shown.add_row(curve.name, str(curve.num_settings), *(number(value, form) for value, form in figures))
    return shown


def words(report: Report) -> Iterator[str]:
    """What the figures do not say by themselves."""
    yield from report.effects
    thoughtless = [row.setting for row in report.rows if row.mean_thinking_tokens == 0 and row.kind != REBASE]
    if thoughtless:
        yield f"Scaling a doubling leaves out what has no thinking: {'; '.join(thoughtless)}"
    if any(row.kind == "class" for row in report.rows) and all(row.setting != "budget context" for row in report.rows):
        yield "told how long: no Control without --max-thinking-tokens -1, a run that is told nothing"
    apart = [pair for pair in report.comparisons if pair.can_be_told_apart]
    alike = [pair for pair in report.comparisons if not pair.can_be_told_apart]
    for pairs in (apart, alike):
        yield from (pair.sentence() for pair in pairs[:_MOST_PAIRS])
        if len(pairs) > _MOST_PAIRS:
            kind = "can" if pairs is apart else "cannot"
            yield f"… {len(pairs) - _MOST_PAIRS} more pairs of settings {kind} be told apart"
    if len(report.comparisons) > 1:
        yield f"{len(report.comparisons)} pairs were compared: at 95%, one in 20 seems different by chance alone"

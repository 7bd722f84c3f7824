# SPDX-License-Identifier: Apache-2.0
"""A sweep's summary as a table for a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from s1_client.cli.evaluate.sweep_summary import Row, Summary, budget_name

_NONE = "–"


def table(summary: Summary) -> Table:
    """It fits into 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    accuracy = ["right %\n(95%)"] if summary.is_graded else []
    thought = ["thought\ntokens", "ends\nrefused", "cut\n%", "natural\n%"]
    for header in ["budget", "num\nignore", "n", *thought, "answer\ntokens", "cut\n%", *accuracy, "median\ns", *_failed(summary)]:
        shown.add_column(header, justify="right", no_wrap=True)
    for row, following in zip(summary.rows, [*summary.rows[1:], None], strict=True):
        is_last = following is not None and following.num_ignore != row.num_ignore
        cells = _cells(row, is_graded=summary.is_graded)
        shown.add_row(*cells, *(f"[red]{row.num_failed}[/]" if row.num_failed else "0" for _ in _failed(summary)), end_section=is_last)
    return shown


def _failed(summary: Summary) -> list[str]:
    """The column of failures, where there is one."""
    return ["fail"] if any(row.num_failed for row in summary.rows) else []


def _cells(row: Row, *, is_graded: bool) -> list[str]:
    return [
        budget_name(row.max_thinking_tokens),
        str(row.num_ignore),
        str(row.num_replies),
        number(row.mean_thinking_tokens, ".1f"),
        number(row.mean_ends_refused, ".2f"),
        percent(row.share_cut),
        percent(row.share_natural),
        number(row.mean_answer_tokens, ".1f"),
        percent(row.share_answers_cut),
        *([_accuracy(row)] if is_graded else []),
        number(row.median_s, ".2f"),
    ]


def _accuracy(row: Row) -> str:
    return f"{percent(row.accuracy)} ({percent(row.accuracy_low)}–{percent(row.accuracy_high)})" if row.num_graded else _NONE


def percent(share: float | None) -> str:
    """Of a share; a dash for None."""
    return _NONE if share is None else f"{100 * share:.0f}"


def number(value: float | None, form: str) -> str:
    """A dash for None."""
    return _NONE if value is None else format(value, form)

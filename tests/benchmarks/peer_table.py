# SPDX-License-Identifier: Apache-2.0
"""The results of peers.py in Markdown; its docstring says what the columns mean. docs/benchmarks.md shows the saved ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from meters import busy_mark

HEAD = (
    "| at a time | contestant | s a request | tok/s | lowest to highest | of s1 | first token, ms | recomputed |\n"
    "|---|---|---|---|---|---|---|---|"
)


def report(saved: dict[str, Any]) -> str:
    """Where it was measured, on what, and the table."""
    where, about = saved["machine"], saved["contestants"]
    num_turns = len({one["turn"] for one in saved["cells"]})
    loads = f"load average {where['load_average_before']:.1f} before, {where['load_average_after']:.1f} after"
    machine = f"{where['num_cores']} cores of an {where['cpu']}, {where['date']}, Triton {where['triton']}, turns: {num_turns}, {loads}."
    names = {one: [name for name in about if about[name] == one] for one in about.values()}
    libraries = [f"* {one}: {'; '.join(names[one])}" for one in names]
    return "\n".join([machine, "", *libraries, "", table(saved["cells"])])


def table(cells: Sequence[dict[str, Any]]) -> str:
    """All rows, in Markdown."""
    groups = dict.fromkeys((one["num_streams"], one["contestant"]) for one in cells)
    return "\n".join([HEAD, *(line(level, name, cells) for level, name in sorted(groups, key=lambda group: group[0]))])


def line(level: int, name: str, cells: Sequence[dict[str, Any]]) -> str:
    """A row: medians over the turns."""
    own = [one for one in cells if (one["num_streams"], one["contestant"]) == (level, name)]
    speeds = [one["tokens_per_s"] for one in own]
    ours = {one["turn"]: one["tokens_per_s"] for one in cells if (one["num_streams"], one["contestant"]) == (level, "s1")}
    ratios = [one["tokens_per_s"] / ours[one["turn"]] for one in own if one["turn"] in ours]
    figures = [
        f"{statistics.median(one['request_s'] for one in own):.2f}",
        f"{statistics.median(speeds):.0f}",
        f"{min(speeds):.0f} to {max(speeds):.0f}",
        shown(ratios, 2),
        shown([one["first_token_ms"] for one in own if one["first_token_ms"] is not None], 0),
        shown([one["num_recomputed"] for one in own if one["num_recomputed"] is not None], 0),
    ]
    shares = [one["others_cpu_share"] for one in own if one.get("others_cpu_share") is not None]
    mark = busy_mark(statistics.median(shares)) if shares else ""
    return f"| {level} | {name}{mark} | {' | '.join(figures)} |"


def shown(values: Sequence[float], num_digits: int) -> str:
    """The median, or a dash where there is nothing."""
    return f"{statistics.median(values):.{num_digits}f}" if values else "–"


def progress(cell: dict[str, Any]) -> str:
    return f"turn {cell['turn'] + 1}, {cell['num_streams']} at a time: {cell['contestant']}: {cell['tokens_per_s']:.0f} tok/s"

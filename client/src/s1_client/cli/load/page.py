# SPDX-License-Identifier: Apache-2.0
"""Render the report as a single HTML page without scripts or external files. Records are untrusted, so all text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from s1_client.cli.load.views import Comparison, View, load_name
from s1_client.cli.output import clean
from s1_client.loadtest._compare import NUM_DRAWS, SEED
from s1_client.loadtest._metric_definitions import METRICS, TERMS
from s1_client.loadtest._spread import PERCENTILES
from s1_client.loadtest._summary import LevelSummary, Slo

MAX_FAULTS = 12  # shown at the top of the page; the summary has all


def render(title: str, views: Sequence[View], comparisons: Sequence[Comparison], slo: Slo) -> str:
    """Return the HTML of the report."""
    loader = PackageLoader("s1_client.cli.load")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, finalize=_clean, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": number,
        "count": "{:,}".format,
        "percent": _percent,
        "ratio": _ratio,
        "load": _load,
        "load_of": _load_of,
    }
    values: dict[str, Any] = {
        "percentiles": [(percent, round(100 / (100 - percent))) for percent in PERCENTILES],
        "metrics": METRICS,
        "terms": TERMS.values(),
        "max_faults": MAX_FAULTS,
        "num_draws": NUM_DRAWS,
        "seed": SEED,
    }
    return environment.get_template("report.html").render(title=title, views=views, comparisons=comparisons, slo=slo, **values)


def _clean(value: Any) -> Any:
    """Remove characters that reorder or hide neighbouring text; Markup, which is our own, is left as it is."""
    return clean(value) if type(value) is str else value


def number(value: float | None) -> str:
    """Format a number with three significant digits, or with all digits before the decimal point."""
    if value is None:
        return "–"
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}%"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _load_of(value: float, mode: str) -> str:
    return load_name(mode, value)


def _load(level: LevelSummary) -> str:
    return load_name(level.mode, level.value, level.distribution)

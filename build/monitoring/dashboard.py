# SPDX-License-Identifier: Apache-2.0
"""Builds Grafana's dashboard of a server with grafana-foundation-sdk, which checks its types.

    python build/monitoring/dashboard.py        # writes dashboard.json beside it; a test compares

A row for each question of an operator, and its panels from left to right.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import VisibilityMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

FILE = Path(__file__).with_name("dashboard.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
WINDOW = "[$__rate_interval]"
WIDTH, HEIGHT = 8, 8  # three panels a row, of Grafana's 24 columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel of lines.

    Attributes:
        unit: Grafana's name for it.
        lines: an expression in PromQL for each legend, in which ``{{label}}`` stands for a label's value.
    """

    title: str
    lines: dict[str, str]
    unit: str = "short"


def _rate(counter: str, by: str = "", where: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({counter}{where}{WINDOW}))"


def _percentiles(histogram: str) -> dict[str, str]:
    return {f"p{percent}": f"histogram_quantile({percent / 100}, {_rate(f'{histogram}_bucket', 'le')})" for percent in (50, 95, 99)}


def _mean(histogram: str) -> str:
    return f"{_rate(f'{histogram}_sum')} / {_rate(f'{histogram}_count')}"


_DECODED = '{origin=~"sampled|terminator|dropped|redone"}'

ROWS: dict[str, tuple[Panel, ...]] = {
    "Is it well?": (
        Panel(title="Engine ready", lines={"{{instance}}": "min by (instance) (s1_engine_ready)"}),
        Panel(title="Draining (1 announced, 2 rejecting)", lines={"{{instance}}": "max by (instance) (s1_draining)"}),
        Panel(
            title="Age of the heartbeat", unit="s", lines={"{{instance}}": "max by (instance) (time() - s1_heartbeat_timestamp_seconds)"}
        ),
    ),
    "Load and saturation": (
        Panel(title="Samples that run", lines={"running": "sum(s1_replies_running)", "limit": "sum(s1_replies_max)"}),
        Panel(title="Requests that wait", lines={"waiting": "sum(s1_requests_waiting)", "open": "sum(s1_requests_open)"}),
        Panel(title="Time in the queue", unit="s", lines=_percentiles("s1_queue_seconds")),
    ),
    "Speed": (
        Panel(title="Time to the first token", unit="s", lines=_percentiles("s1_time_to_first_token_seconds")),
        Panel(title="Time to the first answer token", unit="s", lines=_percentiles("s1_time_to_first_answer_token_seconds")),
        Panel(title="Time to the whole reply", unit="s", lines=_percentiles("s1_request_duration_seconds")),
    ),
    "Tokens": (
        Panel(title="Decoded tokens per second", lines={"{{phase}}": _rate("s1_tokens_total", "phase", _DECODED)}),
        Panel(title="Time per token", unit="s", lines=_percentiles("s1_time_per_output_token_seconds")),
        Panel(title="Length of the thinking", lines=_percentiles("s1_thinking_tokens")),
    ),
    "Budget forcing": (
        Panel(title="Used share of the thinking budget", unit="percentunit", lines=_percentiles("s1_thinking_budget_used_ratio")),
        Panel(title="Ends of thinking by cause, per second", lines={"{{cause}}": _rate("s1_thinking_ends_total", "cause")}),
        Panel(title="Refused ends per second", lines={"{{refused_for}}": _rate("s1_ends_refused_total", "refused_for")}),
    ),
    "Ends and errors": (
        Panel(title="Requests by end, per second", lines={"{{end}}": _rate("s1_requests_total", "end")}),
        Panel(title="Ends of answers by cause, per second", lines={"{{cause}}": _rate("s1_answer_ends_total", "cause")}),
        Panel(title="Commands per second", lines={"{{command}} {{result}}": _rate("s1_commands_total", "command, result")}),
    ),
    "Engine and orchestration": (
        Panel(
            title="Seconds per second in the engine and outside",
            lines={"engine": _rate("s1_engine_seconds_sum"), "between rounds": _rate("s1_round_gap_seconds_sum")},
        ),
        Panel(title="Outside queue and engine, a reply", unit="s", lines={"mean": _mean("s1_orchestration_seconds")}),
        Panel(
            title="Engine calls by result, and outages, per second",
            lines={"{{result}}": _rate("s1_engine_calls_total", "result"), "outages": _rate("s1_engine_outages_total")},
        ),
    ),
    "KV cache": (
        Panel(
            title="Context reused from the KV cache (blocks of 32 tokens)",
            unit="percentunit",
            lines={"reused": f"{_rate('s1_kv_reused_blocks_total')} * 32 / {_rate('s1_kv_prompt_tokens_total')}"},
        ),
        Panel(title="Reserved tokens", lines={"reserved": "sum(s1_kv_tokens_reserved)", "limit (0 = none)": "sum(s1_kv_tokens_max)"}),
        Panel(title="Time to free a cancelled request", unit="s", lines=_percentiles("s1_cancel_to_free_seconds")),
    ),
    "Replicas": (
        Panel(title="Samples that run, by replica", lines={"{{instance}}": "sum by (instance) (s1_replies_running)"}),
        Panel(title="Requests that wait, by replica", lines={"{{instance}}": "sum by (instance) (s1_requests_waiting)"}),
        Panel(
            title="Complete replies per second, by replica", lines={"{{instance}}": _rate("s1_requests_total", "instance", '{end="done"}')}
        ),
    ),
}


def _timeseries(panel: Panel) -> timeseries.Panel:
    built = timeseries.Panel().title(panel.title).datasource(SOURCE).unit(panel.unit).min(0).span(WIDTH).height(HEIGHT)
    built = built.legend(common.VizLegendOptions().show_legend(True)).show_points(VisibilityMode.NEVER)
    for name, (legend, expression) in zip("ABC", panel.lines.items(), strict=False):
        built = built.with_target(prometheus.Dataquery().ref_id(name).expr(expression).legend_format(legend))
    return built


def text() -> str:
    """Return the dashboard as JSON."""
    built = dashboard.Dashboard("s1").uid("s1").tags(["s1"]).refresh("10s").time("now-1h", "now").timezone("browser")
    built = built.tooltip(DashboardCursorSync.CROSSHAIR)
    numbers = itertools.count(1)
    for title, row in ROWS.items():
        built = built.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in row:
            built = built.with_panel(_timeseries(panel).id(next(numbers)))
    return f"{JSONEncoder(sort_keys=True, indent=2).encode(built.build())}\n"


if __name__ == "__main__":
    FILE.write_text(text())

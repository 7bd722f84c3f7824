# SPDX-License-Identifier: Apache-2.0
"""Draws the panels of Grafana's dashboard from a real Prometheus, into the picture of docs/operations.md.

    python tests/benchmarks/dashboard_picture.py METRICS_URL SECONDS      # a server under load, e.g. 127.0.0.1:8002 60

Scrapes the server for so long, then asks for each panel's expressions over that time, as Grafana does.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]
PICTURE = ROOT / "docs/images/dashboard.png"
COLUMNS = 3


def query_range(url: str, expression: str, start: float, end: float) -> list[Any]:
    """The lines of an expression."""
    fields = {"query": expression.replace("$__rate_interval", "10s"), "start": start, "end": end, "step": 1}
    with urllib.request.urlopen(f"http://{url}/api/v1/query_range?{urllib.parse.urlencode(fields)}", timeout=30) as response:
        return list(json.load(response)["data"]["result"])


def draw(
    url: str, start: float, end: float, *, titles: Sequence[str] = (), marks: Sequence[tuple[float, str]] = (), picture: Path = PICTURE
) -> None:
    """Draw the panels of these titles, by default all, with a vertical line at each mark: seconds since the start, and a text."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = {
        one["title"]: one for one in json.loads((ROOT / "build/monitoring/dashboard.json").read_text())["panels"] if one["type"] != "row"
    }
    shown = [panels[title] for title in titles] or list(panels.values())
    num_rows = -(-len(shown) // COLUMNS)
    figure, axes = plt.subplots(num_rows, COLUMNS, figsize=(16, 3 * num_rows), layout="constrained")
    for panel, axis in zip(shown, axes.flat, strict=True):
        draw_panel(axis, panel, url, start, end)
        for number, (at, _) in enumerate(marks, 1):
            axis.axvline(at, color="black", linewidth=0.8, linestyle=":")
            axis.text(at, 0.02, f" {number}", fontsize=8, va="bottom", transform=axis.get_xaxis_transform())
    legend = ", ".join(f"{number} {text}" for number, (_, text) in enumerate(marks, 1))
    figure.supxlabel(f"seconds; {legend}" if legend else "seconds", fontsize=10)
    figure.savefig(picture, dpi=60)


def with_gaps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points, with one that is no number where none came for some seconds: no line is drawn there."""
    gaps = [((before + after) / 2, math.nan) for (before, _), (after, _) in itertools.pairwise(points) if after - before > 3]
    return sorted([*points, *gaps])


def draw_panel(axis: Any, panel: dict[str, Any], url: str, start: float, end: float) -> None:
    """Draw a panel's lines as Prometheus returns them."""
    axis.set_title(panel["title"], fontsize=10, loc="left")
    colours = (f"C{number}" for number in itertools.count())
    for target in panel["targets"]:
        for line in query_range(url, target["expr"], start, end):
            legend = re.sub(r"\{\{(\w+)\}\}", lambda found, labels=line["metric"]: labels.get(found[1], ""), target["legendFormat"])
            points = [(at - start, float(value)) for at, value in line["values"] if value != "NaN"]
            colour = next(colours)
            if points and (len(panel["targets"]) > 1 or any(value for _, value in points)):
                axis.plot(*zip(*with_gaps(points), strict=True), label=legend, color=colour, linewidth=1.2)
    axis.set_xlim(0, end - start)
    highest = max((value for line in axis.lines for value in line.get_ydata() if value == value), default=0)
    axis.set_ylim(0, 1.35 * highest or 1)  # with room for the legend
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    if axis.lines:
        axis.legend(fontsize=7, loc="upper left", ncols=2)


def main(target: str, seconds: float) -> None:
    """Scrape, wait, draw."""
    from deploy.test_monitoring import prometheus_programs

    url = "127.0.0.1:19091"
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "s1", "static_configs": [{"targets": [target]}]}]}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "prometheus.yml").write_text(json.dumps(config))
        flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={url}"]
        with subprocess.Popen([prometheus_programs(ROOT) / "prometheus", *flags], stderr=subprocess.DEVNULL) as process:
            start = time.time()
            time.sleep(seconds)
            draw(url, start, time.time())
            process.terminate()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))

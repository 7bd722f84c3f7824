# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of accuracy that the pages show, from the record of an evaluation in client/examples/evaluation.

``refresh.py`` writes them; test_docs.py compares. The record is measured by ``tests/benchmarks/published_examples.py eval``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contract.generated import ROOT, saved_report

MAX_BYTES = 100_000  # of a figure, which a browser loads with the page


def figures() -> dict[Path, str]:
    """Each figure for which the record has data, as SVG."""
    from s1_client.cli.evaluate.curve_figures import curve, parallel
    from s1_client.cli.plots.style import styled

    makers: Mapping[str, Callable[[Any], Any]] = {"curve": curve, "sequential-parallel": parallel}
    report = saved_report("evaluation")
    with styled():
        made = {ROOT / f"docs/images/{name}.svg": make(report) for name, make in makers.items()}
        return {path: _svg(figure) for path, figure in made.items() if figure is not None}


def _svg(figure: Any) -> str:
    from s1_client.cli.plots.axes import SVG_METADATA

    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata=SVG_METADATA)
    return file.getvalue().decode()

# SPDX-License-Identifier: Apache-2.0
"""The figure of a run: loss, learning rate and gradient norm by step, as in Figure 9 of the s1 paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PANELS = (("loss", "Loss"), ("lr", "Learning rate"), ("grad_norm", "Gradient norm"))


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the figure as PNG; one record a step, as in the log."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        axes.plot([record["step"] for record in records], [record[name] for record in records], linewidth=0.8, color="tab:blue")
        axes.set(title=title, xlabel="Step")
        axes.grid(visible=True, alpha=0.3)
        if name == "loss":
            axes.set_yscale("log")
    figure.savefig(path, dpi=110)

# SPDX-License-Identifier: Apache-2.0
"""The states of a run, from which it continues when it was killed: weights, optimizer, schedule and place in the data.

WORK/states holds ``run.json``, which says which run the states belong to, and folders ``checkpoint-N``. A state counts only
when its file ``complete`` lists all its files: a kill while it is written leaves it without one. The states before it are
removed only afterwards, so at any moment a complete state is left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from budgetforce.building.stage import BuildFailed, write_text

COMPLETE, RUN = "complete", "run.json"


def mark_complete(state: Path) -> None:
    """Record the sizes of a state's files."""
    sizes = {path.name: path.stat().st_size for path in state.iterdir() if path.is_file()}
    (state / COMPLETE).write_text(json.dumps(sizes))


def remove_old(states: Path, keep: int) -> None:
    """Remove all complete states but the newest ``keep``."""
    for state in sorted(filter(_is_complete, states.glob("checkpoint-*")), key=step_of)[:-keep]:
        shutil.rmtree(state)


def remove_incomplete(states: Path) -> None:
    """Remove states that a kill has left half-written."""
    for state in states.glob("checkpoint-*"):
        if not _is_complete(state):
            shutil.rmtree(state)


def last_state(states: Path) -> Path | None:
    """Return the newest complete state; None if there is none."""
    return max(filter(_is_complete, states.glob("checkpoint-*")), key=step_of, default=None)


def step_of(state: Path) -> int:
    """Return the optimizer steps that a state has behind it."""
    return int(state.name.rpartition("-")[2])


def _is_complete(state: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((state / COMPLETE).read_text())
        return all((state / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def open_states(states: Path, run: Mapping[str, Any], *, restart: bool) -> None:
    """Prepare the folder for a run, and keep the states in it. Raises BuildFailed if they are of another run."""
    path = states / RUN
    if restart:
        shutil.rmtree(states, ignore_errors=True)
    before = _run_in(path)
    if before is not None and before != run:
        different = next(name for name in sorted({*before, *run}) if before.get(name) != run.get(name))
        raise BuildFailed(
            f"{states} holds a run with another {different} ({before.get(different)}, now {run.get(different)}): "
            "choose another --work, or add --restart to give that run up"
        )
    states.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(run, indent=1))


def _run_in(path: Path) -> dict[str, Any] | None:
    """Return which run the states beside a file belong to; None without the file. Raises BuildFailed if it cannot be read."""
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BuildFailed(f"{path} cannot be read: {error}: remove {path.parent}, or add --restart, to begin anew") from None

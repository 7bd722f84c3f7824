# SPDX-License-Identifier: Apache-2.0
"""Generated puzzles that belong to the evaluation: a training set must not have them in any wording."""

from __future__ import annotations

from typing import Any

from budgetforce.curating.rows import Row


def is_held_out(row: Row) -> bool:
    """Return whether a row is a generated puzzle (``metadata.core``) whose core the generators hold out for the evaluation."""
    metadata: Any = row.get("metadata")
    core = metadata.get("core") if isinstance(metadata, dict) else None
    if core is None:
        return False
    from s1_client.evaluation.tasks import puzzles

    return bool(puzzles.is_held_out(core))

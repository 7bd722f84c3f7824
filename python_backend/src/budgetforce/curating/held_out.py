# SPDX-License-Identifier: Apache-2.0
"""Generated puzzles that belong to the evaluation: a training set must not have them in any wording."""

from __future__ import annotations

from typing import Any

from budgetforce.curating.rows import Row


def is_held_out(row: Row) -> bool:
    """Return whether a row is a generated puzzle whose core (``metadata.core``) the generators hold out for the evaluation.

    A core begins with the puzzle's family: metadata of other rows may have a key of that name as well.
    """
    metadata: Any = row.get("metadata")
    core = metadata.get("core") if isinstance(metadata, dict) else None
    if not isinstance(core, str):
        return False
    from s1_client.evaluation.tasks import puzzles

    return core.partition(" ")[0] in puzzles.FAMILIES and bool(puzzles.is_held_out(core))

# SPDX-License-Identifier: Apache-2.0
"""The files of samples in the folders of ``s1 eval`` and ``s1 sweep``, and their grades."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s1_client.cli.evaluate.show import SAMPLES, SETTINGS, manifest_of
from s1_client.evaluation._protocol import is_accepted
from s1_client.evaluation._samples import collect
from s1_client.evaluation._stats import Grade
from s1_client.evaluation.grading.judge import JudgeFailed
from s1_client.runs import Refused, entries_in


def files_of(path: Path) -> list[Path]:
    """Return the file itself, or the files of samples in a folder of ``s1 eval``, ``s1 sweep`` or lm-eval. Raises Refused."""
    if path.is_file():
        return [path]
    found = [path / SAMPLES] if (path / SAMPLES).is_file() else sorted(path.rglob("samples_*.jsonl"))
    if not found:
        raise Refused(f"{path}: holds no {SAMPLES} (s1 eval, s1 sweep) and no samples_*.jsonl (lm-eval)")
    return found


def grade_of(path: Path) -> Grade | None:
    """Return a function that grades the lines of a file by its folder's manifest; None without a manifest.

    The function returns None for a reply that its setting did not accept (rejection sampling sends the request again),
    and for a question without an expected answer.
    """
    if path.name != SAMPLES or not (path.parent / SETTINGS).is_file():
        return None
    manifest = manifest_of(path.parent)
    kinds = {setting.name: setting.kind for setting in manifest.settings}
    try:
        samples = collect(manifest.task, manifest.settings, entries_in(path)).samples
    except (ImportError, JudgeFailed) as error:
        raise Refused(str(error)) from None
    kept = [sample for sample in samples if sample.is_accepted and sample.is_graded]
    right = {(sample.question, sample.setting, sample.repeat): sample.is_right for sample in kept}

    def grade(entry: Mapping[str, Any]) -> bool | None:
        meta, end = entry["meta"], entry["reply"]["result"]["thinking_end"]
        slot = (meta["question"], meta["setting"], meta["repeat"])
        return right.get(slot) if is_accepted(kinds.get(meta["setting"], ""), end) else None

    return grade

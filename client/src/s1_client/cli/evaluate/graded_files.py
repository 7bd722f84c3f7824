# SPDX-License-Identifier: Apache-2.0
"""Files of replies inside the folders of ``s1 eval`` and ``s1 sweep``, and the grades that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s1_client.cli.evaluate.show import SAMPLES, SETTINGS, asked_in
from s1_client.cli.evaluate.sweep import REPLIES, SWEEP
from s1_client.cli.evaluate.sweep_summary import grades_of
from s1_client.evaluation._protocol import is_accepted
from s1_client.evaluation._samples import collect
from s1_client.evaluation._stats import Grade
from s1_client.evaluation.grading.judge import JudgeFailed
from s1_client.runs import Refused, entries_in, load_manifest


def files_of(path: Path) -> list[Path]:
    """The files of replies in a folder: of an evaluation, a sweep, or logs of lm-eval; a file is itself. Raises Refused."""
    if path.is_file():
        return [path]
    found = [path / name for name in (SAMPLES, REPLIES) if (path / name).is_file()] or sorted(path.rglob("samples_*.jsonl"))
    if not found:
        raise Refused(f"{path}: holds no {SAMPLES} (s1 eval), no {REPLIES} (s1 sweep) and no samples_*.jsonl (lm-eval)")
    return found


def grade_of(path: Path) -> Grade | None:
    """What tells whether the reply of a line is right, by what was asked in the file's folder; None if it does not say."""
    if path.name == SAMPLES and (path.parent / SETTINGS).is_file():
        return _of_evaluation(path)
    if path.name == REPLIES and (path.parent / SWEEP).is_file():
        return grades_of(load_manifest(path.parent / SWEEP, "sweep"))
    return None


def _of_evaluation(path: Path) -> Grade:
    """A reply that its setting did not accept, as of a rejection, has no grade: it is asked for again."""
    asked = asked_in(path.parent)
    kinds = {setting.name: setting.kind for setting in asked.settings}
    try:
        samples = collect(asked.task, asked.settings, entries_in(path)).samples
    except (ImportError, JudgeFailed) as error:
        raise Refused(str(error)) from None
    right = {(sample.question, sample.setting, sample.repeat): sample.is_right for sample in samples if sample.is_accepted}

    def grade(entry: Mapping[str, Any]) -> bool | None:
        meta, end = entry["meta"], entry["reply"]["result"]["thinking_end"]
        slot = (meta["question"], meta["setting"], meta["repeat"])
        return right.get(slot) if is_accepted(kinds.get(meta["setting"], ""), end) else None

    return grade

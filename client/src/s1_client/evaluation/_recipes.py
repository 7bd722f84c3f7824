# SPDX-License-Identifier: Apache-2.0
"""The tasks of ``recipes`` as questions: lm-evaluation-harness (package lm-eval) reads them and fetches their data."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

FOLDER = resources.files("s1_client.evaluation").joinpath("recipes")
NAMES = tuple(sorted(file.name.removesuffix(".yaml") for file in FOLDER.iterdir() if file.name.endswith(".yaml")))


def entries_of(name: str) -> Iterator[dict[str, Any]]:
    """The questions of a recipe, as a task's file has them.

    Raises ImportError without the package, OSError if the data cannot be had.
    """
    from lm_eval.tasks import TaskManager

    from s1_client.evaluation.recipes.functions import GRADED_BY, answer_of

    task = TaskManager(include_path=str(FOLDER), include_defaults=False).load([name])["tasks"][name]
    grading = GRADED_BY[task.config.process_results]
    for number, doc in enumerate(task.eval_docs):
        yield {"id": f"{name}-{number}", "prompt": task.doc_to_text(doc), "expected": answer_of(doc), "grading": grading}

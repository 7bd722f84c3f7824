# SPDX-License-Identifier: Apache-2.0
"""Read the tasks of ``recipes`` by lm-evaluation-harness (package lm-eval), which fetches their data sets."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

FOLDER = resources.files("s1_client.evaluation").joinpath("recipes")
NAMES = tuple(sorted(file.name.removesuffix(".yaml") for file in FOLDER.iterdir() if file.name.endswith(".yaml")))


def entries_of(name: str) -> Iterator[dict[str, Any]]:
    """Yield the questions of a recipe as objects of a task file.

    Raises ImportError without the package lm-eval, and OSError if the data set cannot be fetched.
    """
    from lm_eval.tasks import TaskManager

    from s1_client.evaluation.recipes.functions import GRADED_BY, answer_of

    task = TaskManager(include_path=str(FOLDER), include_defaults=False).load([name])["tasks"][name]
    grading = GRADED_BY[task.config.process_results]
    for number, doc in enumerate(task.eval_docs):
        yield {"id": f"{name}-{number}", "prompt": task.doc_to_text(doc), "expected": answer_of(doc), "grading": grading}

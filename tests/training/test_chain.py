# SPDX-License-Identifier: Apache-2.0
"""From nothing to a served model whose accuracy rises with its budget: the commands of docs/training.md as they stand there.

Data and training are seeded, the evaluation is greedy. Another processor may round otherwise, which changes a model as another seed does:
the margins are far below what was measured with any seed.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from budgetforce.provenance import record_of
from s1_client.evaluation import report_of

pytestmark = pytest.mark.xdist_group("chain")  # both tests in one process, which does the work once

NATURAL = -1  # budget: as many tokens as the context allows
# Accuracy. Measured with the recipe's seed: 0.47 and 0.21; with two other seeds: 0.53 and 0.14, 0.60 and 0.11.
LEAST_GAIN_BY_THINKING, LEAST_GAIN_BY_A_REFUSED_END = 0.25, 0.05


@pytest.fixture(scope="module")
def work(root, tmp_path_factory):
    """The folder in which the page's commands have been run."""
    folder = tmp_path_factory.mktemp("chain")
    text = (root / "docs/training.md").read_text()
    (block,) = re.findall(r"<!-- run by: tests/training/test_chain.py -->\n```sh\n(.*?)```", text, re.S)
    for line in block.splitlines():
        python3, *arguments = shlex.split(line.replace("work/", f"{folder}/"))
        assert python3 == "python3"
        done = subprocess.run(
            [sys.executable, *arguments], cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return folder


@pytest.mark.timeout(900)  # the training alone takes minutes
def test_accuracy_rises_with_the_thinking_and_with_a_refused_end(work):
    rows = report_of((work / "train/eval/summary.json").read_text()).rows
    accuracy = {(row.limit, row.num_ignore): row.accuracy.value for row in rows}
    assert accuracy[NATURAL, 0] >= accuracy[0, 0] + LEAST_GAIN_BY_THINKING, accuracy
    assert accuracy[NATURAL, 1] >= accuracy[NATURAL, 0] + LEAST_GAIN_BY_A_REFUSED_END, accuracy


def test_a_reply_tells_which_data_and_recipe_made_its_model(work):
    checkpoint, dataset = work / "train/checkpoint", work / "data/set/dataset.json"
    training = json.loads((work / "train/eval/samples.jsonl").read_text().splitlines()[0])["reply"]["result"]["training"]
    assert training["id"] == hashlib.sha256((checkpoint / "training.json").read_bytes()).hexdigest()[:12]
    assert training["recipe_sha256"] == json.loads((checkpoint / "training.json").read_text())["recipe_sha256"]
    assert training["dataset_sha256"] == json.loads(dataset.read_text())["sha256"] == record_of(checkpoint).dataset_sha256
    assert training["dataset_sha256"] == hashlib.sha256((work / "data/set/data.parquet").read_bytes()).hexdigest()

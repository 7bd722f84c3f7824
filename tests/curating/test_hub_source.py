# SPDX-License-Identifier: Apache-2.0
"""A data set of the hub is read from the files of one pinned commit, by the real hub client."""

import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from building.fake_hub import COMMIT, MODEL, FakeHub
from curating.recipe_files import FROM_FILE, question, read_lines, write_lines, write_recipe

RECIPE = FROM_FILE.replace('kind = "file"\npath = "questions.jsonl"', f'kind = "hub"\nrepo = "{MODEL}"\nrevision = "{COMMIT}"')


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    parquet.write_table(pa.Table.from_pylist([question(1), question(2)]), folder / "train.parquet")
    write_lines(folder / "more.jsonl", [question(3)])
    with FakeHub(folder) as hub:
        yield hub


@pytest.fixture
def collect(hub, tmp_path):
    """``python -m budgetforce.curating collect``, since the hub client reads its address when it is imported."""

    def run(recipe=RECIPE):
        command = [sys.executable, "-m", "budgetforce.curating", "collect"]
        command += ["--recipe", str(write_recipe(tmp_path, recipe)), "--work", str(tmp_path / "work")]
        environment = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
        }
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_files_of_one_commit_are_read(collect, hub, tmp_path):
    done = collect()
    assert done.returncode == 0, done.stderr
    rows = read_lines(tmp_path / "work" / "01-collect" / "rows.jsonl")
    assert {(row["question"], row["source"], row["source_revision"]) for row in rows} == {
        (f"What is {number} + {number}?", "questions", COMMIT) for number in (1, 2)
    }
    assert all(COMMIT in request for request in hub.requests)
    assert hub.num_contents("more.jsonl") == 0


def test_a_bad_row_of_the_hub_is_named_by_file_and_row(collect, hub):
    write_lines(hub.folder / "more.jsonl", [question(3), {"solution": "4"}])
    failed = collect(RECIPE.replace("revision = ", 'files = ["more.*"]\nrevision = '))
    assert failed.returncode == 1
    assert f"{MODEL}/more.jsonl:2: question: missing, allowed: text" in failed.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f'"{MODEL}"', '"owner/none"', "owner/none: download from the hub failed: "),
        ("revision = ", 'files = ["*.arrow"]\nrevision = ', f"{MODEL}: no file of revision {COMMIT} matches *.arrow"),
    ],
)
def test_what_the_hub_has_not_is_a_sentence(collect, tmp_path, old, new, message):
    failed = collect(RECIPE.replace(old, new))
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list((tmp_path / "work").glob("01-collect*"))

# SPDX-License-Identifier: Apache-2.0
"""Weights are complete, from the hub at one commit or from a folder."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest

from budgetforce.building import weights
from budgetforce.building.spec import EngineSpec
from budgetforce.building.stage import BuildFailed
from budgetforce.building.weights import Source, check_disk, check_weights, find_source, read_model, weights_files
from budgetforce.errors import ConfigError
from building.fake_hub import COMMIT, MODEL, FakeHub, sha256

FIRST, SECOND = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))


@pytest.fixture
def hub(tiny_model, tmp_path):
    """A hub that also has files which are not needed."""
    repository = tmp_path / "repository"
    shutil.copytree(tiny_model, repository)
    (repository / "pytorch_model.bin").write_text("the same weights again")
    with FakeHub(repository) as hub:
        yield hub


@pytest.fixture
def download(hub, tmp_path, environment):
    """``python -m budgetforce.building download`` with the real hub client."""

    def run(*more, model=MODEL):
        command = [sys.executable, "-m", "budgetforce.building", "download", "--model", model, "--work", str(tmp_path / "work"), *more]
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}
        hub.requests.clear()
        return subprocess.run(command, env={**environment, **quiet, "HF_ENDPOINT": hub.url}, capture_output=True, text=True)

    return run


def test_a_branch_is_resolved_once_and_everything_comes_from_that_commit(download, hub, tmp_path):
    done = download()
    assert done.returncode == 0, done.stderr
    model = tmp_path / "work" / "model"
    files = {path.name for path in model.iterdir()}
    assert files == {path.name for path in hub.folder.iterdir()} - {"pytorch_model.bin"} | {"stage.json"}
    found = json.loads((model / "stage.json").read_text())["found"]
    assert found == {"commit": COMMIT, "sha256": {name: sha256(hub.folder / name) for name in (FIRST, SECOND)}}
    assert all(COMMIT in request for request in hub.requests if "resolve" in request)
    hub.branch = "6c" * 20  # it moves on
    again = download()
    assert (again.returncode, hub.requests) == (0, [])
    assert "download: already done" in again.stderr


def test_only_a_file_with_another_hash_is_downloaded_again(download, hub, tmp_path):
    hub.broken.add(SECOND)
    failed = download("--revision", COMMIT)
    assert failed.returncode == 1
    assert f"BUILD: {SECOND}: SHA-256 differs from the hub's" in failed.stderr
    assert not (tmp_path / "work" / "model").exists()
    hub.broken.clear()
    assert download("--revision", COMMIT).returncode == 0
    assert (hub.num_contents(FIRST), hub.num_contents(SECOND)) == (0, 1)
    assert sha256(tmp_path / "work" / "model" / SECOND) == sha256(hub.folder / SECOND)


def test_a_lost_connection_is_one_sentence_and_keeps_the_files(download, hub, tmp_path):
    hub.cut.add(SECOND)
    failed = download("--revision", COMMIT)
    assert failed.returncode == 1
    assert f"BUILD: {MODEL}: download from the hub failed: " in failed.stderr
    assert "Traceback" not in failed.stderr
    hub.cut.clear()
    assert download("--revision", COMMIT).returncode == 0
    assert hub.num_contents(FIRST) == 0


def test_a_model_that_the_hub_lacks_is_one_sentence(download):
    failed = download(model="owner/other")
    assert failed.returncode == 1
    assert failed.stderr.startswith("BUILD: owner/other: download from the hub failed: 404")


def test_a_folder_is_another_source_when_a_file_of_it_changes(tiny_model, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(tiny_model, folder)
    before = find_source(EngineSpec(model=str(folder)), tmp_path)
    assert find_source(EngineSpec(model=str(folder)), tmp_path).inputs == before.inputs
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert find_source(EngineSpec(model=str(folder)), tmp_path).inputs != before.inputs


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / SECOND).unlink(), f"has no {SECOND}"),
        (lambda folder: (folder / SECOND).write_bytes((folder / SECOND).read_bytes()[:-1]), r"has \d+ bytes, its header says \d+"),
        (lambda folder: (folder / SECOND).write_bytes(b"<!DOCTYPE html>"), "is not a safetensors file: a header of"),
        (lambda folder: (folder / SECOND).write_bytes(b""), "is not a safetensors file"),
        (lambda folder: (folder / weights.INDEX).write_text("{}"), "index.json cannot be read"),
        (lambda folder: (folder / weights.INDEX).unlink(), "has no model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
    ],
)
def test_an_incomplete_folder_is_refused_by_the_files_name(tiny_model, tmp_path, harm, message):
    folder = tmp_path / "mine"
    shutil.copytree(tiny_model, folder)
    harm(folder)
    with pytest.raises(ConfigError, match=message):
        check_weights(folder)


def test_a_model_in_one_file_needs_no_index(tiny_model, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((tiny_model / SECOND).read_bytes())
    (tmp_path / "config.json").write_text((tiny_model / "config.json").read_text())
    check_weights(tmp_path)
    assert [path.name for path in weights_files(tmp_path)] == ["model.safetensors"]


def test_a_model_that_is_neither_folder_nor_hub_id_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="neither a folder nor a hub id like owner/name"):
        find_source(EngineSpec(model="./not/there"), tmp_path)


def test_a_disk_that_is_too_small_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(100, 90, 10)
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: usage)
    check_disk("build", tmp_path / "not" / "yet", 10)
    with pytest.raises(BuildFailed, match=r"stage build needs 65\.5 GB of disk, .* has 0\.0 GB free"):
        check_disk("build", tmp_path / "not" / "yet", 65_500_000_000)


def test_a_models_shape_is_read_before_its_weights_are_downloaded(hub, monkeypatch):
    """Of the hub's files only config.json is requested."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    shape, stored_bytes = read_model(Source(model=MODEL, commit=COMMIT))
    assert (shape.hidden_size, stored_bytes) == (16, 4)
    assert {request.rpartition("/")[2] for request in hub.requests if "/resolve/" in request} == {"config.json"}


def test_a_hub_that_does_not_answer_for_the_shape_is_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # between its tries, 23 seconds in all
    with pytest.raises(BuildFailed, match="download from the hub failed"):
        read_model(Source(model=MODEL, commit=COMMIT))

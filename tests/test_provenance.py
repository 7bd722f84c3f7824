# SPDX-License-Identifier: Apache-2.0
"""A model's training record is read, or refused by file and key; a record of other weights is refused."""

import hashlib
import json
from dataclasses import asdict, replace

import pytest
from training_record import DATASET_SHA256, RECIPE_SHA256, write_record

from budgetforce.errors import ConfigError
from budgetforce.provenance import DATASET, TRAINING, check_weights, copy_record, load_record, record_of, weights_sha256


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_record_tells_recipe_data_and_base_and_is_named_by_its_own_hash(model):
    path = write_record(model)
    record = record_of(model)
    assert record.id == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert (record.name, record.base_model, record.dataset) == ("tiny", "", "puzzles")
    assert (record.dataset_sha256, record.recipe_sha256) == (DATASET_SHA256, RECIPE_SHA256)
    assert str(record) == f"{record.id}: tiny, from random weights, on puzzles ({'d' * 12}), recipe {'e' * 12}"


def test_a_model_without_a_record_has_none_and_passes(model, tmp_path):
    assert record_of(model) is None
    check_weights(model)
    copy_record(model, tmp_path)
    assert not (tmp_path / TRAINING).exists()


@pytest.mark.parametrize(
    ("base", "shown"),
    [
        ({"model": "Qwen/Qwen2.5-32B-Instruct", "commit": "5ede1c9"}, "Qwen/Qwen2.5-32B-Instruct@5ede1c9"),
        ({"model": "Qwen/Qwen2.5-32B-Instruct", "commit": None}, "Qwen/Qwen2.5-32B-Instruct"),
        ({"model": "/home/someone/qwen"}, "qwen"),
        ({"model": "work/train/checkpoint", "commit": None, "training": "0123456789ab"}, "work/train/checkpoint@0123456789ab"),
    ],
)
def test_a_base_model_is_named_without_the_folders_of_its_machine(model, base, shown):
    write_record(model, base=base)
    assert record_of(model).base_model == shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "key 'name': missing, expected a text"),
        ({"recipe_sha256": "abc"}, "key 'recipe_sha256': found 'abc', expected 64 hexadecimal digits"),
        ({"dataset": "puzzles"}, "key 'dataset': found 'puzzles', expected an object"),
        ({"dataset": {"name": "puzzles"}}, "key 'dataset.sha256': missing"),
        ({"base": {}}, "key 'base' has neither 'model' nor 'init'"),
        ({"base": {"model": 7}}, "key 'base.model': found 7"),
    ],
)
def test_a_broken_record_is_refused_by_file_and_key(model, changes, message):
    path = write_record(model, **changes)
    with pytest.raises(ConfigError, match=f"{path}: {message}"):
        record_of(model)


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[]", "is not a JSON object"), ("\xff", "is not JSON")])
def test_a_record_that_is_no_object_is_refused(model, text, message):
    (model / TRAINING).write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=f"{TRAINING} {message}"):
        record_of(model)


def test_the_record_of_another_data_set_is_refused(model):
    write_record(model)
    (model / DATASET).write_text(json.dumps({"sha256": "f" * 64}))
    with pytest.raises(ConfigError, match=f"{DATASET}: key 'sha256': found ffffffffffff…, and key 'dataset.sha256' of {TRAINING}"):
        record_of(model)
    (model / DATASET).unlink()
    assert record_of(model).dataset_sha256 == DATASET_SHA256, "training.json alone is a record"


def test_a_record_of_other_weights_is_refused(model):
    write_record(model)
    check_weights(model)
    (model / "model.safetensors").write_bytes(b"trained further")
    with pytest.raises(
        ConfigError, match=r"training.json: the weights have SHA-256 .*, key 'weights_sha256' says .*: remove training.json"
    ):
        check_weights(model)


def test_the_digest_of_weights_covers_the_names_and_contents_of_all_files(tmp_path):
    (tmp_path / "b.safetensors").write_bytes(b"1")
    (tmp_path / "a.safetensors").write_bytes(b"2")
    (tmp_path / "config.json").write_text("{}")
    found = weights_sha256(tmp_path)
    listed = "".join(f"{name}.safetensors\n{hashlib.sha256(content).hexdigest()}\n" for name, content in (("a", b"2"), ("b", b"1")))
    assert found == hashlib.sha256(listed.encode()).hexdigest()
    (tmp_path / "b.safetensors").rename(tmp_path / "c.safetensors")
    assert weights_sha256(tmp_path) != found


def test_a_copied_record_is_the_same_record(model, tmp_path):
    write_record(model)
    copy_record(model, tmp_path)
    assert record_of(tmp_path) == record_of(model)


def test_the_record_in_a_manifest_is_read_or_refused(model, tmp_path):
    write_record(model)
    record, path = record_of(model), tmp_path / "manifest.json"

    def read(training):
        path.write_text(json.dumps({"format": 1, "training": training}))
        return load_record(path)

    assert read(asdict(record)) == record
    assert read(asdict(replace(record, base_model="owner/name"))).base_model == "owner/name"
    assert read(None) is None
    for wrong in ("tiny", {}, {**asdict(record), "more": 1}):
        with pytest.raises(ConfigError, match="key 'training': expected an object with id, name, "):
            read(wrong)
    for key, message in (("id", "'training.id': found 'x', expected 12"), ("dataset_sha256", "'training.dataset_sha256': found 'x'")):
        with pytest.raises(ConfigError, match=message):
            read({**asdict(record), key: "x"})

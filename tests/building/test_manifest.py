# SPDX-License-Identifier: Apache-2.0
"""The content of an engine's manifest, and every mismatch that can be found with it."""

import json
from dataclasses import fields, replace

import pytest
from built_engine import build, gpu, machine, manifest_of, write_config, write_files
from training_record import write_record

from budgetforce.building import manifest as manifests
from budgetforce.building.manifest import BUILD_AGAIN, CONFIG_KEYS, NAME, Manifest, describe, read, summary, write
from budgetforce.building.spec import EngineSpec
from budgetforce.errors import ConfigError
from budgetforce.provenance import record_of
from budgetforce.text.tokenizer_files import TOKENIZER_FILES

SPEC = EngineSpec(model="simplescaling/s1-32B", revision="0123456789abcdef")


@pytest.fixture(scope="module")
def qwen_folder(tmp_path_factory, qwen_as_published):
    folder = tmp_path_factory.mktemp("tokenizer")
    qwen_as_published.save_pretrained(str(folder))
    return folder


@pytest.fixture
def built(tmp_path):
    """An engine's folder, its tokenizer's, and the manifest."""
    engine, tokenizer = build(tmp_path)
    return engine, tokenizer, read(engine)


def test_an_engine_is_described_by_itself_the_machine_and_the_tokenizer(tmp_path, qwen_folder):
    write_files(tmp_path / "engine", tmp_path / "unused")
    made = describe(SPEC, tmp_path / "engine", qwen_folder, machine())
    expected = manifest_of(tmp_path / "engine", qwen_folder)
    assert made == replace(expected, files=made.files)
    assert [(file.name, file.size_bytes) for file in made.files] == [("rank0.engine", 6), ("rank1.engine", 6)]
    assert len({file.sha256 for file in made.files}) == 2
    assert made.terminator_ids == (151643, 151644, 151645)
    assert not [*manifests.against_files(made, tmp_path / "engine", hashes=True)]


@pytest.fixture
def described(tmp_path, monkeypatch):
    """An engine's files, a tokenizer's and a machine, for a manifest."""
    monkeypatch.setattr(manifests, "_terminator_ids", lambda *_: ())
    write_files(tmp_path / "engine", tmp_path / "tokenizer")
    return tmp_path / "engine", tmp_path / "tokenizer", machine()


def test_an_engine_that_differs_from_its_spec_gets_no_manifest(described):
    with pytest.raises(ConfigError, match=r"differs from the requested engine: max_seq_len: found 32768, expected 16384"):
        describe(replace(SPEC, max_seq_len=16384), *described)


def test_an_engine_with_a_missing_rank_gets_no_manifest(described):
    (described[0] / "rank1.engine").unlink()
    with pytest.raises(ConfigError, match=r"rank1.engine cannot be read \(No such file or directory\): build the engine again"):
        describe(SPEC, *described)


def test_a_written_manifest_can_be_read(built):
    engine, tokenizer, made = built
    assert made == manifest_of(engine, tokenizer)
    assert write(made, engine).name == NAME
    assert sorted(path.name for path in engine.iterdir()) == ["config.json", NAME, "rank0.engine", "rank1.engine"]


def test_a_write_that_fails_leaves_the_old_one(built, monkeypatch):
    """The disk may be full."""
    engine, _, made = built
    monkeypatch.setattr(manifests.json, "dumps", lambda *_, **__: "\ud800")  # cannot be encoded
    with pytest.raises(UnicodeEncodeError):
        write(replace(made, tp=4), engine)
    assert read(engine) == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"format": 2}', "another version of budgetforce"),
        ('{"format": 1}', "another version of budgetforce"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_so_and_what_to_do(built, text, message):
    engine = built[0]
    (engine / NAME).unlink() if text is None else (engine / NAME).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read(engine)
    assert BUILD_AGAIN in str(caught.value)


def test_a_field_of_the_wrong_kind_cannot_be_read(built):
    engine = built[0]
    values = json.loads((engine / NAME).read_text())
    (engine / NAME).write_text(json.dumps({**values, "files": [{"name": "rank0.engine"}]}))
    with pytest.raises(ConfigError, match="cannot be read"):
        read(engine)


def test_the_summary_is_a_line_that_distinguishes_engines(built):
    made = built[2]
    assert summary(made) == (
        "simplescaling/s1-32B @0123456789ab, bf16, TP 2, 32768 tokens; TensorRT-LLM 1.2.1, TensorRT 10.14.1.48, "
        f"NVIDIA H100 80GB HBM3 (SM 9.0); engine 000000000000, tokenizer {made.tokenizer_sha256[:12]}, budgetforce 0.1.0"
    )
    assert "@" not in summary(replace(made, revision=""))
    assert "TensorRT (unknown)" in summary(replace(made, tensorrt=""))


@pytest.fixture
def record(tmp_path):
    """The training record of some model."""
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    write_record(folder)
    return record_of(folder)


def test_a_manifest_has_the_training_record_of_its_model(built, record):
    engine, _, made = built
    assert made.training is None
    write(replace(made, training=record), engine)
    assert read(engine).training == record
    assert summary(read(engine)).endswith(f", training {record.id}")


def test_a_manifest_from_before_training_records_can_be_read(built):
    engine, _, made = built
    values = json.loads((engine / NAME).read_text())
    del values["training"]
    (engine / NAME).write_text(json.dumps(values))
    assert read(engine) == made


def test_a_manifest_with_a_broken_record_names_its_key(built):
    engine = built[0]
    values = json.loads((engine / NAME).read_text())
    (engine / NAME).write_text(json.dumps({**values, "training": {"id": "x"}}))
    with pytest.raises(ConfigError, match="manifest.json: key 'training': expected an object"):
        read(engine)


def test_another_record_beside_the_tokenizer_is_a_mismatch(built, record):
    _, tokenizer, made = built
    assert not texts(manifests.against_record(made, tokenizer))
    (found,) = manifests.against_record(replace(made, training=record), tokenizer)
    assert (found.subject, found.found, found.expected) == ("training", "no record", record)


def texts(mismatches):
    return [str(one) for one in mismatches]


def test_there_is_no_mismatch_where_it_was_built(built):
    engine, tokenizer, made = built
    assert not texts(manifests.against_machine(made, machine()))
    assert not texts(manifests.against_config(made, engine))
    assert not texts(manifests.against_files(made, engine))
    assert not texts(manifests.against_tokenizer(made, tokenizer))
    assert not texts(manifests.against_spec(made, SPEC))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tensorrt_llm": "1.1.0"}, ["TensorRT-LLM: found 1.1.0, expected 1.2.1, which built the engine"]),
        ({"tensorrt": "10.13.3.9"}, ["TensorRT: found 10.13.3.9, expected 10.14.1.48, which built the engine"]),
        ({"tensorrt_llm": "1.2.1+nv"}, []),  # a local build of the same
        ({"tensorrt_llm": "", "tensorrt": ""}, []),  # unknown: no reason to refuse
        ({"driver": "595.71.05", "cuda": "13.2"}, []),  # an engine does not depend on them
    ],
)
def test_an_engine_is_tied_to_the_versions_that_built_it(built, changes, expected):
    found = [*manifests.against_machine(built[2], machine(**changes))]
    assert texts(found) == expected
    assert all(one.fatal and "26.07-trtllm-python-py3" in one.fix for one in found)


def test_an_engine_is_tied_to_the_architecture(built):
    ada = gpu(1, name="NVIDIA L40S", sm="8.9")
    (one,) = manifests.against_machine(built[2], machine(gpus=(gpu(0), ada)))
    assert (str(one), one.fix, one.fatal) == ("GPU 1: found NVIDIA L40S (SM 8.9), expected SM 9.0", BUILD_AGAIN, True)


def test_another_card_of_the_same_architecture_is_a_note(built):
    (one,) = manifests.against_machine(built[2], machine(gpus=(gpu(0), gpu(1, name="NVIDIA H200"))))
    assert str(one) == "GPU 1: found NVIDIA H200, expected NVIDIA H100 80GB HBM3, for which it was tuned"
    assert not one.fatal


def test_gpus_that_are_not_used_do_not_matter(built):
    assert not texts(manifests.against_machine(built[2], machine(gpus=(gpu(0), gpu(1), gpu(2, sm="7.5")))))


@pytest.mark.parametrize("name", CONFIG_KEYS)
def test_every_key_of_the_engines_own_config_is_compared(built, name):
    engine, _, made = built
    keys = CONFIG_KEYS[name]
    write_config(engine, **{"__".join(keys): "other"})
    (one,) = manifests.against_config(made, engine)
    assert str(one) == f"config.json: {'.'.join(keys)}: found 'other', expected {getattr(made, name)!r}"
    assert one.fix == BUILD_AGAIN


@pytest.mark.parametrize("name", CONFIG_KEYS)
def test_a_config_that_lacks_a_key_is_refused_by_its_name(built, name):
    engine, _, made = built
    *parents, last = CONFIG_KEYS[name]
    config = json.loads((engine / "config.json").read_text())
    place = config
    for key in parents:
        place = place[key]
    del place[last]
    (engine / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=f"does not say {'.'.join(CONFIG_KEYS[name])}"):
        texts(manifests.against_config(made, engine))


@pytest.mark.parametrize("text", [None, "{", "null"])
def test_a_config_that_cannot_be_read_is_refused(built, text):
    engine, _, made = built
    (engine / "config.json").unlink() if text is None else (engine / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config.json (cannot be read|does not say)"):
        texts(manifests.against_config(made, engine))


@pytest.mark.parametrize(("name", "value"), [("quantisation", "FP8"), ("gemm_plugin", "")])
def test_settings_that_are_off_are_null_in_the_config(built, name, value):
    engine, _, made = built
    write_config(engine, **{"__".join(CONFIG_KEYS[name]): value or None})
    assert not texts(manifests.against_config(replace(made, **{name: value}), engine))


def test_files_must_exist_with_their_sizes(built):
    engine, _, made = built
    (engine / "rank0.engine").unlink()
    (engine / "rank1.engine").write_bytes(b"half")
    assert texts(manifests.against_files(made, engine)) == [
        "rank0.engine: found no file, expected 6 bytes",
        "rank1.engine: found 4 bytes, expected 6",
    ]


def test_hashes_are_compared_on_request(built):
    engine, _, made = built  # its hashes are none
    assert not texts(manifests.against_files(made, engine))
    assert [one.subject for one in manifests.against_files(made, engine, hashes=True)] == ["rank0.engine: sha256", "rank1.engine: sha256"]


@pytest.mark.parametrize("name", TOKENIZER_FILES)
def test_every_file_of_a_tokenizer_counts(built, name):
    _, tokenizer, made = built
    (tokenizer / name).write_text("another")
    (one,) = manifests.against_tokenizer(made, tokenizer)
    assert one.subject == "tokenizer: sha256"
    assert one.expected == made.tokenizer_sha256[:12]
    assert "set --tokenizer to that of simplescaling/s1-32B" in one.fix


def test_a_readme_is_no_tokenizer(built):
    _, tokenizer, made = built
    (tokenizer / "README.md").write_text("changed")
    assert not texts(manifests.against_tokenizer(made, tokenizer))
    (tokenizer / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match="holds no tokenizer"):
        texts(manifests.against_tokenizer(made, tokenizer))


def test_bytes_do_not_move_from_one_file_of_a_tokenizer_to_the_next(tmp_path):
    hashes = []
    for one, other in (("ab", "c"), ("a", "bc")):
        folder = tmp_path / one
        folder.mkdir()
        (folder / "vocab.json").write_text(one)
        (folder / "merges.txt").write_text(other)
        hashes.append(manifests.tokenizer_sha256(folder))
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tp": 4}, "tp: found 2, expected 4"),
        ({"max_num_tokens": 4096}, "max_num_tokens: found 8192, expected 4096"),
        ({"max_batch_size": 64}, "max_batch_size: found 32, expected 64"),
        ({"tokens_per_block": 64}, "tokens_per_block: found 32, expected 64"),
        ({"variant": "fp8"}, "quantisation: found '', expected 'FP8'"),
        ({"variant": "int4-awq"}, "quantisation: found '', expected 'W4A16_AWQ'"),
    ],
)
def test_a_difference_from_the_spec_is_found(built, changes, expected):
    assert texts(manifests.against_spec(built[2], replace(SPEC, **changes))) == [expected]


def test_an_engine_without_paged_context_is_a_mismatch(built):
    """A continuation would compute all of its thought again."""
    found = texts(manifests.against_spec(replace(built[2], use_paged_context_fmha=False), SPEC))
    assert found == ["use_paged_context_fmha: found False, expected True"]


def test_the_manifest_names_what_the_config_has():
    """A renamed field would be compared with nothing."""
    assert set(CONFIG_KEYS) < {field.name for field in fields(Manifest)}

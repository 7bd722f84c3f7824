# SPDX-License-Identifier: Apache-2.0
"""Every kind of source is prepared as the same kind of folder, or refused in a sentence."""

import hashlib
import json

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from training_record import write_record

from budgetforce.engine import model_files
from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.cpu.openvino_pipeline import OpenVinoPipeline
from budgetforce.engine.token_engine import TokenCall
from budgetforce.errors import ConfigError
from budgetforce.provenance import record_of
from budgetforce.text.tokenizer import ChatTokenizer
from budgetforce.text.tokenizer_files import PREPARED_TOKENIZER_FILES

TINY = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 256, "vocab_size": 384, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
}  # fmt: skip


def tensors(architecture):
    """Random weights of the tiny model under Hugging Face's names."""
    rng = np.random.default_rng(0)
    hidden, inner, kv = 64, 128, 32
    shapes = {"model.embed_tokens.weight": (384, hidden), "model.norm.weight": (hidden,), "lm_head.weight": (384, hidden)}
    for n in range(2):
        layer = f"model.layers.{n}"
        shapes |= {
            f"{layer}.self_attn.{p}_proj.weight": s
            for p, s in [("q", (hidden, hidden)), ("k", (kv, hidden)), ("v", (kv, hidden)), ("o", (hidden, hidden))]
        }
        shapes |= {
            f"{layer}.mlp.{p}_proj.weight": s for p, s in [("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))]
        }
        shapes |= {f"{layer}.{norm}.weight": (hidden,) for norm in ("input_layernorm", "post_attention_layernorm")}
        if architecture == "Qwen2ForCausalLM":
            shapes |= {f"{layer}.self_attn.{p}_proj.bias": (size,) for p, size in [("q", hidden), ("k", kv), ("v", kv)]}
    return {name: rng.standard_normal(shape).astype(np.float32) * 0.05 for name, shape in shapes.items()}


def write_safetensors(path, arrays, dtype):
    header, blobs, position = {}, [], 0
    for name, array in arrays.items():
        blob = (array.view(np.uint32) >> 16).astype(np.uint16).tobytes() if dtype == "BF16" else array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [position, position + len(blob)]}
        position += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


@pytest.fixture
def hf_folder(tmp_path, s1_tiny):
    """A random checkpoint with the tokenizer of s1-tiny."""

    def make(architecture="LlamaForCausalLM", dtype="BF16", **changes):
        folder = tmp_path / "checkpoint"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"architectures": [architecture], **TINY, **changes}))
        write_safetensors(folder / "model.safetensors", tensors(architecture), dtype)
        for file in s1_tiny.tokenizer.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    return make


def generate(files):
    engine = EmbeddedEngine(lambda: OpenVinoPipeline(files.weights, num_kv_blocks=16), files.limits)
    engine.submit(TokenCall(input_ids=(5, 6, 7, 8), max_new_tokens=4))
    ids = []
    while engine.has_work():
        for progress in engine.step():
            assert progress.error is None
            ids += progress.ids
    return ids


def test_smollm2_is_bit_for_bit_the_model_that_was_measured(smollm2):
    """The re-quantised file's checksum, from two separate conversions."""
    digest = hashlib.sha256(smollm2.weights.read_bytes()).hexdigest()
    assert digest == "0c1d3326cd9793cfb7296113c063dd5c24e2bd734b48ec1a3d01b7158eca9387"
    assert (smollm2.limits.vocab_size, smollm2.limits.max_seq_len) == (49152, 8192)


@pytest.mark.parametrize(
    ("architecture", "dtype"), [("LlamaForCausalLM", "F32"), ("LlamaForCausalLM", "BF16"), ("Qwen2ForCausalLM", "BF16")]
)
def test_a_hugging_face_folder_is_served(hf_folder, tiny_tokenizer, tmp_path, architecture, dtype):
    files = model_files.prepare(str(hf_folder(architecture, dtype)), tmp_path / "cache")
    assert len(generate(files)) == 4
    assert ChatTokenizer.load(files.tokenizer).encode_marker("<|im_start|>think") == tiny_tokenizer.encode_marker("<|im_start|>think")


def test_a_prepared_model_keeps_its_training_record(hf_folder, tmp_path):
    folder = hf_folder()
    write_record(folder)
    files = model_files.prepare(str(folder), tmp_path / "cache")
    assert record_of(files.weights.parent) == record_of(folder) is not None


def test_a_model_with_the_training_record_of_other_weights_is_refused(hf_folder, tmp_path):
    folder = hf_folder()
    write_record(folder, weights_sha256="0" * 64)
    with pytest.raises(ConfigError, match=r"model '.*': .*training.json: the weights have SHA-256"):
        model_files.prepare(str(folder), tmp_path / "cache")
    assert not [*(tmp_path / "cache").glob("[!.]*")]


def test_a_prepared_tokenizer_is_tokenizer_json_alone(hf_folder, tmp_path):
    """An added_tokens.json with an id that tokenizer.json lacks would change the tokenizer."""
    folder = hf_folder()
    for name, content in (("added_tokens.json", {"<|extra|>": 400}), ("vocab.json", {"a": 0})):
        (folder / name).write_text(json.dumps(content))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    files = model_files.prepare(str(folder), tmp_path / "cache")
    assert {path.name for path in files.tokenizer.iterdir()} <= set(PREPARED_TOKENIZER_FILES)
    assert len(ChatTokenizer.load(files.tokenizer).encode("<|extra|>")) > 1


def test_a_gguf_file_is_served_and_prepared_once(s1_tiny, tmp_path):
    first = model_files.prepare(str(s1_tiny.weights), tmp_path)
    assert len(generate(first)) == 4
    stamp = first.weights.stat().st_mtime_ns
    assert model_files.prepare(str(s1_tiny.weights), tmp_path).weights.stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == [first.weights.parent.name]


def test_two_processes_may_prepare_a_model_at_once(tmp_path, monkeypatch):
    """The second process uses the folder of the first."""

    def make(num_rows, out):
        (out / "model.json").write_text(json.dumps({"vocab_size": num_rows, "max_seq_len": 8}))

    def make_and_be_overtaken(_source, out):
        monkeypatch.setattr(model_files, "_make", lambda _source, out: make(9, out))
        model_files.prepare("smollm2", tmp_path)  # the other process
        make(1, out)

    monkeypatch.setattr(model_files, "_make", make_and_be_overtaken)
    assert model_files.prepare("smollm2", tmp_path).limits.vocab_size == 9
    assert [path.name for path in tmp_path.iterdir()] == ["smollm2"]


def test_a_dangling_link_in_a_folder_is_no_file_of_the_model(tmp_path):
    """Editors leave such links."""
    before = model_files._folder_name(str(tmp_path))
    (tmp_path / ".#notes").symlink_to("nowhere")
    assert model_files._folder_name(str(tmp_path)).partition("-")[0] == before.partition("-")[0]


def test_a_checkpoint_that_was_trained_further_is_prepared_anew(hf_folder, tmp_path):
    """Its weights were written over in place, which leaves the folder's own time as it was."""
    folder = hf_folder()
    first = model_files.prepare(str(folder), tmp_path / "cache")
    arrays = {name: array * 2 for name, array in tensors("LlamaForCausalLM").items()}
    write_safetensors(folder / "model.safetensors", arrays, "BF16")
    second = model_files.prepare(str(folder), tmp_path / "cache")
    assert first.weights.read_bytes() != second.weights.read_bytes()


def test_requantising_keeps_names_and_metadata(s1_tiny, tmp_path):
    again = model_files.prepare(str(s1_tiny.weights), tmp_path)
    one, two = GGUFReader(s1_tiny.weights), GGUFReader(again.weights)
    assert [t.name for t in one.tensors] == [t.name for t in two.tensors]
    assert one.fields.keys() == two.fields.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "MambaForCausalLM"}, "architecture MambaForCausalLM, known: LlamaForCausalLM"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope scaling"),
    ],
)
def test_a_checkpoint_that_cannot_be_served_is_refused_and_leaves_nothing(hf_folder, tmp_path, changes, message):
    folder = hf_folder(**changes)
    with pytest.raises(ConfigError, match=message):
        model_files.prepare(str(folder), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_vocabulary_without_merges_is_refused(hf_folder, tmp_path):
    """OpenVINO fails on such a model with "map::at", llama.cpp without a reason."""
    path = hf_folder() / "tokenizer.json"
    spec = json.loads(path.read_text())
    spec["model"]["merges"] = []
    path.write_text(json.dumps(spec))
    assert "tokenizer.json: the vocabulary has no merges" in refused(path.parent, tmp_path / "cache")


def test_a_matrix_that_cannot_be_quantised_is_refused_by_name(hf_folder, tmp_path):
    folder = hf_folder(hidden_size=48)
    arrays = {name: array[..., :48] if array.shape[-1] == 64 else array for name, array in tensors("LlamaForCausalLM").items()}
    write_safetensors(folder / "model.safetensors", arrays, "BF16")
    assert "tensor token_embd.weight has rows of 48 values; a multiple of 32 is needed" in refused(folder, tmp_path / "cache")


def test_the_number_of_embedding_rows_may_be_any(hf_folder, tmp_path):
    folder = hf_folder(vocab_size=383)
    arrays = {name: array[:383] if array.shape[0] == 384 else array for name, array in tensors("LlamaForCausalLM").items()}
    write_safetensors(folder / "model.safetensors", arrays, "BF16")
    assert len(generate(model_files.prepare(str(folder), tmp_path / "cache"))) == 4


def test_a_gguf_of_an_unknown_architecture_is_refused(tmp_path):
    writer = GGUFWriter(tmp_path / "x.gguf", arch="mamba")
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        write()
    with pytest.raises(ConfigError, match="architecture 'mamba'"):
        model_files.prepare(str(tmp_path / "x.gguf"), tmp_path / "cache")


@pytest.mark.parametrize("source", ["nonsense", "/no/such.gguf", "./none", "none/such.gguf", "~/none", "a/b/c"])
def test_an_unknown_source_is_refused_without_a_request_to_the_hub(source, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("a hub was asked"))
    with pytest.raises(
        ConfigError, match="no such file or folder; allowed: 's1-tiny', 'smollm2', a GGUF file, a folder with config.json, or a hub id"
    ):
        model_files.prepare(source, tmp_path)


LFS_POINTER = (
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 9\n"
)


def refused(source, cache):
    """Return the error's sentence; check that no file is kept."""
    with pytest.raises(ConfigError) as error:
        model_files.prepare(str(source), cache)
    assert list(cache.iterdir()) == []
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LFS_POINTER.encode(), "is only a Git LFS pointer: run 'git lfs pull' in"),
        (b"", "model.gguf is empty"),
        (b"\x89PNG\r\n", "is no GGUF file"),
        (b"GGUF\x03\0\0\0", "is broken or of an unexpected form"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_a_sentence(tmp_path, content, message):
    (tmp_path / "model.gguf").write_bytes(content)
    assert message in refused(tmp_path / "model.gguf", tmp_path / "cache")


def test_a_gguf_file_that_was_cut_off_anywhere_is_refused_in_a_sentence(tmp_path):
    """An incomplete download, whatever exception its readers raise."""
    writer = GGUFWriter(tmp_path / "whole.gguf", arch="llama")
    writer.add_context_length(64)
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        write()
    whole = (tmp_path / "whole.gguf").read_bytes()
    for length in range(4, len(whole) - 1, 7):
        (tmp_path / "model.gguf").write_bytes(whole[:length])
        assert "model.gguf" in refused(tmp_path / "model.gguf", tmp_path / "cache")


def test_one_part_of_a_model_is_refused(tmp_path):
    writer = GGUFWriter(tmp_path / "model-00001-of-00002.gguf", arch="llama")
    writer.add_uint16("split.count", 2)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        write()
    assert "is one part of several" in refused(tmp_path / "model-00001-of-00002.gguf", tmp_path / "cache")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LFS_POINTER, "{name} is only a Git LFS pointer"),
        ("", "{name} is empty"),
        ("no json", "model '"),
        ("[]", "model '"),
        (None, "model '"),
    ],
)
def test_a_folder_with_an_unusable_file_is_refused_in_a_sentence(hf_folder, tmp_path, name, content, message):
    path = hf_folder() / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert message.format(name=name) in refused(path.parent, tmp_path / "cache")


def test_a_folder_without_some_of_its_weights_is_refused(hf_folder, tmp_path):
    """And not served with the weights that are there."""
    folder = hf_folder()
    arrays = {name: array for name, array in tensors("LlamaForCausalLM").items() if ".1.mlp." not in name}
    write_safetensors(folder / "model.safetensors", arrays, "BF16")
    assert "3 of 20 tensors are missing, the first is blk.1.ffn_gate.weight" in refused(folder, tmp_path / "cache")


def test_a_folder_that_holds_a_gguf_file_says_how_to_name_it(tmp_path):
    (tmp_path / "models").mkdir()
    assert "it has no config.json, and no GGUF file" in refused(tmp_path / "models", tmp_path / "cache")
    (tmp_path / "models/a.gguf").touch()
    assert f"name a file in it, as {tmp_path}/models/a.gguf" in refused(tmp_path / "models", tmp_path / "cache")


def test_a_hub_id_is_downloaded_first(hf_folder, tmp_path, monkeypatch):
    folder = hf_folder()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda hub_id, allow_patterns: str(folder))
    files = model_files.prepare("owner/name", tmp_path / "cache")
    assert files.weights.parent.name == "owner--name"


def test_a_download_that_fails_is_one_sentence(tmp_path, monkeypatch):
    def fail(hub_id, allow_patterns):
        raise OSError("no route\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ConfigError, match="model 'owner/name' is not a local folder and cannot be downloaded: no route$"):
        model_files.prepare("owner/name", tmp_path)


def test_a_folder_that_holds_no_prepared_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no prepared model"):
        model_files.ModelFiles.open(tmp_path)

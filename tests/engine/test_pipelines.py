# SPDX-License-Identifier: Apache-2.0
"""OpenVINO if it runs, otherwise llama.cpp, otherwise an error with the reasons."""

import pytest
from scripted_pipeline import ScriptedPipeline

from budgetforce.config import EmbeddedConfig
from budgetforce.engine.cpu import pipelines
from budgetforce.errors import ConfigError


def fails_to_load(*_):
    raise RuntimeError("no such instruction\nmore")


def fails_at_the_first_id(*_):
    pipeline = ScriptedPipeline(lambda _: [1])
    pipeline.broken = True
    return pipeline


def works(*_):
    return ScriptedPipeline(lambda _: [1])


@pytest.fixture
def build(monkeypatch):
    """Return the outcome of ``build_pipeline`` with these two libraries: the pipeline, and the log."""

    def run(openvino, llamacpp, library="auto"):
        monkeypatch.setattr(pipelines, "_openvino", openvino)
        monkeypatch.setattr(pipelines, "_llamacpp", llamacpp)
        log = []
        return pipelines.build_pipeline(None, EmbeddedConfig(model_dir="m", library=library), log.append), log

    return run


def test_openvino_is_used_where_it_runs(build):
    pipeline, log = build(works, fails_to_load)
    assert log == ["embedded_llm: computed by openvino"]
    assert not pipeline.is_busy()


@pytest.mark.parametrize("failing", [fails_to_load, fails_at_the_first_id])
def test_llama_cpp_takes_over_and_the_log_says_why(build, failing):
    _, log = build(failing, works)
    assert "openvino does not run here" in log[0]
    assert log[1] == "embedded_llm: computed by llamacpp"


def test_a_requested_library_is_not_replaced(build):
    assert build(works, works, "llamacpp")[1] == ["embedded_llm: computed by llamacpp"]
    with pytest.raises(ConfigError, match=r"openvino: no such instruction\)"):
        build(fails_to_load, works, "openvino")


def test_the_error_names_both_reasons_if_no_library_runs(build):
    with pytest.raises(ConfigError, match="openvino: no such instruction; llamacpp: the pipeline broke"):
        build(fails_to_load, fails_at_the_first_id)


def test_an_unknown_library_is_refused(build):
    with pytest.raises(ConfigError, match="got 'vllm', allowed: auto, openvino, llamacpp"):
        build(works, works, "vllm")

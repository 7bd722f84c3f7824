# SPDX-License-Identifier: Apache-2.0
"""Parameters are strings turned into one object; what is wrong is named."""

import pytest

from budgetforce.config import EmbeddedConfig, LibraryConfig, OrchestratorConfig, from_parameters
from budgetforce.errors import ConfigError

GOOD = {"engine_model": "e", "engine_url": "h:1", "tokenizer_dir": "t", "preset": "s1", "max_context_tokens": "100", "vocab_rows": "200"}


def parameters(**values):
    return {name: {"string_value": value} for name, value in values.items()}


def test_good_parameters_become_an_object():
    expected = OrchestratorConfig(
        engine_model="e", engine_url="h:1", tokenizer_dir="t", preset="s1", max_context_tokens=100, vocab_rows=200
    )
    assert expected == from_parameters(OrchestratorConfig, parameters(**GOOD))


def test_defaults_fill_what_is_left_out():
    assert from_parameters(EmbeddedConfig, parameters(model_dir="m")).precision == "f32"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "'colour' is unknown; known: engine_model"),
        ({"transport": "bls", "max_tenant_replies": "4"}, "'max_tenant_replies': got '4', allowed: 0 with transport bls"),
        ({"max_context_tokens": "lots"}, "'max_context_tokens': got 'lots', allowed: an integer >= 1"),
        ({"max_context_tokens": "0"}, "allowed: an integer >= 1"),
        ({"transport": "smoke"}, "'transport': got 'smoke', allowed: grpc or bls"),
        ({"log_level": "loud"}, "'log_level': got 'loud', allowed: debug or info or warning or error"),
        ({"trace_rate": "1.5"}, "'trace_rate': got '1.5', allowed: a number >= 0 and <= 1"),
        ({"trace_rate": "often"}, "'trace_rate': got 'often', allowed: a number >= 0 and <= 1"),
        ({"log_format": "xml"}, "'log_format': got 'xml', allowed: text or json"),
        ({"log_prompts": "yes"}, "'log_prompts': got 'yes', allowed: off or on"),
        ({"engine_url": "${NOT_SET_ANYWHERE}"}, "'engine_url': environment variable NOT_SET_ANYWHERE is not set"),
    ],
)
def test_a_wrong_parameter_is_named(changes, message):
    with pytest.raises(ConfigError, match=message.replace("$", r"\$")):
        from_parameters(OrchestratorConfig, parameters(**{**GOOD, **changes}))


def test_a_share_is_a_number_up_to_one():
    assert from_parameters(LibraryConfig, parameters(model_dir="m", max_seq_len="9", memory_fraction="0.25")).memory_fraction == 0.25


def test_weights_are_the_folders_or_random():
    with pytest.raises(ConfigError, match="'load_format': got 'gguf', allowed: auto or dummy"):
        from_parameters(LibraryConfig, parameters(model_dir="m", max_seq_len="9", load_format="gguf"))


@pytest.mark.parametrize("text", ["0", "1.5", "-0.5", "half", "", "nan", "1e-1"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ConfigError, match=f"'memory_fraction': got '{text}', allowed: a number > 0 and <= 1"):
        from_parameters(LibraryConfig, parameters(model_dir="m", max_seq_len="9", memory_fraction=text))


def test_a_missing_parameter_is_named():
    with pytest.raises(ConfigError, match="'engine_model' is missing"):
        from_parameters(OrchestratorConfig, {})


def test_environment_variables_are_filled_in(monkeypatch):
    monkeypatch.setenv("S1_TEST_PORT", "81")
    config = from_parameters(OrchestratorConfig, parameters(**{**GOOD, "engine_url": "host:${S1_TEST_PORT}"}))
    assert config.engine_url == "host:81"


def test_a_variable_that_may_be_missing_is_empty_then(monkeypatch):
    values = parameters(**GOOD, engine_ca="${S1_TEST_CA:-}")
    assert from_parameters(OrchestratorConfig, values).engine_ca == ""
    monkeypatch.setenv("S1_TEST_CA", "/ca.pem")
    assert from_parameters(OrchestratorConfig, values).engine_ca == "/ca.pem"


@pytest.mark.parametrize(("value", "max_replies"), [(None, 256), ("", 256), ("32", 32)])
def test_a_variable_that_is_missing_or_empty_has_the_default_that_stands_behind_it(monkeypatch, value, max_replies):
    if value is not None:
        monkeypatch.setenv("S1_TEST_REPLIES", value)
    config = from_parameters(OrchestratorConfig, parameters(**GOOD, max_replies="${S1_TEST_REPLIES:-256}"))
    assert config.max_replies == max_replies

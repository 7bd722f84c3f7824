# SPDX-License-Identifier: Apache-2.0
"""lm-evaluation-harness's arguments become request options: each is used or refused."""

import pytest

from s1_client.evaluation._lm_eval_options import BadArgument, connection_of, option_values, options_of


@pytest.mark.parametrize(
    ("gen_kwargs", "options"),
    [
        ({}, {}),
        ({"until": []}, {}),
        ({"until": "\n\n"}, {"stop_words": ["\n\n"]}),
        ({"until": ["Question:", ""]}, {"stop_words": ["Question:"]}),
        ({"until": None, "temperature": None}, {}),
        ({"max_gen_toks": 256}, {"max_tokens": 256}),
        ({"max_new_tokens": 8, "max_tokens": 8}, {"max_tokens": 8}),
        ({"do_sample": False}, {"temperature": 0.0}),
        ({"do_sample": False, "temperature": 0.0}, {"temperature": 0.0}),
        ({"do_sample": True}, {}),
        ({"do_sample": True, "temperature": 0.7, "top_p": 0.9}, {"temperature": 0.7, "top_p": 0.9}),
        ({"max_thinking_tokens": -1.0, "ignore_str": ["Wait", "Hmm"]}, {"max_thinking_tokens": -1, "ignore_str": ["Wait", "Hmm"]}),
    ],
)
def test_a_tasks_arguments_are_options(gen_kwargs, options):
    assert options_of(gen_kwargs, {}) == options


def test_the_models_arguments_are_options_of_all_requests():
    assert options_of({"do_sample": False}, {"num_ignore": 2, "temperature": 0}) == {"num_ignore": 2, "temperature": 0.0}


@pytest.mark.parametrize(
    ("gen_kwargs", "match"),
    [
        ({"max_tokens_thinking": 8}, "unknown name 'max_tokens_thinking'; did you mean .*'max_thinking_tokens'"),
        ({"depth": 8}, "unknown name 'depth'; known: until, do_sample, max_gen_toks.*max_thinking_tokens"),
        ({"num_samples": 2}, "unknown name 'num_samples'"),
        ({"max_gen_toks": 8, "max_tokens": 9}, "max_gen_toks=8, max_tokens=9; allowed: only one of them"),
        ({"max_gen_toks": 8.5}, "max_tokens: got 8.5, allowed: an integer"),
        ({"do_sample": False, "temperature": 0.7}, "got False with temperature 0.7"),
        ({"do_sample": True, "temperature": 0.0}, "got True with temperature 0.0"),
        ({"do_sample": "no"}, "do_sample: got 'no', allowed: true or false"),
        ({"until": [7]}, "stop_words: got 7"),
        ({"top_p": True}, "top_p: got true, allowed: a number"),
        ({"num_ignore": 1}, "num_ignore: 2 in model_args, 1 in the task's generation_kwargs"),
        ({"seed": 2**64}, "seed: got 18446744073709551616"),
    ],
)
def test_unsupported_options_are_refused(gen_kwargs, match):
    with pytest.raises(BadArgument, match=match):
        options_of(gen_kwargs, {"num_ignore": 2})


def test_the_models_arguments_are_sorted():
    connection, concurrency, results, rest = connection_of({"url": "h:1", "batch_size": 1, "device": None, "num_ignore": 1})
    assert (connection["url"], connection["model"], concurrency, results, rest) == ("h:1", "s1", 64, None, {"num_ignore": 1})


@pytest.mark.parametrize(
    ("model_args", "match"),
    [
        ({"batch_size": 8}, "batch_size: got 8, allowed: lm-eval's default; concurrency=N"),
        ({"device": "cpu"}, "device: got 'cpu', allowed: lm-eval's default"),
        ({"url": 8001}, "url: got 8001, allowed: text"),
        ({"concurrency": 0}, "concurrency: got 0, allowed: concurrency >= 1"),
        ({"concurrency": True}, "concurrency: got True, allowed: an integer"),
        ({"deadline_s": "soon"}, "deadline_s: got 'soon', allowed: a number"),
    ],
)
def test_a_wrong_argument_of_the_model_is_refused(model_args, match):
    with pytest.raises(BadArgument, match=match):
        connection_of(model_args)


def test_an_unknown_argument_of_the_model_is_refused():
    listed = "url, model, .*concurrency, results, max_thinking_tokens"
    with pytest.raises(BadArgument, match=f"model_args: unknown name 'budget'; known: {listed}"):
        option_values({"budget": 8}, "model_args")

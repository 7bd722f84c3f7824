# SPDX-License-Identifier: Apache-2.0
"""The JSON keys that ``s1`` sends are those of ``result_schema``, at every level."""

import asyncio
import json

import pytest
from collecting_sink import CollectingSink
from scripted_engine import ScriptedEngine

from budgetforce.presets import Preset
from budgetforce.provenance import TrainingRecord
from budgetforce.serving import result_schema
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies.reply import Reply
from budgetforce.serving.requests.request import read_reply_request
from budgetforce.serving.result_schema import meanings

END, EOS = 2, 0
SCHEMAS = [
    result_schema.SampleResult,
    result_schema.FinishReason,
    result_schema.Usage,
    result_schema.Effective,
    result_schema.Training,
    result_schema.RoundReport,
    result_schema.CommandResult,
    result_schema.SampleProgress,
]


@pytest.fixture(scope="module")
def reply(tokenizer):
    """A reply of two rounds that has ended, and what it sent."""
    digests = dict.fromkeys(("dataset_sha256", "recipe_sha256", "weights_sha256"), "d" * 64)
    record = TrainingRecord(id="0123456789ab", name="tiny", base_model="", dataset="puzzles", **digests)
    planner = Planner(tokenizer, Preset.load("smollm2"), 1000, engine_model="scripted", training=record)
    sink, (a,) = CollectingSink(), tokenizer.encode("a")

    async def run():
        plan = planner.plan(read_reply_request({"text_input": [b"hi"], "num_ignore": [0]}))
        reply = Reply("id", plan, ScriptedEngine([a, END], [a, EOS]), sink, tokenizer)
        await reply.run()
        return reply

    return asyncio.run(run()), sink


def test_a_result_has_the_keys_of_the_schema_at_every_level(reply):
    result = reply[1].results[0]
    assert list(result) == list(meanings(result_schema.SampleResult))
    assert list(result["finish_reason"]) == list(meanings(result_schema.FinishReason))
    assert list(result["usage"]) == list(meanings(result_schema.Usage))
    assert list(result["effective"]) == list(meanings(result_schema.Effective))
    assert list(result["training"]) == list(meanings(result_schema.Training))
    assert result["training"]["base_model"] is None
    assert [list(sent) for sent in result["rounds"]] == [list(meanings(result_schema.RoundReport))] * 2


def test_a_rounds_event_and_the_progress_of_a_failed_request_have_the_keys_of_the_schema(reply):
    assert {tuple(json.loads(chunk.round)) for chunk in reply[1].chunks if chunk.round} == {tuple(meanings(result_schema.RoundReport))}
    assert [list(sample) for sample in reply[0].so_far()] == [list(meanings(result_schema.SampleProgress))]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_key_has_a_meaning(schema):
    assert all(meanings(schema).values())

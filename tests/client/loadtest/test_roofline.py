# SPDX-License-Identifier: Apache-2.0
"""The upper bound of the GPUs' decode speed, read from a plan."""

import json
from types import SimpleNamespace

import pytest

from budgetforce.building.gpus import parse_gpus
from budgetforce.building.plan_command import as_json
from budgetforce.building.planner import plan_engine
from budgetforce.building.spec import QWEN2_5_32B, EngineSpec
from client.loadtest.samples import level, request, run
from s1_client.loadtest._record import Run
from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._typed import Malformed


@pytest.fixture
def plan_file(tmp_path):
    """Return the plan of two H100 GPUs and the file that ``build/engine.py plan --json`` would print."""
    made = plan_engine(EngineSpec(model="a model", tp=2), QWEN2_5_32B, parse_gpus("2xH100")[1])
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(as_json(made, 2)))
    return SimpleNamespace(path=path, made=made)


@pytest.mark.parametrize(("num_sequences", "context"), [(1, 0), (16, 8192), (8, 32768)])
def test_the_limit_equals_the_planners(plan_file, num_sequences, context):
    limit = Roofline.of_plan(plan_file.path).tokens_per_s(num_sequences, context)
    assert limit == pytest.approx(plan_file.made.decode(num_sequences, context).tokens_per_s)


def test_sequences_without_room_wait(plan_file):
    limit = Roofline.of_plan(plan_file.path)
    assert limit.tokens_per_s(1000, 100) == limit.tokens_per_s(limit.max_batch_size, 100)
    assert limit.max_sequences(32768) == limit.kv_tokens / 32768
    assert limit.tokens_per_s(32, 32768) == limit.tokens_per_s(limit.max_sequences(32768), 32768)


def test_a_record_keeps_the_roofline(plan_file):
    made = run(level(request()), roofline=Roofline.of_plan(plan_file.path))
    kept = Run.from_json(made.to_json())
    assert kept.roofline.tokens_per_s(8, 8192) == pytest.approx(made.roofline.tokens_per_s(8, 8192), rel=1e-4)


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}", '{"spec": {}, "decode_at_least": null}'])
def test_a_file_without_a_plan_is_refused_with_its_path(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(Malformed, match="plan.json.*build/engine.py plan"):
        Roofline.of_plan(tmp_path / "plan.json")

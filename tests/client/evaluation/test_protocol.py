# SPDX-License-Identifier: Apache-2.0
"""The settings of a protocol: their requests and their names."""

import json

from client.evaluation.made import TASK
from s1_client.evaluation import Protocol
from s1_client.evaluation._protocol import Slot, is_accepted, slots

WHOLE = Protocol(
    budgets=(16, -1),
    ignores=(0, 2),
    ignore_strs=("Wait", ""),
    token_limits=(64,),
    step_limits=(8,),
    is_capped=True,
    prompted_cap=500,
    class_prompts={"long": "Take your time.", "short": "Hurry."},
    rejection_budgets=(32,),
)


def by_name(protocol):
    return {setting.name: setting for setting in protocol.settings()}


def test_every_combination_has_a_name_of_its_own():
    names = [setting.name for setting in WHOLE.settings()]
    assert names == [
        "budget 16",
        "budget context",
        "budget 16 + 2 refused by 'Wait'",
        "budget context + 2 refused by 'Wait'",
        "budget 16 + 2 refused by ''",
        "budget context + 2 refused by ''",
        "prompted 64 tokens",
        "prompted 64 tokens + cap",
        "prompted 8 steps",
        "prompted to think long",
        "prompted to think short",
        "rejection 32",
    ]


def test_each_setting_requests_the_limit_in_its_name():
    settings = by_name(WHOLE)
    assert settings["budget 16"].options == {"max_thinking_tokens": 16, "num_ignore": 0}
    assert settings["budget context + 2 refused by ''"].options == {"max_thinking_tokens": -1, "num_ignore": 2, "ignore_str": ""}
    assert settings["prompted 64 tokens"].options["max_thinking_tokens"] == 500
    assert settings["prompted 64 tokens + cap"].options["max_thinking_tokens"] == 64
    question = TASK.questions[0]
    assert settings["budget 16"].prompt(question) == "0?"
    assert settings["prompted 64 tokens + cap"].prompt(question) == "0?\n\nThink for up to 64 tokens."
    assert settings["prompted 8 steps"].prompt(question) == "0?\n\nThink for up to 8 steps."
    assert settings["prompted to think short"].prompt(question) == "0?\n\nHurry."


def test_step_limits_are_converted_to_tokens():
    settings = by_name(WHOLE)
    assert [settings[name].max_mean_tokens for name in ("budget 16", "budget context", "prompted 64 tokens", "prompted 8 steps")] == [
        16,
        None,
        64,
        800,
    ]


def test_a_run_can_grow():
    before = json.loads(json.dumps(WHOLE.to_dict()))
    grown = Protocol(budgets=(8,), ignores=(1,)).merged_with(before)
    assert (list(grown.budgets), list(grown.ignores), list(grown.rejection_budgets)) == ([8, 16, -1], [0, 1, 2], [32])
    assert set(by_name(WHOLE)) < set(by_name(grown))


def test_repeats_and_attempts_have_ids_and_seeds_of_their_own():
    setting = by_name(WHOLE)["rejection 32"]
    found = [Slot(question=TASK.questions[0], setting=setting, repeat=repeat, attempt=attempt) for repeat in (0, 1) for attempt in (0, 1)]
    assert len({slot.key for slot in found}) == 4
    assert len({slot.options({"seed": 5})["seed"] for slot in found}) == 4
    assert "seed" not in found[0].options({"seed": None, "top_k": 3}) or found[0].options({"seed": None})["seed"] is None


def test_slots_are_ordered_by_question():
    found = list(slots(TASK.questions[:2], WHOLE.settings()[:2], 2))
    assert [slot.key for slot in found[:4]] == ["q0/budget 16/r0", "q0/budget context/r0", "q0/budget 16/r1", "q0/budget context/r1"]
    assert len(found) == 8


def test_only_rejection_sampling_rejects():
    assert is_accepted("rejection", "natural") and not is_accepted("rejection", "budget") and is_accepted("budget", "budget")

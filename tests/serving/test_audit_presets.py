# SPDX-License-Identifier: Apache-2.0
"""Presets s1-eval and s1-readme against the authors' two programs, written a second time: id for id.

Both drive the same model, whose next id depends on its whole context: one id that differs in
one call makes all that follow differ.
"""

import asyncio
import itertools

import pytest
from collecting_sink import CollectingSink
from context_engine import ContextEngine, ContextModel, ScriptModel

from budgetforce.core import BudgetForcer, RoundEnded, Started, TokensSampled
from budgetforce.presets import Preset
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies.engine_calls import EngineCalls
from budgetforce.serving.replies.sample_runner import SampleRunner
from budgetforce.serving.requests.request import ReplyRequest
from reference import authors

CONTEXT = 1000
MESSAGES = ({"role": "user", "content": "How many r in raspberry"},)
DOT, THE, COMMA, WAIT, DOT_WAIT, IM_START, IM_END, END_OF_TEXT = 13, 279, 11, 14190, 28384, 151644, 151645, 151643
LINE_BREAKS = (198, 271, 624, 715, 382)  # "\n" and tokens that end in it
HALVES = (123840, 115)  # of one character
ALPHABET = (DOT, THE, COMMA, WAIT, *LINE_BREAKS, *HALVES, IM_START, IM_START, IM_END, 26865, 9217, END_OF_TEXT)


def plan(qwen, preset, **fields):
    request = ReplyRequest(messages=MESSAGES, prompt_field="text_input", preset=preset, **fields)
    return Planner(qwen, Preset.load("s1"), CONTEXT).plan(request)


def ours(qwen, model, preset, *, budget, num_ignore, ignore_str, keeps_min_tokens=False):
    """What the server does: the context of every round, and all ids at the end."""
    engine = ContextEngine(model, keeps_min_tokens=keeps_min_tokens)
    one = plan(qwen, preset, max_thinking_tokens=budget, num_ignore=num_ignore, ignore_str=(ignore_str,))
    exchange = SampleRunner(request_id="r", plan=one, calls=EngineCalls(engine=engine, plan=one), tokenizer=qwen, sink=CollectingSink())
    asyncio.run(exchange.run())
    starts = itertools.accumulate((trace.num_engine_calls for trace in exchange.rounds[:-1]), initial=0)
    last, said = engine.calls[-1]
    return [list(engine.calls[start][0].input_ids) for start in starts], [*last.input_ids, *said]


def theirs(qwen, qwen_as_published, model, preset, *, budget, num_ignore, ignore_str):
    """What the authors' program does, in the same shape."""

    def decode(ids):
        return qwen_as_published.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def encode(text):
        return qwen_as_published.encode(text, add_special_tokens=False)

    prompt = encode(qwen_as_published.apply_chat_template(list(MESSAGES), tokenize=False, add_generation_prompt=True))
    limits = {"budget": budget, "num_ignore": num_ignore, "context_len": CONTEXT, "answer_cap": CONTEXT}
    if preset == "s1-eval":
        contexts, answer_context, answer = authors.evaluation(prompt, model.generate, decode, ignore_ids=encode(ignore_str), **limits)
    else:
        contexts, answer_context, answer = authors.readme(prompt, model.generate, decode, encode, ignore_str=ignore_str, **limits)
    return [*contexts, answer_context], [*answer_context, *answer]


@pytest.fixture
def compare(qwen, qwen_as_published):
    def check(make_model, preset, *, keeps_min_tokens=False, **settings):
        contexts, final = theirs(qwen, qwen_as_published, make_model(), preset, **settings)
        our_contexts, our_final = ours(qwen, make_model(), preset, keeps_min_tokens=keeps_min_tokens, **settings)
        assert our_contexts[: len(contexts)] == contexts  # a README answer that opens itself takes us more rounds
        assert our_final == final
        return contexts

    return check


@pytest.mark.parametrize("preset", ["s1-eval", "s1-readme"])
def test_generated_worlds_come_out_id_for_id(compare, preset):
    """1,200 of them: budgets from 1 to 12, up to 4 ignores, three strings, 25 models."""
    for budget, num_ignore, salt in itertools.product((1, 2, 5, 12), (0, 1, 2, 4), range(25)):
        for ignore_str in ("Wait", "", "Hmm\n"):
            compare(lambda salt=salt: ContextModel(ALPHABET, salt), preset, budget=budget, num_ignore=num_ignore, ignore_str=ignore_str)


SPELT = (27, 91, 318, 4906, 91, 29)  # <|im_start|> in ordinary tokens

CASES = {  # name: (script, budget, ignores, string)
    "a stop as the last id of the budget": ([THE, THE, IM_START], 3, 0, "Wait"),
    "a stop one id behind the budget": ([THE, THE, THE, IM_START], 3, 0, "Wait"),
    "the budget is hit in round 2": ([THE, IM_START, THE, THE, THE, THE, THE], 4, 3, "Wait"),
    "the budget is hit in every round": ([THE] * 40, 4, 3, "Wait"),
    "the last round ends by itself, beyond the budget": ([THE, THE, IM_START, THE, THE, IM_START], 4, 1, "Wait"),
    "the end of the turn while thinking": ([THE, IM_END, THE, IM_END], 9, 1, "Wait"),
    "nothing but ends": ([IM_START] * 12, 9, 3, "Wait"),
    "an empty string only refuses": ([THE, IM_START, DOT, IM_START], 9, 1, ""),
    "a full stop before Wait": ([THE, DOT, IM_START, COMMA, THE, IM_START], 9, 1, "Wait"),
    "the end of the text is text": ([THE, END_OF_TEXT, THE, IM_START], 9, 0, "Wait"),
    "a delimiter spelt with ordinary tokens": ([THE, *SPELT, THE, IM_START, THE, IM_START], 20, 0, "Wait"),
    "the same where ends are refused": ([THE, *SPELT, THE, IM_START, THE, IM_START], 20, 1, "Wait"),
    "an answer that opens itself": ([THE, IM_START, IM_START, 9217, 198, THE, IM_START, THE, IM_END], 9, 0, "Wait"),
}


@pytest.mark.parametrize("keeps_min_tokens", [False, True])
@pytest.mark.parametrize("preset", ["s1-eval", "s1-readme"])
@pytest.mark.parametrize("case", CASES)
def test_the_cases_that_matter_come_out_id_for_id(compare, preset, case, keeps_min_tokens):
    """With an engine that bans terminators for whole calls alone, and with one that can for the first ids of a call."""
    script, budget, num_ignore, ignore_str = CASES[case]
    settings = {"budget": budget, "num_ignore": num_ignore, "ignore_str": ignore_str}
    compare(lambda: ScriptModel(script, then=IM_END, instead=COMMA), preset, keeps_min_tokens=keeps_min_tokens, **settings)


def test_the_seam_is_two_ids_in_the_evaluation_and_one_in_the_readme(compare):
    """ "." + "Wait": [13, 14190] where ids are appended, 28384 where the text is encoded anew."""
    script, settings = [THE, DOT, IM_START, COMMA, IM_START], {"budget": 9, "num_ignore": 1, "ignore_str": "Wait"}
    contexts = {
        preset: compare(lambda: ScriptModel(script, then=IM_END, instead=COMMA), preset, **settings) for preset in ("s1-eval", "s1-readme")
    }
    assert contexts["s1-eval"][1][-3:] == [THE, DOT, WAIT]
    assert contexts["s1-readme"][1][-2:] == [THE, DOT_WAIT]


def test_the_evaluations_own_budget_is_what_its_formula_gives(qwen):
    """ "auto": the context less the prompt, less 108."""
    forcing = plan(qwen, "s1-eval").forcing
    assert forcing.max_thinking_tokens == CONTEXT - (len(forcing.prompt_ids) - 2) - 108


@pytest.mark.parametrize("preset", ["s1", "s1-eval"])
def test_a_cut_behind_any_of_the_tokens_that_end_in_a_line_break_adds_none(qwen, preset):
    """2,178 of them; behind every other token there is one."""
    forcing = plan(qwen, preset, max_thinking_tokens=1).forcing
    assert len(qwen.line_break_bearing) == 2178
    for token_id in [*sorted(qwen.line_break_bearing), THE, DOT, END_OF_TEXT - 1]:
        forcer = BudgetForcer(forcing)
        forcer.receive(Started())
        forcer.receive(TokensSampled((token_id,)))
        forcer.receive(RoundEnded())
        marker = forcer.context_ids[len(forcing.prompt_ids) + 1 :]
        assert marker == (() if token_id in qwen.line_break_bearing else (198,)) + (151644, 9217, 198, 19357, 21806, 25)

# SPDX-License-Identifier: Apache-2.0
"""The whole chain with a real language model: gRPC client, Triton, BLS model, engine. The model is ``s1-tiny``, which thinks."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from s1_client import AnswerDelta, AnswerOpened, Done, Injected, InvalidRequest, RoundEnded, ThinkingDelta

QUESTION = "How many r in raspberry"
WORDS = (
    *("strawberry", "lighthouse", "mississippi", "banana", "committee", "balloon", "dictionary", "umbrella"),
    *("keyboard", "mountain", "coffee", "parallel", "elephant", "garden", "butterfly", "notebook"),
)


@pytest.fixture(scope="module")
def prompt_ids(tiny_tokenizer):
    return (*tiny_tokenizer.encode_chat([{"role": "user", "content": QUESTION}]), *tiny_tokenizer.encode_marker("<|im_start|>think"))


@pytest.fixture(scope="module")
def terminators(tiny_tokenizer):
    """The ids that end a phase in preset ``s1``."""
    return set(tiny_tokenizer.encode_marker("<|im_start|><|im_end|><|endoftext|>"))


def ids_of(events):
    return [i for event in events if not isinstance(event, Done) for i in event.ids]


def number_in(answer):
    """Return the number that an answer gives."""
    return int(re.fullmatch(r"\s*Final Answer: ?(-?\d+)\s*", answer).group(1))


def test_the_answer_is_wrong_at_once_and_right_after_wait(client):
    """The paper's raspberry, with the model that is served by default: a second look corrects the first."""
    at_once, checked = (client.think(QUESTION, max_thinking_tokens=budget, num_ignore=1) for budget in (0, 400))
    assert number_in(at_once.answer) != 3
    glance, _, second_look = checked.thinking.partition("Wait")
    assert "3" not in glance and "r1a1s1p1b1e1r2r3y3" in second_look
    assert number_in(checked.answer) == 3


@pytest.mark.parametrize(
    ("question", "answer"),
    [("How many s in mississippi", 4), ("Start at 7: +5 *3 -4 -4 +2. Result mod 10?", 0), ("What is 17 + 25?", 42)],
)
def test_each_family_of_puzzles_is_answered_right_after_two_refused_ends(client, question, answer):
    assert number_in(client.think(question, num_ignore=2).answer) == answer


def test_a_stream_thinks_waits_answers_and_accounts_for_every_token(client, terminators, prompt_ids):
    """Order of events, text against ids, ids against the ledger, the ledger against itself."""
    events = list(client.stream(QUESTION, max_thinking_tokens=60, num_ignore=2, max_tokens=20))
    kinds = [type(event) for event in events]
    assert kinds[-1] is Done
    assert kinds.count(Done) == kinds.count(AnswerOpened) == 1
    opened = kinds.index(AnswerOpened)
    assert set(kinds[:opened]) <= {ThinkingDelta, Injected, RoundEnded}
    assert set(kinds[opened + 1 : -1]) <= {AnswerDelta, Injected, RoundEnded}

    result = events[-1].result
    usage = result.usage
    assert tuple(event.round for event in events if isinstance(event, RoundEnded)) == result.rounds
    sampled = [i for event in events if isinstance(event, ThinkingDelta | AnswerDelta) for i in event.ids]
    assert not terminators & set(sampled)
    assert len(sampled) == usage.num_thinking_sampled + usage.num_answer_tokens
    assert usage.num_thinking_tokens == usage.num_thinking_sampled + usage.num_thinking_injected <= 60
    assert usage.num_prompt_tokens == len(prompt_ids)
    assert sum(r.num_sampled_tokens for r in result.rounds) == len(sampled) + usage.num_terminators
    last = result.rounds[-1]
    assert last.num_prompt_tokens + usage.num_answer_tokens == len(prompt_ids) + len(ids_of(events))


def test_the_streamed_text_is_the_text_of_the_streamed_ids(client, tiny_tokenizer):
    events = list(client.stream(QUESTION, max_thinking_tokens=40, max_tokens=20))
    opened = next(n for n, event in enumerate(events) if isinstance(event, AnswerOpened))
    for part in (events[:opened], events[opened + 1 : -1]):
        text = b"".join(tiny_tokenizer.token_bytes[i] for i in ids_of(part)).decode(errors="replace")
        assert text == "".join(event.text for event in part)


def test_a_refused_end_injects_wait_and_a_continuation_reuses_the_kv_cache(client, terminators):
    """Round 2 computes at most one KV block and what was injected."""
    reply = client.think(QUESTION, max_thinking_tokens=400, num_ignore=1, max_tokens=8)
    assert reply.result.usage.num_ignored == 1
    assert "Wait" in reply.thinking
    first, second, *_ = reply.result.rounds
    assert (first.ended_by, first.terminator_id in terminators) == ("terminator", True)
    assert second.num_engine_calls == (3 if second.num_redone else 1)
    recomputed = second.num_prompt_tokens - 32 * second.kv_reused_blocks
    assert recomputed <= 32 + len(first.injected_ids)


def test_a_budget_is_kept_to_the_token_and_the_answer_forced(client):
    reply = client.think("Write a very long story about a ship", max_thinking_tokens=10, num_ignore=50, max_tokens=8)
    assert reply.result.usage.num_thinking_tokens == 10
    assert reply.result.thinking_end == "budget"
    assert reply.answer.startswith("Final Answer:")


def test_a_budget_of_zero_answers_at_once(client):
    reply = client.think(QUESTION, max_thinking_tokens=0, max_tokens=8)
    assert reply.thinking == ""
    assert reply.result.thinking_end == "skipped"
    assert [r.phase for r in reply.result.rounds] == ["answer"]


def test_an_own_ignore_string_is_used(client):
    reply = client.think(QUESTION, ignore_str="Hmm", max_tokens=4)
    assert "Hmm" in reply.thinking
    assert "Wait" not in reply.thinking


def test_messages_are_a_chat(client):
    messages = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Capital of France?"}]
    assert client.think(messages, max_thinking_tokens=10, max_tokens=8).result.usage.num_prompt_tokens > 10


def test_equal_seeds_repeat_and_the_result_names_a_drawn_seed(client):
    options = {"temperature": 3.0, "max_thinking_tokens": 12, "max_tokens": 4}  # at 1.0 this model is almost always sure
    first, again, other = (client.think(QUESTION, seed=seed, **options) for seed in (7, 7, 8))
    assert first.thinking == again.thinking != other.thinking
    assert client.think(QUESTION, **options).result.effective["seed"] is not None


def test_the_result_echoes_every_parameter_as_applied(client):
    """Defaults too: what the context allows for thinking, greedy, the preset's string."""
    effective = client.think(QUESTION, max_tokens=4).result.effective
    assert effective["preset"] == "s1"
    assert effective["engine_model"] == "embedded_llm"
    assert (effective["temperature"], effective["ignore_str"], effective["num_ignore"]) == (0, ["Wait"], 1)
    assert 1900 < effective["max_thinking_tokens"] < effective["max_context_tokens"] == 2048


def test_the_reserve_of_the_preset_and_the_prompt_limit_the_thinking(client, prompt_ids):
    """The largest budget is applied; one token more is refused, and the error says what the context holds."""
    longest = client.think(QUESTION).result.effective["max_thinking_tokens"]
    assert longest + 512 + len(prompt_ids) <= 2048 < longest + 512 + len(prompt_ids) + 40
    with pytest.raises(InvalidRequest, match=f"got {longest + 1}, allowed: -1 to {longest}: the context holds 2048 tokens"):
        client.think(QUESTION, max_thinking_tokens=longest + 1)


def test_sixteen_replies_run_at_once_and_each_is_whole(client):
    """Each spells its own word."""
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda word: client.think(f"How many e in {word}", max_thinking_tokens=60, max_tokens=8), WORDS))
    assert len({reply.result.request_id for reply in replies}) == 16
    assert all(reply.result.usage.num_thinking_tokens <= 60 for reply in replies)
    assert len({reply.thinking for reply in replies}) == 16
    assert sum(number_in(reply.answer) == word.count("e") for reply, word in zip(replies, WORDS, strict=True)) > 8


def test_samples_of_one_prompt_share_it_and_differ(client):
    """Each has its own index, seed and account; the others find the first one's prompt in the KV cache."""
    question = "Tell me a story about a lighthouse keeper, a storm, a lost ship and the long night in which they met each other."
    replies = client.samples(question, num_samples=4, temperature=3.0, seed=5, max_thinking_tokens=24, max_tokens=8)
    assert [reply.result.usage.num_thinking_tokens <= 24 for reply in replies] == [True] * 4
    assert len({reply.thinking for reply in replies}) > 1
    assert all(reply.result.rounds[0].kv_reused_blocks >= 1 for reply in replies[1:])
    again = client.samples(question, num_samples=4, temperature=3.0, seed=5, max_thinking_tokens=24, max_tokens=8)
    assert [len(reply.thinking) > 0 for reply in again] == [True] * 4


def test_a_floor_makes_a_model_think_on_that_would_stop(client):
    """s1-tiny ends this thought after some twenty tokens."""
    reply = client.think(QUESTION, min_thinking_tokens=60, num_ignore=0, max_thinking_tokens=100, max_tokens=8)
    assert 60 <= reply.result.usage.num_thinking_tokens <= 100
    assert reply.result.rounds[0].refused_for == "min_thinking_tokens"


def test_grace_ends_a_cut_thought_with_its_sentence(client, tiny_tokenizer):
    events = list(client.stream(QUESTION, max_thinking_tokens=24, min_thinking_tokens=24, grace_tokens=80, max_tokens=8))
    usage = events[-1].result.usage
    thought = ids_of(event for event in events if isinstance(event, ThinkingDelta))
    assert 0 < usage.num_grace_tokens <= 80
    assert usage.num_thinking_tokens == 24 + usage.num_grace_tokens
    assert thought[-1] in tiny_tokenizer.boundary_bearing or events[-1].result.rounds[-2].ended_by in ("grace", "terminator")


def test_thinking_off_is_an_answer_alone(client):
    """A usual chat, for which s1-tiny was not trained: what it says there means nothing."""
    reply = client.think(QUESTION, thinking="off", max_tokens=12)
    assert (reply.thinking, reply.result.thinking_end) == ("", "off")
    assert 0 < reply.usage.num_answer_tokens <= 12


def test_thinking_free_is_what_the_model_makes_of_it(client):
    """s1-tiny opens a thought by itself, ends it and answers what it has found; nothing is injected."""
    reply = client.think(QUESTION, thinking="free", max_tokens=80)
    assert reply.result.thinking_end == "natural"
    assert number_in(reply.answer) == int(re.findall(r"\d+", reply.thinking)[-1])
    assert reply.result.usage.num_thinking_injected == 0


@pytest.mark.parametrize("preset", ["s1", "s1-eval", "s1-readme", "smollm2"])
def test_every_preset_for_chatml_runs_on_whatever_model_is_there(client, preset):
    reply = client.think(QUESTION, preset=preset, max_thinking_tokens=40, num_ignore=1, max_tokens=16)
    result = reply.result
    assert result.effective["preset"] == preset
    assert result.usage.num_output_ids > 0


def test_answer_now_closes_the_thinking_of_a_real_model(client):
    events = client.stream("Tell me a long story.", request_id="hurry", min_thinking_tokens=1500, max_tokens=8)
    for event in events:
        if isinstance(event, ThinkingDelta):
            break
    client.answer_now("hurry")
    *_, done = events
    assert done.result.thinking_end == "answer_now"
    assert done.result.usage.num_thinking_tokens < 1500

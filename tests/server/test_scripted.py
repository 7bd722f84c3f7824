# SPDX-License-Identifier: Apache-2.0
"""Through the real server with an engine that follows a script: exact ids, faults, cancelling."""

import random
from functools import partial

import pytest

from budgetforce.core import BudgetForcer, Emit, Finish, Generate, Reencode, Reencoded, RoundEnded, Started, TokensSampled
from budgetforce.presets import Preset
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.requests.request import read_reply_request
from s1_client import Done, InvalidRequest, ServerFailed, ThinkingDelta
from server import waiting

wait_until = partial(waiting.wait_until, seconds=10)

END, EOS = 2, 0
VOCAB_ROWS = 49152 + 8  # as in conftest


def said(script, num_ids, stops, banned):
    """What a rule-abiding engine that wants to say ``script`` says in one call."""
    ids = []
    for token_id in (i for i in script if i not in banned):
        ids.append(token_id)
        if token_id in stops or len(ids) == num_ids:
            break
    return tuple(ids)


def by_the_core_alone(tokenizer, question, script, options):
    """The ids that the core alone puts behind the prompt for the same script."""
    inputs = {"text_input": [question.encode()]} | {
        name: [v.encode() if isinstance(v, str) else v for v in (value if isinstance(value, list) else [value])]
        for name, value in options.items()
    }
    plan = Planner(tokenizer, Preset.load("smollm2"), 8192, VOCAB_ROWS).plan(read_reply_request(inputs))
    forcer, calls = BudgetForcer(plan.forcing), iter(script)
    actions = forcer.receive(Started())
    emitted = [i for action in actions if isinstance(action, Emit) for i in action.ids]
    while not isinstance(last := actions[-1], Finish):
        match last:
            case Reencode(context_ids=ids, start=start):
                told = []
                actions = forcer.receive(Reencoded(tokenizer.encode_marker(tokenizer.decode(ids[start:]))))
            case Generate(min_tokens=num_first, may_redo=may_redo, max_new_tokens=left, stop_ids=stops):
                protected = 0 if may_redo else num_first
                ids = said(next(calls), protected, stops, plan.masked_ids | stops) if protected else ()
                if left > len(ids):
                    ids += said(next(calls), left - len(ids), stops, plan.masked_ids)
                told = forcer.receive(TokensSampled(ids))
                actions = forcer.receive(RoundEnded())
        emitted += [i for action in [*told, *actions] if isinstance(action, Emit) for i in action.ids]
    return emitted, forcer.ledger


def generated(tokenizer, seed):
    """A script of 40 calls, each of which ends sooner or later, and options that fit it."""
    draw = random.Random(seed)
    words = [*tokenizer.encode(" one two, three.\n four 😀 five"), 1, 2, 0, 17400, 11247, 49155, 60000]
    calls = [[draw.choice(words) for _ in range(draw.randrange(12))] + [words[0]] * 60 + [END, EOS] for _ in range(40)]
    options = {"max_thinking_tokens": draw.randrange(30), "num_ignore": draw.randrange(4), "max_tokens": 1 + draw.randrange(9)}
    options["preset"] = draw.choice(("smollm2", "s1", "s1", "s1-eval", "s1-readme"))
    if options["preset"] in ("smollm2", "s1"):
        options |= {"min_thinking_tokens": draw.randrange(1 + options["max_thinking_tokens"]), "grace_tokens": draw.choice((0, 6))}
        options |= {"ignore_str": draw.choice((["Wait"], [""], ["Wait", "Hmm"])), "answer_prefix_policy": draw.choice(("auto", "always"))}
    if draw.random() < 0.2:
        options = {"thinking": draw.choice(("free", "off")), "preset": "s1", "max_tokens": 30}
    return calls, options


@pytest.mark.parametrize("seed", range(60))
def test_the_same_script_gives_the_same_ids_as_the_core_alone(scripted, scripts, tokenizer, seed):
    """Every preset and mode; ends, cuts, refusals, floors, grace, half characters, ids without a token."""
    calls, options = generated(tokenizer, seed)
    script = scripts.write(*calls)
    events = list(scripted.stream(script.question, **options))
    streamed = [i for event in events if not isinstance(event, Done) for i in event.ids]
    emitted, ledger = by_the_core_alone(tokenizer, script.question, calls, options)
    assert streamed == emitted
    usage = events[-1].result.usage
    assert (usage.num_output_ids, usage.num_dropped, usage.num_grace_tokens) == (ledger.reply, ledger.dropped, ledger.grace)
    assert usage.num_redone == ledger.redone
    num_sampled = sum(entry.num_sampled_tokens + entry.num_redone for entry in events[-1].result.rounds)
    assert sum(note["said"] for note in script.notes("ended")) == num_sampled


def test_the_engine_is_asked_for_what_the_budget_leaves(scripted, scripts, tokenizer):
    """The prompts grow by what was sampled and injected; ids are never re-tokenised."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a, a, END], [a, a, END], [a, END])
    scripted.think(script.question, max_thinking_tokens=20, num_ignore=1, max_tokens=5)
    begun = script.notes("begun")
    prefix = len(tokenizer.encode("I need to figure out"))
    assert [note["max_new_tokens"] for note in begun] == [20 - prefix, 20 - prefix - 3, 5]
    first, second, third = (note["prompt"] for note in begun)
    assert second == [*first, a, a, *tokenizer.encode("Wait")]
    assert third[: len(second) + 2] == [*second, a, a]


def test_a_terminator_right_behind_wait_is_thrown_away_and_its_round_runs_again(scripted, scripts, tokenizer):
    """The engine is called without a ban, with it for one id, and for the rest; the stream has nothing of the first."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a, END], [END], [END, a], [a, a, END], [a, EOS])
    stream = scripted.stream(script.question, max_thinking_tokens=20, num_ignore=1, max_tokens=5)
    events = list(stream)
    begun, result = script.notes("begun"), events[-1].result
    assert [END in note["banned"] for note in begun] == [False, False, True, False, False]
    assert begun[1]["prompt"] == begun[2]["prompt"]
    assert [entry.num_redone for entry in result.rounds] == [0, 1, 0]
    assert (result.usage.num_redone, result.usage.num_terminators) == (1, 3)
    assert [i for event in events if isinstance(event, ThinkingDelta) for i in event.ids] == [a, a, a, a]


def test_an_emoji_split_across_tokens_arrives_whole(scripted, scripts, tokenizer):
    ids = list(tokenizer.encode("😀日本"))
    script = scripts.write([*ids, END], [*ids, EOS])
    events = list(scripted.stream(script.question, num_ignore=0, max_tokens=50))
    texts = [event.text for event in events if isinstance(event, ThinkingDelta)]
    assert "".join(texts) == "😀日本"
    assert all("�" not in text for text in texts)


def test_rows_without_a_token_are_masked_and_dropped_if_they_come_all_the_same(scripted, scripts, tokenizer):
    """Masked: those the embedding has, in every call. Dropped: neither text nor ids nor context, but counted."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a, 60000, a, END], [a, EOS])
    reply = scripted.think(script.question, num_ignore=0, max_tokens=5)
    assert reply.thinking.endswith("aa")
    assert reply.result.usage.num_dropped == 1
    begun = script.notes("begun")
    assert [note["banned"] for note in begun] == [list(range(49152, VOCAB_ROWS))] * 2
    assert 60000 not in begun[1]["prompt"]


def test_answer_now_ends_the_engines_call_and_opens_the_answer(over_grpc, scripts, tokenizer):
    (a,) = tokenizer.encode("a")
    script = scripts.write([a] * 5000, [a, EOS], delay_ms=5)
    events = over_grpc.stream(script.question, request_id="now", max_thinking_tokens=5000)
    while not isinstance(next(events), ThinkingDelta):
        pass
    over_grpc.answer_now("now")
    *_, done = events
    assert (done.result.thinking_end, done.result.answer_end) == ("answer_now", "stop")
    assert done.result.rounds[0].ended_by == "answer_now"
    wait_until(lambda: script.notes("stopped") or script.notes("cancelled"))
    assert not [note for note in script.notes("ended") if note["said"] == 5000]


def test_answer_now_is_for_the_request_of_that_id_alone(over_grpc, scripts, tokenizer):
    (a,) = tokenizer.encode("a")
    slow = [scripts.write([a] * 300, [a, EOS], delay_ms=5) for _ in range(2)]
    streams = [over_grpc.stream(script.question, request_id=f"id{n}", max_thinking_tokens=300) for n, script in enumerate(slow)]
    for stream in streams:
        while not isinstance(next(stream), ThinkingDelta):
            pass
    over_grpc.answer_now("id1")
    ends = [list(stream)[-1].result.thinking_end for stream in streams]
    assert ends == ["budget", "answer_now"]


def test_a_request_that_is_refused_does_no_harm_to_its_namesake(over_grpc, scripts, tokenizer):
    """The client leaves the refused stream; it must not end the other one by that."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a] * 200 + [END], [a, EOS], delay_ms=3)
    stream = over_grpc.stream(script.question, request_id="namesake", max_thinking_tokens=300, num_ignore=0, max_tokens=5)
    while not isinstance(next(stream), ThinkingDelta):
        pass
    with pytest.raises(InvalidRequest):
        over_grpc.think("hi", request_id="namesake", top_p=7.0)
    *_, done = stream
    assert done.result.thinking_end == "natural"


def test_samples_are_streamed_with_their_index_and_end_one_by_one(scripted, scripts, tokenizer):
    (a,) = tokenizer.encode("a")
    script = scripts.write([a, a, END], [a, EOS])
    stream = scripted.stream(script.question, num_samples=3, temperature=1.0, num_ignore=0, max_tokens=5)
    events = list(stream)
    assert {event.index for event in events} == {0, 1, 2}
    assert sorted(event.index for event in events if isinstance(event, Done)) == [0, 1, 2]
    assert isinstance(events[-1], Done)
    reply, (first, *_) = stream.reply(), [event for event in events if isinstance(event, ThinkingDelta)]
    assert (reply.answer, first.index) == ("Final Answer:a", 0)


def test_stop_words_end_the_answer_across_tokens_and_are_not_shown(scripted, scripts, tokenizer):
    answer = tokenizer.encode(" yes STOP no")
    script = scripts.write([END], [*answer, EOS])
    reply = scripted.think(script.question, num_ignore=0, max_tokens=50, stop_words=["STOP"])
    assert reply.answer == "Final Answer: yes "
    assert reply.result.answer_end == "stop_word"


def test_an_engine_that_fails_in_mid_stream_ends_the_request_with_its_words(over_grpc, scripts, tokenizer):
    """What came before is delivered; one error ends it; no traceback."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a] * 10, error_after=3)
    events = []
    with pytest.raises(ServerFailed, match="ENGINE_FAILED.*scripted failure") as failed:
        events.extend(over_grpc.stream(script.question))
    assert [i for event in events for i in event.ids][-3:] == [a] * 3
    assert "Traceback" not in str(failed.value)


def test_an_engine_that_breaks_its_contract_is_an_error_not_an_answer(scripted, scripts, tokenizer):
    """A round that ends early without a terminator."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a, a])
    with pytest.raises(ServerFailed, match="without a terminator"):
        scripted.think(script.question)


def test_a_client_that_goes_stops_the_engine(scripted, scripts, tokenizer):
    """Closing the stream early: the engine's call is cancelled (with BLS before 25.04: stopped), not run to its end."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a] * 2000, delay_ms=5)
    stream = scripted.stream(script.question, max_thinking_tokens=2000)
    while not isinstance(next(stream), ThinkingDelta):
        pass
    stream.close()
    wait_until(lambda: script.notes("cancelled") or script.notes("stopped"))
    assert not script.notes("ended")


def test_replies_do_not_wait_for_each_other(over_grpc, scripts, tokenizer):
    """A short reply comes whole while a long one, begun before it, still runs."""
    (a,) = tokenizer.encode("a")
    slow = scripts.write([a] * 1000, delay_ms=10)
    quick = scripts.write([END], [a, EOS])
    stream = over_grpc.stream(slow.question, max_thinking_tokens=1000)
    next(stream)
    assert isinstance(list(over_grpc.stream(quick.question, num_ignore=0, max_tokens=5))[-1], Done)
    assert not slow.notes("ended")
    stream.close()
    wait_until(lambda: slow.notes("stopped") or slow.notes("cancelled"))

# SPDX-License-Identifier: Apache-2.0
"""Through the real server with an engine that follows a script: exact ids, faults, cancelling."""

import time

import pytest

from budgetforce.core import BudgetForcer, Emit, Generate, RoundEnded, Started, TokensSampled
from budgetforce.presets import Preset
from budgetforce.serving.planning import Planner
from budgetforce.serving.request import read_reply_request
from s1_client import Done, ServerFailed, ThinkingDelta

END, EOS = 2, 0


def wait_until(happened, seconds=10):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def by_the_core_alone(tokenizer, question, calls, **options):
    """The ids that the core alone puts behind the prompt for the same script."""
    inputs = {"text_input": [question.encode()]} | {name: [value] for name, value in options.items()}
    plan = Planner(tokenizer, Preset.load("smollm2"), 8192).plan(read_reply_request(inputs)).forcing
    forcer, calls, emitted = BudgetForcer(plan), list(calls), []
    actions = forcer.receive(Started())
    while actions:
        emitted += [i for action in actions if isinstance(action, Emit) for i in action.ids]
        if not isinstance(actions[-1], Generate):
            break
        ids = tuple(calls.pop(0))
        if actions[-1].forbid_terminator_first:  # the server makes two calls of such a round
            ids += tuple(calls.pop(0))
        ids = ids[: actions[-1].max_new_tokens]
        told = forcer.receive(TokensSampled(ids))
        actions = told + forcer.receive(RoundEnded())
    return emitted


def test_the_same_script_gives_the_same_ids_as_the_core_alone(scripted, scripts, tokenizer):
    """Thinking, a refused end in two calls, a cut, the answer."""
    word = list(tokenizer.encode("one two three four five six seven eight"))
    calls = [[*word, END], [word[0]], [*word, *word], [word[1], word[2], EOS]]
    script = scripts.write(*calls)
    options = {"max_thinking_tokens": 20, "num_ignore": 1, "max_tokens": 5}
    events = list(scripted.stream(script.question, **options))
    streamed = [i for event in events if not isinstance(event, Done) for i in event.ids]
    assert streamed == by_the_core_alone(tokenizer, script.question, calls, **options)
    assert events[-1].result.thinking_end == "budget"


def test_the_engine_is_asked_for_what_the_budget_leaves(scripted, scripts, tokenizer):
    """The prompts grow by what was sampled and injected; ids are never re-tokenised."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a, a, END], [a], [a, END], [a, END])
    scripted.think(script.question, max_thinking_tokens=20, num_ignore=1, max_tokens=5)
    begun = script.notes("begun")
    prefix = len(tokenizer.encode("I need to figure out"))
    assert [note["max_new_tokens"] for note in begun] == [20 - prefix, 1, 20 - prefix - 4, 5]
    first, second, third, _ = (note["prompt"] for note in begun)
    assert second == [*first, a, a, *tokenizer.encode("Wait")]
    assert third == [*second, a]


def test_an_emoji_split_across_tokens_arrives_whole(scripted, scripts, tokenizer):
    ids = list(tokenizer.encode("😀日本"))
    script = scripts.write([*ids, END], [*ids, EOS])
    events = list(scripted.stream(script.question, num_ignore=0, max_tokens=50))
    texts = [event.text for event in events if isinstance(event, ThinkingDelta)]
    assert "".join(texts) == "😀日本"
    assert all("�" not in text for text in texts)


def test_ids_that_the_tokenizer_does_not_know_break_nothing(scripted, scripts, tokenizer):
    """A phantom row of the embedding: in the ids, without text."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a, 60000, a, END], [a, EOS])
    reply = scripted.think(script.question, num_ignore=0, max_tokens=5)
    assert reply.thinking.endswith("aa")
    assert reply.answer.endswith("a")


def test_stop_words_end_the_answer_across_tokens_and_are_not_shown(scripted, scripts, tokenizer):
    answer = tokenizer.encode(" yes STOP no")
    script = scripts.write([END], [*answer, EOS])
    reply = scripted.think(script.question, num_ignore=0, max_tokens=50, stop_words=["STOP"])
    assert reply.answer == "Final Answer: yes "
    assert reply.result.answer_end == "stop_word"


def test_an_engine_that_fails_in_mid_stream_ends_the_request_with_its_words(scripted, scripts, tokenizer):
    """What came before is delivered; one error ends it; no traceback."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a] * 10, error_after=3)
    events = []
    with pytest.raises(ServerFailed, match="ENGINE_FAILED.*scripted failure") as failed:
        events.extend(scripted.stream(script.question))
    assert [i for event in events for i in event.ids][-3:] == [a] * 3
    assert "Traceback" not in str(failed.value)


def test_an_engine_that_breaks_its_contract_is_an_error_not_an_answer(scripted, scripts, tokenizer):
    """A round that ends early without a terminator."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a, a])
    with pytest.raises(ServerFailed, match="without a terminator"):
        scripted.think(script.question)


def test_a_client_that_goes_stops_the_engine(scripted, scripts, tokenizer):
    """Closing the stream early: the engine's call is cancelled, not run to its end."""
    (a,) = tokenizer.encode("a")
    script = scripts.write([a] * 2000, delay_ms=5)
    stream = scripted.stream(script.question, max_thinking_tokens=2000)
    while not isinstance(next(stream), ThinkingDelta):
        pass
    stream.close()
    wait_until(lambda: script.notes("cancelled"))
    assert script.notes("cancelled")[0]["said"] < 2000


def test_replies_do_not_wait_for_each_other(scripted, scripts, tokenizer):
    """A short reply comes whole while a long one, begun before it, still runs."""
    (a,) = tokenizer.encode("a")
    slow = scripts.write([a] * 1000, delay_ms=10)
    quick = scripts.write([END], [a, EOS])
    stream = scripted.stream(slow.question, max_thinking_tokens=1000)
    next(stream)
    assert isinstance(list(scripted.stream(quick.question, num_ignore=0, max_tokens=5))[-1], Done)
    assert not slow.notes("ended")
    stream.close()
    wait_until(lambda: slow.notes("cancelled"))

# SPDX-License-Identifier: Apache-2.0
"""Events are joined into replies, whole or as far as they were received."""

import pytest

from client.events import RESULT
from s1_client import AnswerDelta, AnswerOpened, Done, Injected, Partial, ServerFailed, ThinkingDelta
from s1_client._joiner import Joiner


def events_of(index):
    return [
        ThinkingDelta(text="a", ids=(), index=index),
        Injected(phase="thinking", text="Wait", ids=(), index=index),
        AnswerOpened(ids=(), index=index),
        Injected(phase="answer", text="F:", ids=(), index=index),
        AnswerDelta(text=str(index), ids=(), index=index),
        Done(result=RESULT, index=index),
    ]


def joined(events):
    joiner = Joiner()
    for event in events:
        joiner.add(event)
    return joiner


def test_the_events_of_a_sample_are_a_reply():
    (reply,) = joined(events_of(0)).replies()
    assert (reply.thinking, reply.answer, reply.result, reply.index) == ("aWait", "F:0", RESULT, 0)
    assert (reply.usage, reply.trace, reply.thinking_end, reply.answer_end) == (RESULT.usage, RESULT.rounds, "natural", "stop")


def test_the_answer_is_there_with_and_without_its_injected_prefix():
    """Chat history takes the answer without it: a model repeats a prefix that it sees in its earlier answers."""
    deltas = [AnswerDelta(text=" 1 F:", ids=()), AnswerDelta(text=" 2 ", ids=())]
    prefix = [Injected(phase="answer", text="F", ids=()), Injected(phase="answer", text=":", ids=())]
    (with_prefix,) = joined([*prefix, *deltas, Done(result=RESULT)]).replies()
    assert (with_prefix.answer, with_prefix.answer_prefix, with_prefix.answer_text) == ("F: 1 F: 2 ", "F:", "1 F: 2 ")
    (without,) = joined([*deltas, Done(result=RESULT)]).replies()
    assert (without.answer, without.answer_prefix, without.answer_text) == (" 1 F: 2 ", "", " 1 F: 2 ")
    (nothing_more,) = joined([*prefix, Done(result=RESULT)]).replies()
    assert (nothing_more.answer, nothing_more.answer_text) == ("F:", "")
    assert with_prefix.to_dict()["answer_text"] == "1 F: 2 "


def test_samples_that_come_mixed_are_a_reply_each():
    mixed = [event for pair in zip(events_of(1), events_of(0), strict=True) for event in pair]
    assert [(reply.index, reply.answer) for reply in joined(mixed).replies()] == [(0, "F:0"), (1, "F:1")]


@pytest.mark.parametrize("events", [[], events_of(0)[:-1], [*events_of(0), *events_of(1)[:-1]]])
def test_a_sample_without_a_result_is_no_reply(events):
    with pytest.raises(ServerFailed, match="without a result"):
        joined(events).replies()


def test_what_has_come_can_be_had_at_any_time():
    joiner = Joiner()
    assert (joiner.is_empty, joiner.partials()) == (True, ())
    seen = []
    for event in events_of(2):
        joiner.add(event)
        seen.append(*joiner.partials())
    assert not joiner.is_empty
    assert seen[1] == Partial(thinking="aWait", answer="", index=2)
    assert seen[-1] == Partial(thinking="aWait", answer="F:2", index=2)

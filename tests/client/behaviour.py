# SPDX-License-Identifier: Apache-2.0
"""The behaviour of both clients against any server.

A module that imports these tests has a fixture ``served``: a server whose model's replies are set.

    served.url, served.model
    served.says(thinking=..., answer=..., num_ends=..., delay_ms=..., error_after=...) -> the question to ask
    served.was_stopped(question) -> whether the model was told to stop
"""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from client.blocking import BlockingClient
from s1_client import (
    AnswerOpened,
    Cancelled,
    Client,
    DeadlineExceeded,
    Done,
    EngineFailed,
    Injected,
    InvalidRequest,
    Request,
    RoundEnded,
    ServerNotReady,
    ThinkingDelta,
)
from s1_client._wire import infer_request, raise_error, streaming_method
from server.waiting import wait_until

CLIENTS = {"sync": Client, "async": BlockingClient}
STORY = " one two three" * 200


@contextlib.contextmanager
def connecting(kind, url, **defaults):
    """Yield a function that makes clients of a kind, which are closed at the end."""
    clients = []

    def make(url=url, **settings):
        clients.append(CLIENTS[kind](url, **{**defaults, **settings}))
        return clients[-1]

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(params=list(CLIENTS))
def connect(request, served):
    """Return a function that makes a client of the served model."""
    with connecting(request.param, served.url, model=served.model, max_retries=0) as make:
        yield make


@pytest.fixture
def client(connect):
    return connect()


def first_thought(stream):
    return next(event for event in stream if isinstance(event, ThinkingDelta))


# --- replies --------------------------------------------------------------------------------------


def test_a_reply_has_both_texts_and_an_account_that_adds_up(client, served):
    reply = client.think(served.says(thinking=" one two three", answer=" four"), num_ignore=0, max_tokens=9)
    assert reply.thinking.endswith(" one two three")
    assert reply.answer.endswith(" four")
    assert (reply.thinking_end, reply.answer_end, reply.index) == ("natural", "stop", 0)
    usage = reply.usage
    assert usage.num_thinking_tokens == usage.num_thinking_sampled + usage.num_thinking_injected
    num_sampled = usage.num_thinking_sampled + usage.num_answer_tokens + usage.num_terminators + usage.num_dropped
    assert num_sampled == sum(entry.num_sampled_tokens for entry in reply.trace) == 3 + 1 + 2


def test_a_stream_is_the_reply_in_pieces(client, served):
    stream = client.stream(served.says(thinking=" one two", answer=" three"), num_ignore=1, max_tokens=9)
    events = list(stream)
    reply = stream.reply()
    opened = [type(event) for event in events].index(AnswerOpened)
    assert "".join(event.text for event in events[:opened]) == reply.thinking
    assert "".join(event.text for event in events[opened:]) == reply.answer
    assert tuple(event.round for event in events if isinstance(event, RoundEnded)) == reply.trace
    assert sum(len(event.ids) for event in events) == reply.usage.num_output_ids
    assert events[-1] == Done(result=reply.result)


def test_refused_ends_are_events_between_their_rounds(client, served):
    events = list(client.stream(served.says(thinking=" one two", num_ends=3), num_ignore=2, ignore_str=["Wait", "Hmm"], max_tokens=9))
    waits = [n for n, event in enumerate(events) if isinstance(event, Injected) and event.text in ("Wait", "Hmm")]
    assert [events[n].text for n in waits] == ["Wait", "Hmm"]
    assert [events[n - 1].round.refused_for for n in waits] == ["num_ignore"] * 2
    assert events[-1].result.usage.num_ignored == 2


def test_a_budget_is_kept_to_the_token_and_the_answer_forced(client, served):
    reply = client.think(served.says(thinking=STORY), max_thinking_tokens=10, max_tokens=9)
    assert (reply.usage.num_thinking_tokens, reply.thinking_end) == (10, "budget")
    assert reply.answer.startswith("Final Answer:")


def test_a_budget_of_zero_answers_at_once(client, served):
    reply = client.think(served.says(thinking=None, answer=" four"), max_thinking_tokens=0, max_tokens=9)
    assert (reply.thinking, reply.thinking_end, len(reply.trace)) == ("", "skipped", 1)


def test_messages_are_a_prompt_too(client, served):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": served.says(answer=" four")}]
    assert client.think(messages, num_ignore=0, max_tokens=9).answer.endswith(" four")


def test_samples_are_replies_each_with_its_index(client, served):
    question = served.says(thinking=" one", answer=" two")
    replies = client.samples(question, num_samples=3, temperature=1.0, num_ignore=0, max_tokens=9)
    assert [(reply.index, reply.answer[-4:]) for reply in replies] == [(0, " two"), (1, " two"), (2, " two")]
    with pytest.raises(TypeError, match=r"samples\(\)"):
        client.think(question, num_samples=3)


def test_a_reply_may_come_whole(client, served):
    question = served.says(thinking=" one two", answer=" three")
    stream = client.stream(question, deltas=False, num_ignore=0, max_tokens=9)
    events = list(stream)
    reply = stream.reply()
    assert (reply.thinking[-8:], reply.answer[-6:], reply.thinking_end) == (" one two", " three", "natural")
    assert [event.kind for event in events] == ["thinking", "answer", "done"]
    assert [event.ids for event in events] == [()] * 3
    assert events[-1] == Done(result=reply.result)


def test_several_samples_may_come_whole(client, served):
    question = served.says(thinking=" one", answer=" two")
    replies = client.stream(question, deltas=False, num_samples=2, temperature=1.0, num_ignore=0, max_tokens=9).replies()
    assert [(reply.index, reply.thinking[-4:], reply.answer[-4:]) for reply in replies] == [(0, " one", " two"), (1, " one", " two")]


def test_only_a_stream_may_turn_deltas_off(client):
    with pytest.raises(TypeError, match="argument of stream"):
        client.with_options(deltas=False)


# --- leaving, cancelling, hurrying -----------------------------------------------------------------

ENDING = {
    "leaving its stream": lambda client, stream: stream.close(),
    "cancel of the stream": lambda client, stream: stream.cancel(),
    "cancel by name": lambda client, stream: client.cancel("same"),
}
HURRYING = {
    "answer_now of the stream": lambda client, stream: stream.answer_now(),
    "answer_now by name": lambda client, stream: client.answer_now("same"),
}


@pytest.fixture
def mine_and_yours(connect, served):
    """Two clients, as of two programs, and a request of each, both with the same name."""
    clients = [connect(), connect()]
    questions = [served.says(thinking=STORY, answer=" four", delay_ms=30) for _ in clients]
    streams = [client.stream(question, request_id="same", max_tokens=9) for client, question in zip(clients, questions, strict=True)]
    for stream in streams:
        first_thought(stream)
    yield clients, streams
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("way", ENDING)
def test_a_program_ends_its_own_request_alone_whatever_others_call_theirs(mine_and_yours, way):
    (client, _), (mine, yours) = mine_and_yours
    ENDING[way](client, mine)
    with contextlib.suppress(Cancelled):
        list(mine)
    yours.answer_now()
    assert yours.reply().thinking_end == "answer_now"


@pytest.mark.parametrize("way", HURRYING)
def test_a_program_hurries_its_own_request_alone_whatever_others_call_theirs(mine_and_yours, way):
    (client, _), (mine, yours) = mine_and_yours
    HURRYING[way](client, mine)
    assert (mine.reply().thinking_end, mine.reply().request_id) == ("answer_now", "same")
    yours.cancel()
    with pytest.raises(Cancelled) as cancelled:
        list(yours)
    assert cancelled.value.partial[0].answer == ""


@pytest.mark.parametrize("way", ["close", "with", "drop"])
def test_a_stream_that_is_left_frees_the_engine(client, served, way):
    question = served.says(thinking=STORY, delay_ms=5)
    stream = client.stream(question, max_tokens=9)
    if way == "with":
        with stream:
            first_thought(stream)
    else:
        first_thought(stream)
        if way == "close":
            stream.close()
            assert list(stream) == []
    del stream
    wait_until(lambda: served.was_stopped(question), seconds=5)
    assert client.think(served.says(answer=" four"), num_ignore=0, max_tokens=9).answer.endswith(" four")


def test_a_stream_can_be_closed_while_another_thread_reads(client, served):
    question = served.says(thinking=STORY, delay_ms=5)
    stream = client.stream(question, max_tokens=9)
    first_thought(stream)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, stream)
        stream.close()
        assert not any(isinstance(event, Done) for event in reading.result())
    wait_until(lambda: served.was_stopped(question), seconds=5)


def test_whoever_reads_a_cancelled_stream_is_told(client, served):
    question = served.says(thinking=STORY, delay_ms=5)
    stream = client.stream(question, request_id="doomed", max_tokens=9)
    first_thought(stream)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, stream)
        stream.cancel()
        error = reading.exception()
    assert isinstance(error, Cancelled)
    assert error.request_id == "doomed"
    assert " one" in error.partial[0].thinking
    assert list(stream) == []
    stream.cancel()  # without effect
    with pytest.raises(Cancelled) as again:
        stream.reply()
    assert again.value is error


def test_a_stream_that_was_left_has_no_reply(client, served):
    """Also where some of its samples are complete: the others would be missing."""
    stream = client.stream(served.says(thinking=STORY, delay_ms=5), request_id="left", max_tokens=9)
    first_thought(stream)
    stream.close()
    with pytest.raises(Cancelled, match="left before its end") as left:
        stream.reply()
    assert (left.value.request_id, " one" in left.value.partial[0].thinking) == ("left", True)


def test_a_request_can_be_cancelled_by_its_id(client, connect, served):
    stream = client.stream(served.says(thinking=STORY, delay_ms=5), request_id="by-id", max_tokens=9)
    first_thought(stream)
    connect().cancel("by-id")
    with pytest.raises(Cancelled):
        list(stream)
    with pytest.raises(InvalidRequest):
        client.cancel("by-id")


def test_a_request_whose_last_event_was_read_does_not_run(client, served):
    """Its iterator need not be exhausted: a command to its name is not lost there."""
    stream = client.stream(served.says(), request_id="read", num_ignore=0, max_tokens=9)
    assert any(isinstance(event, Done) for event in iter(stream.__next__, None) if isinstance(event, Done))
    with pytest.raises(InvalidRequest, match="the id of a running request"):
        client.cancel("read")
    assert stream.reply().thinking_end == "natural"


def test_answer_now_closes_the_thinking(client, served):
    stream = client.stream(served.says(thinking=STORY, delay_ms=5), max_tokens=9)
    first_thought(stream)
    stream.answer_now()
    reply = stream.reply()
    assert (reply.thinking_end, reply.answer_end) == ("answer_now", "stop")
    assert reply.usage.num_thinking_tokens < 600
    with pytest.raises(InvalidRequest, match="the id of a running request"):
        stream.answer_now()


def test_answer_now_may_be_said_before_anything_has_come(client, served):
    stream = client.stream(served.says(thinking=STORY, delay_ms=5), max_tokens=9)
    stream.answer_now()
    assert stream.reply().thinking_end == "answer_now"


@pytest.mark.parametrize("way", ["read to its end", "closed", "cancelled"])
def test_a_request_that_is_over_does_not_hide_another_programs_of_its_name(client, connect, served, way):
    """Its stream is kept, as by a program that still reads the reply."""
    question = served.says(thinking=STORY, delay_ms=5)
    over = client.stream(question, request_id="same", max_tokens=9, **({"max_thinking_tokens": 9} if way == "read to its end" else {}))
    first_thought(over)
    if way == "closed":
        over.close()
        wait_until(lambda: served.was_stopped(question), seconds=60)
    elif way == "cancelled":
        over.cancel()
        with pytest.raises(Cancelled):
            list(over)
    else:
        over.reply()
    running = connect().stream(served.says(thinking=STORY, delay_ms=5), request_id="same", max_tokens=9)
    first_thought(running)
    client.cancel("same")
    with pytest.raises(Cancelled):
        list(running)


# --- deadlines ------------------------------------------------------------------------------------


def test_a_deadline_ends_the_request_on_the_server_too(connect, served):
    question = served.says(thinking=STORY, delay_ms=20)
    with pytest.raises(DeadlineExceeded) as late:
        connect(deadline_s=0.7).think(question, max_tokens=9)
    assert late.value.request_id
    wait_until(lambda: served.was_stopped(question), seconds=5)


def test_a_deadline_may_be_for_one_call(client, served):
    question = served.says(thinking=STORY, delay_ms=20)
    with pytest.raises(DeadlineExceeded):
        client.think(question, deadline_s=0.7, max_tokens=9)
    assert client.think(served.says(answer=" four"), deadline_s=None, num_ignore=0, max_tokens=9).answer.endswith(" four")


def test_a_deadline_may_ask_for_an_answer_in_time(client, served):
    question = served.says(thinking=STORY, delay_ms=20)
    reply = client.with_options(deadline_s=2).think(question, on_timeout="answer", max_tokens=9)
    assert reply.thinking_end == "deadline"
    assert reply.answer


def test_a_timeout_beyond_the_deadline_is_refused(client):
    with pytest.raises(InvalidRequest, match="timeout_ms: got 5000, allowed: at most 2000, by the client's deadline_s of 2 s"):
        client.with_options(deadline_s=2).think("hi", timeout_ms=5000)


# --- errors ---------------------------------------------------------------------------------------


def test_a_refused_field_is_named(client):
    with pytest.raises(InvalidRequest) as refused:
        client.think("hi", top_p=7.0, request_id="mine")
    assert (refused.value.field, refused.value.value, refused.value.allowed) == ("top_p", "7.0", "0 < top_p <= 1")
    assert (refused.value.request_id, refused.value.retryable) == ("mine", False)


@pytest.mark.parametrize(
    "options", [{"num_ignore": -1}, {"max_thinking_tokens": -2}, {"min_thinking_tokens": 9, "max_thinking_tokens": 8}, {"max_tokens": 0}]
)
def test_what_the_server_refuses_is_an_invalid_request(client, options):
    with pytest.raises(InvalidRequest) as refused:
        client.think("hi", **options)
    assert refused.value.field in options


@pytest.mark.parametrize(
    ("options", "value", "allowed"),
    [
        ({"stop_words": ["x"] * 513}, "513 strings", "at most 512 strings"),
        ({"ignore_str": ["x" * 8192, "y" * 8193]}, "16385 bytes together", "at most 16384 bytes together"),
        ({"answer_prefix": "x" * (2**20 + 1)}, "1048577 bytes", "at most 1048576 bytes"),
        ({"preset": "x" * 257}, "257 bytes", "at most 256 bytes"),
    ],
)
def test_what_is_too_large_is_refused_with_its_size(client, options, value, allowed):
    with pytest.raises(InvalidRequest) as refused:
        client.think("hi", **options)
    assert (refused.value.field, refused.value.value, refused.value.allowed) == (*options, f'"{value}"', allowed)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("max_thinking_token", "the name of an existing field; did you mean max_thinking_tokens?"),
        ("max_tokens", "nothing as a request parameter: max_tokens is an input tensor"),
        ("beam_width", "the name of an existing field"),
    ],
)
def test_a_request_parameter_is_refused_by_name(served, name, allowed):
    """The client never sends a request parameter itself."""
    request = infer_request("hi", {}, stream=True, model=served.model)
    request.parameters[name].int64_param = 3
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    with grpc.insecure_channel(served.url) as channel:
        (response,) = streaming_method(channel)(request, timeout=30)
    with pytest.raises(InvalidRequest) as refused:
        raise_error(response)
    assert (refused.value.field, refused.value.value, refused.value.allowed) == (name, "3", allowed)


def test_an_engine_that_fails_is_told_of_with_what_had_come(client, served):
    question = served.says(thinking=" one two three", error_after=2)
    with pytest.raises(EngineFailed) as failed:
        client.think(question, request_id="unlucky")
    assert failed.value.request_id == "unlucky"
    assert failed.value.partial[0].thinking.endswith(" one two")
    assert not failed.value.retryable


def test_a_model_that_is_not_there_is_not_ready(client):
    lost = client.with_options(model="s9")
    with pytest.raises(ServerNotReady, match="s9"):
        lost.think("hi")
    assert (client.is_ready(), lost.is_ready()) == (True, False)


# --- many -----------------------------------------------------------------------------------------


def test_defaults_of_a_client_give_way_to_a_requests_options(client, served):
    brief = client.with_options(max_thinking_tokens=9, max_tokens=9)
    question = served.says(thinking=STORY)
    assert brief.think(question).usage.num_thinking_tokens == 9
    assert brief.think(question, max_thinking_tokens=12).usage.num_thinking_tokens == 12
    with pytest.raises(TypeError, match="unknown option 'max_words'"):
        client.with_options(max_words=3)
    with pytest.raises(InvalidRequest, match="max_thinking_tokens: got True"):
        client.with_options(max_thinking_tokens=True)
    with pytest.raises(TypeError, match="belongs to the connection"):
        client.with_options(keepalive_s=3)


@pytest.mark.parametrize("ordered", [True, False])
def test_of_many_requests_one_that_fails_does_not_lose_the_others(client, served, ordered):
    question = served.says(thinking=" one", answer=" two")
    requests = [question, Request(prompt=question, options={"top_p": 7.0}), Request(prompt=question, options={"max_words": 1}), question]
    seen = []
    outcomes = list(client.map(requests * 3, concurrency=4, ordered=ordered, progress=seen.append, num_ignore=0, max_tokens=9))
    if not ordered:
        outcomes.sort(key=lambda outcome: outcome.index)
    assert [outcome.index for outcome in outcomes] == list(range(12))
    assert sorted(seen, key=lambda outcome: outcome.index) == outcomes
    for outcome in outcomes:
        expected = {0: type(None), 1: InvalidRequest, 2: TypeError, 3: type(None)}[outcome.index % 4]
        assert type(outcome.error) is expected
        if expected is type(None):
            assert outcome.reply.answer.endswith(" two")
        else:
            with pytest.raises(expected):
                _ = outcome.reply


def test_leaving_a_map_cancels_what_runs(client, served):
    short, long = served.says(thinking=" one"), served.says(thinking=STORY, delay_ms=20)
    outcomes = client.map([long, short], ordered=False, num_ignore=0, max_tokens=9)
    assert next(outcomes).index == 1
    outcomes.close()
    wait_until(lambda: served.was_stopped(long), seconds=5)


def test_256_streams_at_once_share_the_connection(connect, served):
    client = connect(deadline_s=120)
    question = served.says(thinking=" one two three", answer=" four", delay_ms=20)
    outcomes = list(client.map([question] * 256, concurrency=256, num_ignore=0, max_tokens=9))
    assert [outcome.reply.answer[-5:] for outcome in outcomes] == [" four"] * 256
    assert len({outcome.reply.request_id for outcome in outcomes}) == 256


def test_many_threads_use_one_client(connect, served):
    client = connect(deadline_s=120)
    question = served.says(thinking=" one", answer=" two")
    together = threading.Barrier(16)

    def ask(_):
        together.wait()
        return client.think(question, num_ignore=0, max_tokens=9).answer

    with ThreadPoolExecutor(16) as pool:
        assert all(answer.endswith(" two") for answer in pool.map(ask, range(16)))

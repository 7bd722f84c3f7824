# SPDX-License-Identifier: Apache-2.0
"""The gateway in front of the real server and its embedded engine: the cases that clients of other servers have stumbled over.

The small model counts letters: asked for the r in raspberry it thinks "Glance: 2.", and behind a refused end it spells and finds 3.
"""

import itertools
import json

import pytest

from client.gateway.calls import CHAT, COMPLETIONS, CONTROL, MESSAGES, RESPONSES, texts
from s1_client.gateway.spellings import SPELLINGS
from server.waiting import gauge, wait_until

QUESTION = "How many r in raspberry"
USER = {"role": "user", "content": QUESTION}
END, EOS = 2, 0
LONG = {"min_thinking_tokens": 1400, "max_thinking_tokens": 1450}  # far more than the small model thinks by itself


def effective(answer):
    """What the server applied, without the time that was left."""
    assert answer.status == 200, answer.text
    return {name: value for name, value in answer.json["s1"]["effective"].items() if name != "timeout_ms"}


def body_of(spelling, value):
    first, _, second = spelling.partition(".")
    if not second:
        return {first: value}
    return {first: {**({"type": "enabled"} if first == "thinking" else {}), second: value}}


# --- budgets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [path for path in SPELLINGS if path.endswith(("tokens", "budget"))])
def test_each_spelling_of_a_budget_is_the_same_to_the_server(door, spelling):
    plain = effective(door.chat(max_thinking_tokens=12))
    answer = door.chat(**body_of(spelling, 12))
    assert effective(answer) == plain
    assert answer.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 12


@pytest.mark.parametrize(
    "spelling", ["reasoning_effort", "reasoning.effort", "thinking.effort", "think", "chat_template_kwargs.reasoning_effort"]
)
def test_each_spelling_of_an_effort_is_a_budget_of_the_preset(door, spelling):
    applied = effective(door.chat(**body_of(spelling, "minimal"), max_answer_tokens=4))
    assert (applied["max_thinking_tokens"], applied["reasoning_effort"]) == (512, "minimal")


@pytest.mark.parametrize(
    "off", [{"reasoning_effort": "none"}, {"enable_thinking": False}, {"thinking": {"type": "disabled"}}, {"think": False}]
)
def test_each_spelling_of_off_turns_thinking_off(door, off):
    answer = door.chat(**off, max_answer_tokens=4)
    assert effective(answer)["thinking"] == "off"
    assert answer.json["choices"][0]["message"]["reasoning_content"] == ""


@pytest.fixture(scope="module")
def natural(client):
    """Tokens of thinking that the model wants for the question, more than 20."""
    num_tokens = client.think([USER]).usage.num_thinking_tokens
    assert num_tokens > 20
    return num_tokens


@pytest.mark.parametrize("budget", [0, 1, 20, -1])
def test_a_budget_is_exact(door, budget, natural):
    answer = door.chat(thinking_token_budget=budget)
    assert answer.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == (natural if budget == -1 else budget)
    assert answer.json["choices"][0]["finish_reason"] == "stop"


def test_refused_ends_change_the_answer_as_with_our_own_client(door, client):
    for num_ignore in (0, 1, 2):
        reply = client.think([USER], num_ignore=num_ignore)
        message = door.chat(num_ignore=num_ignore).json["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == (reply.thinking, reply.answer)


def test_a_budget_that_the_context_cannot_hold_is_refused_as_it_was_spelt(door):
    refused = door.chat(reasoning={"max_tokens": 1_000_000})
    assert (refused.status, refused.error["param"]) == (400, "reasoning.max_tokens")
    assert "the context holds 2048" in refused.error["message"]


def test_a_prompt_that_the_context_cannot_hold_has_a_code_of_its_own(door):
    for question in ("word " * 400, "word " * 10_000, "word " * 300_000):  # the last two are refused by their size, before they are encoded
        refused = door.chat(question)
        assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "context_length_exceeded", "messages")
        assert refused.error["message"].startswith("prompt is too long: messages: got ")


def test_a_short_reply_behind_a_long_prompt_fits(door):
    """Nothing is reserved for an answer beyond what max_tokens allows; without it the preset's 512 tokens are."""
    question = "word " * 340
    assert door.chat(question).error["code"] == "context_length_exceeded"
    answer = door.chat(question, max_tokens=20)
    assert (answer.status, answer.json["usage"]["prompt_tokens"] > 1600) == (200, True)


# --- replies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"num_ignore": 2}, {"max_thinking_tokens": 5}, {"reasoning_field": "reasoning"}, {"stop": ": "}])
def test_a_stream_adds_up_to_the_whole_reply(door, fields):
    name = fields.get("reasoning_field", "reasoning_content")
    other = ({"reasoning", "reasoning_content"} - {name}).pop()
    whole = door.chat(**fields).json["choices"][0]
    chunks = door.chat_chunks(**fields)
    assert texts(chunks, name=name) == (whole["message"][name], whole["message"]["content"])
    assert other not in whole["message"]
    assert not any(other in choice["delta"] for chunk in chunks for choice in chunk["choices"])
    assert not any({name, "content"} <= choice["delta"].keys() for chunk in chunks for choice in chunk["choices"])
    assert "<|im_start|>" not in json.dumps([whole["message"], chunks])


def test_the_order_of_chunks(door):
    chunks = door.chat_chunks(stream_options={"include_usage": True})
    first, *deltas, last, usage = chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in [first, *deltas])
    assert (usage["choices"], usage["usage"]) == ([], door.chat().json["usage"])
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert {name for chunk in chunks for name in chunk} == {"id", "object", "created", "model", "choices", "usage", "s1"}


def test_usage_comes_in_a_stream_only_when_it_is_wanted(door):
    assert not any("usage" in chunk for chunk in door.chat_chunks())
    counted = [chunk["usage"] for chunk in door.chat_chunks(stream_options={"continuous_usage_stats": True, "include_usage": True})]
    assert [usage["completion_tokens"] for usage in counted] == sorted(usage["completion_tokens"] for usage in counted)
    assert counted[-1] == counted[-2]


@pytest.mark.parametrize("fields", [{}, {"max_thinking_tokens": 3}, {"thinking": "off"}, {"n": 3, "temperature": 1.0, "seed": 7}])
def test_usage_adds_up(door, fields):
    answer = door.chat(**fields, max_answer_tokens=6).json
    usage, told = answer["usage"], answer["s1"]
    samples = [sample["usage"] for sample in told.get("samples", [told])]
    assert usage["completion_tokens"] == sum(sample["num_output_ids"] for sample in samples)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == sum(sample["num_thinking_tokens"] for sample in samples)
    assert usage["prompt_tokens"] == samples[0]["num_prompt_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    for sample in samples:
        parts = sample["num_thinking_tokens"] + sample["num_answer_tokens"] + sample["num_answer_injected"]
        assert sample["num_output_ids"] == parts


def test_three_choices_interleave_and_each_is_whole(door):
    fields = {"n": 3, "temperature": 1.0, "seed": 7, "max_thinking_tokens": 20, "max_answer_tokens": 8}
    chunks = door.chat_chunks(**fields)
    whole = door.chat(**fields).json["choices"]
    by_choice = {index: [c for chunk in chunks for c in chunk["choices"] if c["index"] == index] for index in range(3)}
    assert [choice["index"] for choice in whole] == [0, 1, 2]
    for index, entries in by_choice.items():
        assert "role" in entries[0]["delta"]
        assert [entry["finish_reason"] for entry in entries[:-1]] == [None] * (len(entries) - 1)
        assert entries[-1]["finish_reason"] in ("stop", "length")
        assert texts(chunks, index) != ("", "")
    assert sorted(chunk["s1"]["index"] for chunk in chunks if "s1" in chunk) == [0, 1, 2]


def test_equal_choices_are_refused_naming_both(door):
    refused = door.chat(n=2, temperature=0)
    assert (refused.status, refused.error["param"]) == (400, "n")
    assert "temperature 0" in refused.error["message"]


def test_an_answer_that_is_cut_is_said_to_be(door):
    choice = door.chat(max_answer_tokens=2).json["choices"][0]
    assert choice["finish_reason"] == "length"
    assert [chunk["choices"][0]["finish_reason"] for chunk in door.chat_chunks(max_answer_tokens=2)][-1] == "length"


def test_the_bound_of_the_whole_reply_holds(door):
    """OpenAI's max_completion_tokens counts thinking and answer together."""
    for name, bound in itertools.product(("max_tokens", "max_completion_tokens"), (24, 60)):
        counted = door.chat(**{name: bound}).json["s1"]["usage"]
        assert 0 < counted["num_thinking_tokens"] + counted["num_answer_tokens"] <= bound


def test_a_thought_that_is_not_wanted_is_counted_and_not_sent(door, natural):
    answer = door.chat(include_reasoning=False).json
    assert "reasoning_content" not in answer["choices"][0]["message"]
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == natural
    assert texts(door.chat_chunks(include_reasoning=False)) == ("", answer["choices"][0]["message"]["content"])


def test_events_tell_injected_text_from_sampled(door):
    chunks = door.chat_chunks(include_events=True, num_ignore=1)
    events = [(chunk["s1"].get("event"), chunk) for chunk in chunks if "s1" in chunk]
    (injected,) = [chunk for event, chunk in events if event == "injected"]
    assert injected["choices"][0]["delta"]["reasoning_content"] == "Wait"
    assert injected["s1"]["phase"] == "thinking"
    counted = sum(len(chunk["s1"]["ids"]) for event, chunk in events if event in ("thinking", "injected"))
    assert counted == chunks[-1]["s1"]["usage"]["num_thinking_tokens"]
    assert [chunk["s1"]["round"]["refused_for"] for event, chunk in events if event == "round_ended"] == ["num_ignore", None, None]


# --- turns and texts ----------------------------------------------------------------------------------


def test_a_second_turn_with_the_thought_sent_back(door):
    message = door.chat().json["choices"][0]["message"]
    plain = [USER, {"role": "assistant", "content": message["content"]}, {"role": "user", "content": "How many e in bee"}]
    expected = door.post(CHAT, {"model": "s1", "messages": plain}).json["choices"][0]["message"]
    for turn in (message, {"role": "assistant", "content": f"<think>{message['reasoning_content']}</think>{message['content'].lstrip()}"}):
        answer = door.post(CHAT, {"model": "s1", "messages": [plain[0], turn, plain[2]]})
        assert answer.status == 200, answer.text
        assert answer.json["s1"]["dropped"]
    assert door.post(CHAT, {"model": "s1", "messages": [plain[0], message, plain[2]]}).json["choices"][0]["message"] == expected
    empty = {"role": "assistant", "content": None, "reasoning_content": "hm"}
    assert door.post(CHAT, {"model": "s1", "messages": [USER, empty, USER]}).json["s1"]["dropped"] == [
        "messages[1].reasoning_content",
        "messages[1]",
    ]


def test_roles_and_parts_reach_the_model(door):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be exact."}]},
        {"role": "user", "name": "me", "content": [{"type": "text", "text": QUESTION}]},
    ]
    answer = door.post(CHAT, {"model": "s1", "messages": messages, "max_thinking_tokens": 5, "max_answer_tokens": 5})
    assert (answer.status, answer.json["s1"]["dropped"]) == (200, ["messages[2].name"])


@pytest.mark.parametrize("stop", [": ", ["nothing", "x", " y", ": "]])
def test_a_stop_word_ends_the_answer_unseen_and_leaves_the_thought_alone(door, stop):
    """It is two tokens, which come in two chunks. The thought has it, too: "Glance: 2."."""
    choice = door.chat(stop=stop).json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("\nFinal Answer", "stop")
    assert "Glance: 2." in choice["message"]["reasoning_content"]
    assert texts(door.chat_chunks(stop=stop))[1] == "\nFinal Answer"


def test_a_stop_word_that_the_servers_own_prefix_holds_is_refused(door):
    refused = door.chat(stop="Answer")
    assert (refused.status, refused.error["param"]) == (400, "stop")
    assert "answer_prefix" in refused.error["message"]


def test_every_delta_is_whole_characters(scripted_door, scripts, tokenizer):
    """The tokenizer spells an emoji with several tokens, which come one at a time."""
    text = " \N{GRINNING FACE}\N{SNOWMAN}\N{MUSICAL SYMBOL G CLEF} ä"
    script = scripts.write([*tokenizer.encode(text), END], [*tokenizer.encode(text), EOS], delay_ms=5)
    chunks = scripted_door.chat_chunks(script.question, num_ignore=0)
    thought, answer = texts(chunks)
    assert text in thought
    assert text in answer
    assert "\N{REPLACEMENT CHARACTER}" not in thought + answer


# --- the other APIs -----------------------------------------------------------------------------------


def test_completions_have_the_same_reply(door):
    chat = door.chat().json
    body = {"model": "s1", "prompt": QUESTION}
    whole = door.post(COMPLETIONS, body).json
    assert (whole["object"], whole["usage"]) == ("text_completion", chat["usage"])
    assert whole["choices"][0]["text"] == chat["choices"][0]["message"]["content"]
    with door.streamed(COMPLETIONS, {**body, "stream": True, "stream_options": {"include_usage": True}}) as stream:
        chunks = list(stream.chunks())
    assert "".join(choice["text"] for chunk in chunks for choice in chunk["choices"]) == whole["choices"][0]["text"]
    thought = "".join(choice.get("reasoning_content", "") for chunk in chunks for choice in chunk["choices"])
    assert thought == whole["choices"][0]["reasoning_content"]
    assert chunks[-1]["usage"] == whole["usage"]


def responses_events(door, **fields):
    with door.streamed(RESPONSES, {"model": "s1", "input": QUESTION, "stream": True, **fields}) as stream:
        return list(stream.chunks())


def without_times(response):
    changing = ("id", "created_at", "completed_at", "s1")
    items = [{name: value for name, value in item.items() if name != "id"} for item in response["output"]]
    return {**{name: value for name, value in response.items() if name not in changing}, "output": items}


@pytest.mark.parametrize(
    ("fields", "status", "kinds"),
    [
        ({}, "completed", ["reasoning", "message"]),
        ({"reasoning": {"summary": "auto"}}, "completed", ["reasoning", "message"]),
        ({"max_answer_tokens": 2}, "incomplete", ["reasoning", "message"]),
        ({"reasoning": {"effort": "none"}, "max_answer_tokens": 40}, "completed", ["message"]),
        ({"reasoning": {"exclude": True}}, "completed", ["message"]),
    ],
)
def test_a_stream_of_responses_adds_up_to_the_whole_one(door, fields, status, kinds):
    whole = door.post(RESPONSES, {"model": "s1", "input": QUESTION, **fields}).json
    events = responses_events(door, **fields)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    ends = [event for event in events if event["type"].rpartition(".")[2] in ("completed", "incomplete", "failed")]
    assert ends == [events[-1]]
    assert (events[-1]["type"], whole["status"], [item["type"] for item in whole["output"]]) == (f"response.{status}", status, kinds)
    assert without_times(events[-1]["response"]) == without_times(whole)
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] == whole["s1"]["usage"]["num_thinking_tokens"]
    deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert deltas == whole["output"][-1]["content"][0]["text"]


def test_the_thought_is_content_or_summary_and_never_both(door):
    raw, summed = (door.post(RESPONSES, {"model": "s1", "input": QUESTION, **fields}).json["output"][0] for fields in ({}, SUMMARY))
    assert (raw["summary"], raw["content"][0]["type"]) == ([], "reasoning_text")
    assert (summed["summary"][0]["type"], "content" in summed) == ("summary_text", False)
    assert raw["content"][0]["text"] == summed["summary"][0]["text"] == door.chat().json["choices"][0]["message"]["reasoning_content"]


SUMMARY = {"reasoning": {"summary": "detailed"}}


@pytest.mark.parametrize("fields", [{}, SUMMARY])
def test_the_output_of_a_response_is_input_of_the_next(door, fields):
    output = door.post(RESPONSES, {"model": "s1", "input": QUESTION, **fields}).json["output"]
    turns = [USER, *output, {"role": "user", "content": "How many e in bee"}]
    answer = door.post(RESPONSES, {"model": "s1", "input": turns, "instructions": "Be brief.", **fields})
    assert (answer.status, answer.json["s1"]["dropped"]) == (200, ["input[1]"])


@pytest.mark.parametrize("events", ["responses", "messages"])
def test_deltas_of_the_other_apis_say_which_event_they_are(door, events):
    read = {"responses": responses_events, "messages": messages_events}[events](door, include_events=True)
    told = [(event["s1"]["event"], event["delta"]) for event in read if isinstance(event.get("s1"), dict) and "event" in event["s1"]]
    (injected,) = [delta for event, delta in told if event == "injected"]
    assert injected in ("Wait", {"type": "thinking_delta", "thinking": "Wait"})
    assert {event for event, _ in told} == {"thinking", "injected", "answer"}


@pytest.mark.parametrize(
    "field", [{"store": True}, {"background": True}, {"previous_response_id": "resp_1"}, {"conversation": "c"}, {"prompt": {"id": "p"}}]
)
def test_what_needs_a_store_is_refused(door, field):
    refused = door.post(RESPONSES, {"model": "s1", "input": "hi", **field})
    assert (refused.status, refused.error["param"]) == (400, *field)


def messages_events(door, **fields):
    body = {"model": "s1", "max_tokens": 200, "messages": [USER], "stream": True, **fields}
    with door.streamed(MESSAGES, body) as stream:
        return [json.loads(frame.partition("data: ")[2]) for frame in stream.frames() if not frame.startswith(":")]


@pytest.mark.parametrize(
    ("fields", "reason", "num_tokens"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 20}}, "end_turn", 20),
        ({"stop_sequences": [": "]}, "stop_sequence", None),
        ({"thinking": {"type": "disabled"}, "max_tokens": 3}, "max_tokens", 0),
    ],
)
def test_anthropics_api_keeps_its_budget_and_streams_the_same_reply(door, natural, fields, reason, num_tokens):
    num_tokens = natural if num_tokens is None else num_tokens
    whole = door.post(MESSAGES, {"model": "s1", "max_tokens": 200, "messages": [USER], **fields}).json
    assert (whole["stop_reason"], whole["usage"]["output_tokens_details"]["thinking_tokens"]) == (reason, num_tokens)
    assert [block["type"] for block in whole["content"]] == (["thinking", "text"] if num_tokens else ["text"])
    first, *blocks, delta, last = messages_events(door, **fields)
    assert (first["type"], first["message"]["content"], last) == ("message_start", [], {"type": "message_stop"})
    assert (delta["delta"], delta["usage"]) == ({name: whole[name] for name in ("stop_reason", "stop_sequence")}, whole["usage"])
    for index, block in enumerate(whole["content"]):
        own = [event for event in blocks if event["index"] == index]
        assert [event["type"] for event in own] == ["content_block_start", *["content_block_delta"] * (len(own) - 2), "content_block_stop"]
        name = block["type"]
        assert "".join(event["delta"][name] for event in own[1:-1]) == block[name]


def test_an_error_of_anthropics_api_has_its_shape_and_names_the_budget_and_the_bound(door):
    body = {"model": "s1", "max_tokens": 100, "messages": [USER], "thinking": {"type": "enabled", "budget_tokens": 100}}
    refused = door.post(MESSAGES, body)
    assert (refused.status, refused.json["type"], refused.error["type"]) == (400, "error", "invalid_request_error")
    assert refused.error["param"] == "thinking.budget_tokens"
    assert "allowed: -1 to 99: max_tokens 100 bounds thinking and answer together" in refused.error["message"]


def test_content_of_anthropics_api_is_sent_back(door):
    content = door.post(MESSAGES, {"model": "s1", "max_tokens": 200, "messages": [USER]}).json["content"]
    turns = [USER, {"role": "assistant", "content": content}, {"role": "user", "content": [{"type": "text", "text": "How many e in bee"}]}]
    answer = door.post(MESSAGES, {"model": "s1", "max_tokens": 200, "messages": turns, "system": [{"type": "text", "text": "Be brief."}]})
    assert (answer.status, answer.json["s1"]["dropped"]) == (200, ["messages[1].content[0]"])


# --- callers that leave, and a full server --------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_that_leaves_frees_the_real_engine(door, triton, stream):
    body = door.chat_body(QUESTION, stream=stream, **LONG)
    with door.streamed(CHAT, body) if stream else door.unread(CHAT, body):
        wait_until(lambda: gauge(triton, 's1_replies_running{model_instance="s1_0_0"}') > 0, seconds=10)
    wait_until(lambda: gauge(triton, 's1_replies_running{model_instance="s1_0_0"}') == 0, seconds=5)


def test_a_full_server_is_429_and_a_queued_caller_that_leaves_makes_room(small_door, scripts, a, triton):
    slow = scripts.write([*[a] * 400, END], [a, EOS], delay_ms=20)
    waiting = 's1_requests_waiting{model_instance="s1_small_0_0"}'

    def opened():
        return small_door.streamed(CHAT, small_door.chat_body(slow.question, stream=True, num_ignore=0))

    with opened() as first, opened() as second:
        next(first.chunks()), next(second.chunks())
        with opened() as third:
            assert third.status == 200  # after --first-event-s, although it waits
            wait_until(lambda: gauge(triton, waiting) == 1, seconds=10)
            refused = small_door.chat("hi")
            assert (refused.status, refused.error["code"]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
        wait_until(lambda: gauge(triton, waiting) == 0, seconds=5)
    wait_until(lambda: gauge(triton, 's1_replies_running{model_instance="s1_small_0_0"}') == 0, seconds=5)


def test_answer_now_reaches_the_engine(door):
    with door.streamed(CHAT, door.chat_body(QUESTION, stream=True, **LONG)) as stream:
        chunks = stream.chunks()
        assert door.post(CONTROL, {"id": next(chunks)["id"], "action": "reasoning_end"}).status == 200
        *_, last = chunks
    assert (last["s1"]["finish_reason"]["thinking"], last["choices"][0]["finish_reason"]) == ("answer_now", "stop")

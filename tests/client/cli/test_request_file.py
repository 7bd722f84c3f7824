# SPDX-License-Identifier: Apache-2.0
"""Lines that ask: what each says, what is wrong with it, and its id."""

import hashlib
import io
import json
import os

import pytest

from s1_client.cli.request_file import Requests, open_input
from s1_client.runs import BadLine


def read(*lines, defaults=None, model="s1"):
    """Requests of lines that are given as bytes, or as what JSON is made of."""
    raws = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return list(Requests(io.BytesIO(b"\n".join(raws)), defaults=defaults or {}, model=model))


def only(*lines, **rest):
    (item,) = read(*lines, **rest)
    return item


def problem(line):
    """What is wrong with a line, and with nothing else: its neighbours are read."""
    before, item, after = read({"prompt": "before"}, line, {"prompt": "after"})
    assert (before.line, after.line) == (1, 3)
    assert isinstance(item, BadLine) and item.line == 2
    return item.problem


@pytest.mark.parametrize("line", ["why", {"prompt": "why"}, {"prompt": "why", "messages": None}, b'  "why"\r', b'\xef\xbb\xbf"why"'])
def test_a_prompt_is_a_string_or_in_an_object(line):
    assert only(line).prompt == "why"


def test_a_chat_has_messages():
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why"}]
    assert only({"messages": chat}).prompt == chat


def test_options_of_a_line_count_more_than_the_defaults_and_null_leaves_one_to_the_server():
    line = {"prompt": "why", "max_tokens": 5, "seed": None, "ignore_str": ["Hm", ""]}
    asked = only(line, defaults={"max_tokens": 9, "seed": 7, "num_ignore": 2})
    assert asked.options == {"max_tokens": 5, "seed": None, "num_ignore": 2, "ignore_str": ["Hm", ""]}


def test_meta_is_kept_as_it_is():
    assert only({"prompt": "why", "meta": {"from": ["x", 1, None]}}).meta == {"from": ["x", 1, None]}


def test_blank_lines_ask_nothing_and_count_as_lines():
    assert [asked.line for asked in read(b"", b'"a"', b"  \t", b'"b"', b"")] == [2, 4]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{'prompt': 'why'}", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        (b'{"prompt": "why"', "not JSON: "),
        (b'{"prompt": "why"} {}', "not JSON: Extra data at column 19"),
        (b'"\xff"', "not UTF-8: byte 0xff at 2"),
        (b'{"prompt": "\\ud800"}', "half a character"),
        (b"[" * 100_000, "not JSON: nested too deeply"),
        (b'{"prompt": "why", "top_p": NaN}', "not JSON: NaN is no number there"),
        (b'{"prompt": "why", "prompt": "how"}', "key 'prompt' is there twice"),
        ([], "got [], allowed: a JSON object, or a string (the prompt)"),
        (17, "got 17, allowed"),
        (None, "got null, allowed"),
        ({}, "neither 'prompt' nor 'messages'"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "both 'prompt' and 'messages'"),
        ({"prompt": ["a"]}, 'prompt: got ["a"], allowed: text'),
        ({"messages": []}, "messages: got [], allowed: a list of"),
        ({"messages": [{"role": "user"}]}, "messages: got"),
        ({"messages": [{"role": "user", "content": ["parts"]}]}, "messages: got"),
        (
            {"prompt": "a", "max_token": 3},
            "unknown key 'max_token', did you mean 'max_tokens' or 'max_total_tokens'?; known: prompt, messages, id, ",
        ),
        ({"prompt": "a", "stream": True}, "unknown key 'stream'"),
        ({"prompt": "a", "id": ""}, 'id: got "", allowed: text or an integer'),
        ({"prompt": "a", "id": True}, "id: got true"),
        ({"prompt": "a", "id": 1.5}, "id: got 1.5"),
        ({"prompt": "a", "max_tokens": "lots"}, "max_tokens: got 'lots', allowed: an integer from"),
        ({"prompt": "a", "max_tokens": 2**40}, "max_tokens: got 1099511627776, allowed"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens: got true, allowed: a number"),
        ({"prompt": "a", "temperature": "hot"}, "temperature: got 'hot', allowed: a number"),
        ({"prompt": "a", "temperature": 10**400}, "temperature: got 1000"),
        ({"prompt": "a", "stop_words": [1]}, "stop_words: got 1, allowed: text"),
        ({"prompt": "a", "seed": -1}, "seed: got -1, allowed"),
        ({"prompt": "a", "expected": 1, "grading": ["integer"]}, 'grading: got ["integer"], allowed: integer'),
        ({"prompt": "a", "expected": True}, "expected: got true, allowed: a number, or text"),
        ({"prompt": "a", "grading": "integer"}, "grading: got \"integer\" without 'expected'"),
        ({"prompt": "a", "expected": 1, "grading": "luck"}, 'grading: got "luck", allowed: integer, letter, math, judge, text'),
    ],
)
def test_a_bad_line_says_what_is_wrong(line, said):
    assert problem(line).startswith(said)


def test_an_id_that_was_there_is_bad_whatever_its_type():
    """Results are found by the id's text."""
    items = read({"id": 7, "prompt": "a"}, {"id": "8", "prompt": "b"}, {"id": "7", "prompt": "c"})
    assert [getattr(item, "key", None) for item in items] == [7, "8", None]
    assert items[2].problem == "duplicate id '7', first on line 1"


# --- derived ids and digests ----------------------------------------------------------------------


def keys(*lines, **rest):
    return [asked.key for asked in read(*lines, **rest)]


def test_a_derived_id_is_the_same_wherever_its_line_is():
    """Equal lines are told apart by number, so that however they are shuffled the same ids come out."""
    lines = ["a", {"prompt": "b", "seed": 1}, "a", {"prompt": "b", "seed": 2}, "a"]
    assert len(set(keys(*lines))) == 5
    for shuffled in (lines[::-1], lines[2:] + lines[:2], [lines[0], lines[2], lines[4], lines[3], lines[1]]):
        assert set(keys(*shuffled)) == set(keys(*lines))


def test_a_derived_id_is_by_what_is_asked_and_not_by_how_it_is_written():
    one, two = (
        keys(b'{"prompt": "a", "seed": 1, "temperature": 1}'),
        keys(b'{ "temperature":1.0,"seed":1,"meta":{"x":2},"prompt":"\\u0061" }'),
    )
    assert one == two


def test_a_derived_id_does_not_know_the_defaults():
    """So that a run with other ones is noticed, and not taken for other requests."""
    assert keys("a", defaults={"seed": 1}) == keys("a", defaults={"seed": 2}, model="other")


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("b", {}),
        ({"messages": [{"role": "user", "content": "a"}]}, {}),
        ({"prompt": "a", "seed": 1}, {}),
        ("a", {"defaults": {"seed": 1}}),
        ("a", {"model": "other"}),
    ],
)
def test_the_digest_tells_different_requests_apart(line, rest):
    assert only(line, **rest).digest != only("a").digest


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ({"prompt": "a", "id": "x", "meta": 1}, {}),
        ({"prompt": "a", "seed": None}, {"defaults": {"seed": 1}}),
        ({"prompt": "a", "seed": None}, {}),
    ],
)
def test_the_digest_is_the_same_for_what_asks_the_same(line, rest):
    assert only(line, **rest).digest == only("a").digest


def test_the_digest_is_the_same_tomorrow():
    """It is in files: another way to make it would make all of them another request's."""
    asked = only({"prompt": "ä", "seed": 1}, defaults={"temperature": 1})
    assert asked.digest == hashlib.sha256('{"model":"s1","prompt":"ä","seed":1,"temperature":1.0}'.encode()).hexdigest()[:16]
    assert asked.key == hashlib.sha256('{"prompt":"ä","seed":1}'.encode()).hexdigest()[:16]


# --- files ----------------------------------------------------------------------------------------


def test_a_pipe_can_be_read_twice():
    reader, writer = os.pipe()
    os.write(writer, b'"a"\n"b"\n')
    os.close(writer)
    with open_input(f"/dev/fd/{reader}") as file:
        requests = Requests(file, defaults={}, model="s1")
        assert [asked.prompt for asked in requests] == [asked.prompt for asked in requests] == ["a", "b"]
    os.close(reader)


def test_reading_again_gives_the_same():
    requests = Requests(io.BytesIO(b'"a"\n"a"\n{"id": 1, "prompt": "b"}\noops\n'), defaults={}, model="s1")
    assert list(requests) == list(requests)

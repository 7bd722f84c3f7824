# SPDX-License-Identifier: Apache-2.0
"""The reader of JSON and JSON Lines: the items of a file, line by line, and their problems."""

import io
import json
import os
import re

import pytest

from s1_client._jsonl import items, lines_of, read_file, read_json, read_text

ODD = "a\N{LINE SEPARATOR}b\N{NEXT LINE}c\N{PARAGRAPH SEPARATOR}d\v\f\x1ce"  # ends of lines to str.splitlines(), not to JSON Lines
DIGITS = "9" * 5000


def read(text):
    """(line, value or problem) of each item."""
    raw = text if isinstance(text, bytes) else text.encode()
    return [(item.line, item.value if item.problem is None else item.problem) for item in items(io.BytesIO(raw))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}\n{"a": 2}\n', [(1, {"a": 1}), (2, {"a": 2})]),
        ('{"a": 1}\n{"a": 2}', [(1, {"a": 1}), (2, {"a": 2})]),
        ('{"a": 1}\r\n{"a": 2}\r\n', [(1, {"a": 1}), (2, {"a": 2})]),
        (b'\xef\xbb\xbf{"a": 1}', [(1, {"a": 1})]),
        ('\n \t\n{"a": 1}\n\r\n"b"\n', [(3, {"a": 1}), (5, "b")]),
        (json.dumps({"a": ODD}, ensure_ascii=False) + '\n"b"', [(1, {"a": ODD}), (2, "b")]),
        ("", []),
        (" \n\n", []),
        ('{"a": 1}\nnot\n"b"', [(1, {"a": 1}), (2, "not JSON: Expecting value at column 1"), (3, "b")]),
    ],
)
def test_a_line_ends_with_a_newline_and_with_nothing_else(text, found):
    assert read(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", []),
        ('[{"a": 1}, {"a": 2}]', [(1, {"a": 1}), (1, {"a": 2})]),
        (b'\xef\xbb\xbf[{"a": 1}]', [(1, {"a": 1})]),
        ('[\n  {"a": 1},\n\n  {\n    "a": [2]\n  }\n]\n', [(2, {"a": 1}), (4, {"a": [2]})]),
        ('{\n  "a": 1\n}\n{\n  "a": 2\n}\n', [(1, {"a": 1}), (4, {"a": 2})]),
        ('["x", ["y"]]', [(1, "x"), (1, ["y"])]),
        ('[\n"x"\n"y"]', [(2, "x"), (3, "not JSON: ',' or ']' is missing after an element")]),
        ('[\n{"a": }]', [(2, "not JSON: Expecting value at column 7")]),
        ('[\n"x"', [(2, "x"), (2, "not JSON: ',' or ']' is missing after an element")]),
        ("[", [(1, "not JSON: the array has no ']'")]),
        ('["x",\n"y",\n', [(1, "x"), (2, "y"), (3, "not JSON: the array has no ']'")]),
        ('[\n{"a": 1, "a": 2},\n"b"]', [(2, "key 'a' is there twice"), (3, "b")]),
        (b'[\n"\xff"]', [(1, "not UTF-8: byte 0xff at 4")]),
        ("[" + "[" * 100_000, [(1, "not JSON: nested too deeply")]),
    ],
)
def test_an_array_and_objects_over_several_lines_are_items_with_their_lines(text, found):
    assert read(text) == found


@pytest.mark.parametrize(
    "raw", [b"prompt,expected\nWhat is 1 + 1?,2\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", "<html>\n</html>", "prompt: why\n- 1\n", "17"]
)
def test_another_format_is_one_problem_that_tells_the_right_one(raw):
    [(line, problem)] = read(raw)
    assert line == 1 and problem.startswith("not JSON Lines, and nothing below was read; JSON Lines has an object on each line")
    assert "docs/evaluation.md" in problem


def test_a_large_array_is_read_in_time_that_grows_with_it():
    """Its lines are counted once: 20,000 elements of 50 lines are a second's work, and a minute's if each counts from the start."""
    text = "[" + ",\n".join(['"' + "x" * 200 + '"' + "\n" * 50] * 20_000) + "]"
    *_, (line, _) = read(text)
    assert line == 19_999 * 51 + 1


def test_utf_16_is_named():
    assert read('{"a": 1}'.encode("utf-16"))[0][1].endswith("not UTF-8: its first bytes are those of UTF-16")
    with pytest.raises(ValueError, match="those of UTF-16"):
        read_text("why".encode("utf-16"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'"\xff"', "not UTF-8: byte 0xff at 2"),
        ('"\\ud800"', "half a character"),
        ('{"\\udc00": 1}', "half a character"),
        ('{"a": NaN}', "not JSON: NaN is no number there"),
        ('{"a": -Infinity}', "not JSON: -Infinity is no number there"),
        ('{"a": 1e999}', "a number that is too large: 1e999"),
        (f'{{"a": {DIGITS}}}', "a number of 5000 digits, allowed: 4300"),
        ('{"a": {"b": 1, "b": 2}}', "key 'b' is there twice"),
        ('{"a": 1', "not JSON: Expecting ',' delimiter at column 8"),
        ('{"a": 1} {}', "not JSON: Extra data at column 10"),
        ('{\n"a" 1}', "not JSON: Expecting ':' delimiter at line 2 column 5"),
        ("[" * 100_000, "not JSON: nested too deeply"),
        ("", "not JSON: Expecting value at column 1"),
    ],
)
def test_what_people_write_is_refused_saying_where_and_why(text, problem):
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        read_json(text if isinstance(text, bytes) else text.encode())


def test_whole_characters_in_escapes_are_taken():
    assert read_json(b'"\\ud83d\\ude00 \\u2028"') == "\N{GRINNING FACE} \u2028"


def test_what_programs_write_may_hold_nan_and_lone_surrogates_but_no_key_twice():
    """Python's own writer puts them there, and a log of them is no reason to lose the rest."""
    found = read_json(json.dumps({"a": float("nan"), "b": "\udcff", "c": float("inf")}).encode(), is_log=True)
    assert found["a"] != found["a"] and found["b"] == "\udcff" and found["c"] == float("inf")
    with pytest.raises(ValueError, match="twice"):
        read_json(b'{"a": 1, "a": 2}', is_log=True)


def test_lines_are_numbered_as_an_editor_does_and_keep_their_ends():
    """The end says whether the last line is torn."""
    assert list(lines_of(io.BytesIO(b"\xef\xbb\xbf1\n\n2\r\n3"))) == [(1, b"1\n"), (3, b"2\r\n"), (4, b"3")]


def test_lines_of_a_pipe_are_read():
    reader, writer = os.pipe()
    os.write(writer, b"1\n2")
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert list(lines_of(file)) == [(1, b"1\n"), (2, b"2")]


def test_a_file_of_one_text(tmp_path):
    (tmp_path / "file").write_bytes(b'\xef\xbb\xbf{\r\n"a": 1}\r\n')
    assert read_file(tmp_path / "file") == {"a": 1}
    assert read_text(b"\xef\xbb\xbfone\r\ntwo\rthree\n") == "one\ntwo\nthree\n"

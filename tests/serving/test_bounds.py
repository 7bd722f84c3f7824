# SPDX-License-Identifier: Apache-2.0
"""Values that are too many or too long are refused by their size alone, and those at the limit are taken."""

import pytest

from budgetforce.errors import InvalidRequest
from budgetforce.serving.requests.bounds import TEXTS, WORD_LISTS, Bounds, check_request_id

BOUNDS = Bounds(max_text_bytes=1000, max_words=3, max_words_bytes=10)


@pytest.mark.parametrize("field", WORD_LISTS)
def test_a_list_has_so_many_strings_of_so_many_bytes_together(field):
    BOUNDS.check(field, [b"abcd", b"abcd", b"ab"])
    with pytest.raises(InvalidRequest, match=f'^INVALID_ARGUMENT: field .{field}.: got "4 strings", allowed: at most 3 strings$'):
        BOUNDS.check(field, [b""] * 4)
    with pytest.raises(InvalidRequest, match="at most 10 bytes together"):
        BOUNDS.check(field, [b"abcde", b"abcdef"])


@pytest.mark.parametrize("field", TEXTS)
def test_a_text_has_so_many_bytes(field):
    BOUNDS.check(field, [b"a" * 1000])
    with pytest.raises(InvalidRequest, match=f"field '{field}': got \"1001 bytes\", allowed: at most 1000 bytes"):
        BOUNDS.check(field, [b"a" * 1001])


@pytest.mark.parametrize("field", ["preset", "thinking", "on_timeout", "answer_prefix_policy"])
def test_a_name_is_short(field):
    with pytest.raises(InvalidRequest, match="at most 256 bytes"):
        BOUNDS.check(field, [b"a" * 257])


def test_numbers_have_no_size():
    BOUNDS.check("seed", [2**64 - 1])


def test_a_request_id_is_short():
    check_request_id("ü" * 256)
    with pytest.raises(InvalidRequest, match="request id"):
        check_request_id("ü" * 257)

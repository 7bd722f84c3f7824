# SPDX-License-Identifier: Apache-2.0
"""Streamed text equals the text of all ids, whatever the cuts."""

import random

import pytest

from budgetforce.text.detokenizer import StreamDecoder

TEXTS = ["plain", "héllo — naïve", "日本語のテスト", "👩‍👩‍👧‍👦 family 🏳️‍🌈", "नमस्ते", "mixed 中😀é\n\ttab"]


def decode_in_pieces(token_bytes, ids, size):
    decoder = StreamDecoder(token_bytes)
    pieces = [decoder.feed(ids[start : start + size]) for start in range(0, len(ids), size)]
    return "".join(pieces) + decoder.flush()


@pytest.mark.parametrize("text", TEXTS)
def test_any_cut_gives_the_whole_text(tokenizer, text):
    """Emoji and CJK are split across tokens; no piece holds half a character."""
    ids = tokenizer.encode(text)
    for size in range(1, len(ids) + 1):
        assert text == decode_in_pieces(tokenizer.token_bytes, ids, size)


def test_bytes_that_are_no_text_are_decoded_as_by_the_library(tokenizer, smollm2):
    """Random ids, broken UTF-8 included, against the tokenizers library's own decoding."""
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(str(smollm2.tokenizer / "tokenizer.json"))
    rng = random.Random(0)
    for _ in range(300):
        ids = [rng.randrange(len(tokenizer.token_bytes)) for _ in range(20)]
        assert library.decode(ids, skip_special_tokens=False) == decode_in_pieces(tokenizer.token_bytes, ids, 1)


def test_ids_outside_the_vocabulary_add_nothing(tokenizer):
    """A phantom row of the embedding, a negative id."""
    (known,) = tokenizer.encode("a")
    decoder = StreamDecoder(tokenizer.token_bytes)
    assert decoder.feed([known, 10**9, -1, known]) + decoder.flush() == "aa"


def test_an_unfinished_character_is_held_back_and_then_replaced():
    """Never shown half; at the end of the stream it becomes U+FFFD."""
    first, second = "é".encode()[:1], "é".encode()[1:]
    decoder = StreamDecoder([first, second])
    assert decoder.feed([0]) == ""
    assert decoder.feed([1]) == "é"
    assert decoder.feed([0]) == ""
    assert decoder.flush() == "�"

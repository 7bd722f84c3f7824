# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of s1-tiny: letters and digits stay single, "Wait" is one token, and everybody encodes alike."""

import pytest
from transformers import AutoTokenizer

from budgetforce.curating.tiny_tokenizer import CONTROL_TOKENS, tokenizer, write_tokenizer
from budgetforce.text.tokenizer import ChatTokenizer

TEXTS = [
    "How many r in raspberry",
    'Count r in "raspberry".',
    "Glance: 2.\nWait, spell: r1a1s1. So 1.",
    "Start at 7: +5 *3",
    "ÄÖ 漢字 🙂\n\n",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


@pytest.mark.parametrize("text", TEXTS)
def test_transformers_and_the_server_encode_alike_and_lose_nothing(folder, text):
    ids = tokenizer().encode(text).ids
    assert tokenizer().decode(ids) == text
    assert AutoTokenizer.from_pretrained(folder).encode(text) == ids == list(ChatTokenizer.load(folder).encode(text))


@pytest.mark.parametrize("text", ["raspberry", "391", "Wait", ".\n", "Final Answer:"])
def test_lower_case_words_and_numbers_stay_single_characters(text):
    expected = {"raspberry": list("raspberry"), "391": list("391"), "Final Answer:": ["Final", "ĠAnswer", ":"], ".\n": [".Ċ"]}
    assert tokenizer().encode(text).tokens == expected.get(text, [text])


def test_control_tokens_come_last_and_rows_fill_blocks_of_32():
    vocabulary = tokenizer().get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert [vocabulary[token] for token in CONTROL_TOKENS] == list(range(len(vocabulary) - len(CONTROL_TOKENS), len(vocabulary)))
    assert len(vocabulary) <= 352


def test_chats_render_as_by_qwen25(folder, qwen_as_published):
    chat = [
        {"role": "user", "content": "How many r in raspberry"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "So?"},
    ]
    for messages in (chat, chat[:1], [{"role": "system", "content": "Be brief."}, *chat]):
        ours, theirs = (
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            for tokenizer in (AutoTokenizer.from_pretrained(folder), qwen_as_published)
        )
        assert ours == theirs


def test_the_files_are_the_same_each_time(folder, tmp_path):
    write_tokenizer(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()

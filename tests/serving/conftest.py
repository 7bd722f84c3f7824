# SPDX-License-Identifier: Apache-2.0
"""What the tests of ``s1`` share: tokenizers that are loaded once."""

from functools import cache

import pytest

from budgetforce.text.tokenizer import ChatTokenizer

load_once = cache(ChatTokenizer.load)


@pytest.fixture(autouse=True)
def tokenizers_are_loaded_once(monkeypatch):
    """A tokenizer has no state that a request changes; loading SmolLM2's takes a second, and each of these tests starts ``s1`` anew."""
    monkeypatch.setattr(ChatTokenizer, "load", load_once)

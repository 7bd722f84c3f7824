# SPDX-License-Identifier: Apache-2.0
"""How large a request may be: checked before anything is done with its values. Knows no Triton.

Decoding, parsing and encoding take time in proportion to the size, in the process that serves
all other requests too. What is allowed must stay within a second of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from budgetforce.errors import InvalidRequest

TEXTS = ("text_input", "messages", "answer_prefix")
WORD_LISTS = ("ignore_str", "stop_words", "bad_words", "thinking_bad_words")
MAX_NAME_BYTES = 256  # of strings that choose among names
MAX_ID_BYTES = 512  # of a request's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The sizes that are parameters of model ``s1`` (config.pbtxt).

    Attributes:
        max_text_bytes: of text_input, messages and answer_prefix, each.
        max_words: strings in ignore_str, stop_words, bad_words and thinking_bad_words, each.
        max_words_bytes: of all strings of such a list together.
    """

    max_text_bytes: int
    max_words: int
    max_words_bytes: int

    def check(self, field: str, values: Sequence[Any] | npt.NDArray[Any]) -> None:
        """Raise InvalidRequest if the field's values are too many or too long. Strings are bytes."""
        if field in WORD_LISTS:
            _refuse_above(self.max_words, len(values), field, "strings")
            _refuse_above(self.max_words_bytes, sum(map(len, values)), field, "bytes together")
            return
        limit = self.max_text_bytes if field in TEXTS else MAX_NAME_BYTES
        for value in values[:1]:  # Triton lets no further ones pass
            if isinstance(value, bytes):
                _refuse_above(limit, len(value), field, "bytes")


def check_request_id(request_id: str) -> None:
    """Raise InvalidRequest if the id is too long: every message of the request repeats it."""
    _refuse_above(MAX_ID_BYTES, len(request_id.encode()), "request id", "bytes")


def _refuse_above(limit: int, size: int, field: str, unit: str) -> None:
    if size > limit:
        raise InvalidRequest(field, f"{size} {unit}", f"at most {limit} {unit}")

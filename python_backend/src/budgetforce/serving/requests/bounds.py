# SPDX-License-Identifier: Apache-2.0
"""Size limits of request fields, checked before their values are used. Independent of Triton.

Decoding, parsing and encoding take time in proportion to the size, in the process that also serves all other requests. The limits keep
it within a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from budgetforce.errors import InvalidRequest

TEXTS = ("text_input", "messages", "answer_prefix")
WORD_LISTS = ("ignore_str", "stop_words", "bad_words", "thinking_bad_words")
MAX_NAME_BYTES = 256  # of a string that selects a name, such as preset
MAX_ID_BYTES = 512  # of a request's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The size limits that are parameters of model ``s1`` (config.pbtxt).

    Attributes:
        max_text_bytes: bytes of text_input, of messages and of answer_prefix.
        max_words: strings in each of ignore_str, stop_words, bad_words and thinking_bad_words.
        max_words_bytes: bytes of all strings in such a list together.
    """

    max_text_bytes: int
    max_words: int
    max_words_bytes: int

    def check(self, field: str, values: Sequence[Any] | npt.NDArray[Any]) -> None:
        """Raise InvalidRequest if ``field`` has too many values or too long ones. Strings are given as bytes."""
        if field in WORD_LISTS:
            _refuse_above(self.max_words, len(values), field, "strings")
            _refuse_above(self.max_words_bytes, sum(map(len, values)), field, "bytes together")
            return
        limit = self.max_text_bytes if field in TEXTS else MAX_NAME_BYTES
        for value in values[:1]:  # Triton rejects a second value
            if isinstance(value, bytes):
                _refuse_above(limit, len(value), field, "bytes")


def check_request_id(request_id: str) -> None:
    """Raise InvalidRequest if the id is too long: every message about the request repeats it."""
    _refuse_above(MAX_ID_BYTES, len(request_id.encode()), "request id", "bytes")


def _refuse_above(limit: int, size: int, field: str, unit: str) -> None:
    if size > limit:
        raise InvalidRequest(field, f"{size} {unit}", f"at most {limit} {unit}")

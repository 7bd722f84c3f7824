# SPDX-License-Identifier: Apache-2.0
"""What a caller of ``s1`` may ask, checked. Knows no Triton, no tokenizer, no engine.

The names are those of the tensors in model_repository/s1/config.pbtxt. A field that is not
given is None: what it then becomes is the preset's business (``planning``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from budgetforce import presets
from budgetforce.errors import InvalidRequest

ROLES = ("system", "user", "assistant")

Message = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRequest:
    """One request, every field checked by itself; what depends on the model is checked in ``planning``."""

    messages: tuple[Message, ...]
    prompt_field: str
    stream: bool = False
    preset: str | None = None
    max_thinking_tokens: int | None = None
    num_ignore: int | None = None
    ignore_str: str | None = None
    max_tokens: int | None = None
    stop_words: tuple[str, ...] = ()
    bad_words: tuple[str, ...] = ()
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


def read_reply_request(inputs: Mapping[str, Sequence[Any]]) -> ReplyRequest:
    """Check the tensors of a request, given as flat lists by name (strings as bytes).

    Raises InvalidRequest naming the first field that is wrong.
    """
    take = _Taker(inputs)
    field, messages = _read_prompt(take)
    return ReplyRequest(
        messages=messages,
        prompt_field=field,
        stream=bool(take("stream", _anything, "true or false") or False),
        preset=take("preset", lambda v: v in presets.names(), f"one of {', '.join(presets.names())}"),
        max_thinking_tokens=take("max_thinking_tokens", lambda v: v >= -1, "an integer >= -1 (-1 = what the context allows)"),
        num_ignore=take("num_ignore", lambda v: v >= 0, "an integer >= 0"),
        ignore_str=take("ignore_str", _anything, "a string"),
        max_tokens=take("max_tokens", lambda v: v >= 1, "an integer >= 1"),
        stop_words=take.words("stop_words"),
        bad_words=take.words("bad_words"),
        temperature=take("temperature", lambda v: v >= 0, "a number >= 0 (0 = greedy)"),
        top_k=take("top_k", lambda v: v >= 0, "an integer >= 0 (0 = off)"),
        top_p=take("top_p", lambda v: 0 < v <= 1, "0 < top_p <= 1"),
        seed=take("seed", _anything, "an unsigned integer"),
        repetition_penalty=take("repetition_penalty", lambda v: v > 0, "a number > 0"),
        presence_penalty=take("presence_penalty", lambda v: -2 <= v <= 2, "-2 to 2"),
        frequency_penalty=take("frequency_penalty", lambda v: -2 <= v <= 2, "-2 to 2"),
    )


class _Taker:
    """Takes fields out of the inputs, each checked against a rule."""

    def __init__(self, inputs: Mapping[str, Sequence[Any]]) -> None:
        self._inputs = inputs

    def __call__(self, field: str, is_allowed: Callable[[Any], bool], allowed: str) -> Any:
        values = self._inputs.get(field)
        if values is None:
            return None
        if len(values) != 1:
            raise InvalidRequest(field, f"{len(values)} values", f"one value: {allowed}")
        value = self._text(field, values[0])
        if (isinstance(value, float) and not math.isfinite(value)) or not is_allowed(value):
            raise InvalidRequest(field, value, allowed)
        return value

    def words(self, field: str) -> tuple[str, ...]:
        """A list of strings; empty ones mean nothing, as clients of the stock models send them."""
        texts = (self._text(field, value) for value in self._inputs.get(field, ()))
        return tuple(text for text in texts if text)

    def _text(self, field: str, value: Any) -> Any:
        if not isinstance(value, bytes):
            return value
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(field, value[:20].hex(" "), "UTF-8 text") from None


def _anything(_: Any) -> bool:
    return True


def _read_prompt(take: _Taker) -> tuple[str, tuple[Message, ...]]:
    text = take("text_input", lambda v: v.strip() != "", "a text that is not empty")
    messages = take("messages", _anything, "JSON")
    if (text is None) == (messages is None):
        got = "neither" if text is None else "both"
        raise InvalidRequest("text_input", got, "either text_input or messages, not both")
    if text is not None:
        return "text_input", ({"role": "user", "content": text},)
    return "messages", _read_messages(messages)


def _read_messages(text: str) -> tuple[Message, ...]:
    allowed = f'a JSON list of {{"role": one of {", ".join(ROLES)}, "content": text}}, the last one from user'
    try:
        messages = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidRequest("messages", text, f"{allowed} ({error})") from None
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages", messages, allowed)
    for message in messages:
        _check_message(message, allowed)
    if messages[-1]["role"] != "user":
        raise InvalidRequest("messages", messages[-1], allowed)
    return tuple(messages)


def _check_message(message: Any, allowed: str) -> None:
    if not isinstance(message, dict) or set(message) != {"role", "content"} or message["role"] not in ROLES:
        raise InvalidRequest("messages", message, allowed)
    if not isinstance(message["content"], str) or not message["content"].strip():
        raise InvalidRequest("messages", message, f"{allowed}, no content empty")
    try:
        message["content"].encode()
    except UnicodeEncodeError:
        raise InvalidRequest("messages", "a lone surrogate", "text that UTF-8 can hold") from None

# SPDX-License-Identifier: Apache-2.0
"""The fields of a request to ``s1``, each checked by itself. Independent of Triton, no tokenizer, no engine.

The names are those of the tensors in model_repository/s1/config.pbtxt. A field that the request does not set is None; the preset
decides its value later (``planning``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from budgetforce import presets
from budgetforce.core import Phase, ThinkingMode
from budgetforce.errors import InvalidRequest

ROLES = ("system", "user", "assistant")
ON_TIMEOUT = ("cancel", "answer")
MAX_SAMPLES = 64  # the largest majority vote in the s1 paper

Message = dict[str, str]
Rule = tuple[Callable[[Any], bool], str]

# Sampling fields with a single value. Each also exists as thinking_<name>, for thinking alone.
SAMPLING_RULES: dict[str, Rule] = {
    "temperature": (lambda v: v >= 0, "a number >= 0 (0 = greedy)"),
    "top_k": (lambda v: v >= 0, "an integer >= 0 (0 = off)"),
    "top_p": (lambda v: 0 < v <= 1, "0 < {name} <= 1"),
    "seed": (lambda _: True, "an unsigned integer"),
    "repetition_penalty": (lambda v: v > 0, "a number > 0"),
    "presence_penalty": (lambda v: -2 <= v <= 2, "-2 to 2"),
    "frequency_penalty": (lambda v: -2 <= v <= 2, "-2 to 2"),
}


def field_of(name: str, phase: Phase, thinking_fields: Container[str]) -> str:
    """Return the request field that sets ``name`` in ``phase``: thinking_NAME if the request has it (``thinking_fields``)."""
    return f"thinking_{name}" if phase is Phase.THINKING and name in thinking_fields else name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRequest:
    """A request whose fields are valid by themselves. Limits that depend on the model are checked in ``planning``.

    Attributes:
        sampling, thinking_sampling: the fields of SAMPLING_RULES and bad_words that the request sets.
    """

    messages: tuple[Message, ...]
    prompt_field: str
    stream: bool = False
    preset: str | None = None
    thinking: ThinkingMode = ThinkingMode.FORCED
    max_thinking_tokens: int | None = None
    reasoning_effort: str | None = None
    min_thinking_tokens: int | None = None
    num_ignore: int | None = None
    ignore_str: tuple[str, ...] | None = None
    grace_tokens: int | None = None
    answer_prefix: str | None = None
    answer_prefix_policy: str | None = None
    max_tokens: int | None = None
    max_total_tokens: int | None = None
    num_samples: int = 1
    priority: int = 0
    timeout_ms: int | None = None
    on_timeout: str | None = None
    stop_words: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    thinking_sampling: Mapping[str, Any] = field(default_factory=dict)


def read_reply_request(inputs: Mapping[str, Sequence[Any]], max_messages: int = 2048) -> ReplyRequest:
    """Return the request in ``inputs``: flat lists by tensor name, strings as bytes.

    Raises InvalidRequest naming the first field with a value that is not allowed.
    """
    read = _FieldReader(inputs)
    prompt_field, messages = _read_prompt(read, max_messages)
    read("exclude_input_in_output", bool, "true: a reply never holds its prompt")
    return ReplyRequest(
        messages=messages,
        prompt_field=prompt_field,
        stream=bool(read("stream", _any_value, "true or false") or False),
        preset=read("preset", *_one_of(presets.names())),
        thinking=ThinkingMode(read("thinking", *_one_of([mode.value for mode in ThinkingMode])) or "forced"),
        max_thinking_tokens=read("max_thinking_tokens", lambda v: v >= -1, "an integer >= -1 (-1 = what the context allows)"),
        reasoning_effort=read("reasoning_effort", *_one_of(presets.EFFORTS)),
        min_thinking_tokens=read("min_thinking_tokens", *_NOT_NEGATIVE),
        num_ignore=read("num_ignore", *_NOT_NEGATIVE),
        ignore_str=read.texts("ignore_str"),
        grace_tokens=read("grace_tokens", *_NOT_NEGATIVE),
        answer_prefix=read("answer_prefix", _any_value, "a string"),
        answer_prefix_policy=read("answer_prefix_policy", *_one_of(presets.PREFIX_POLICIES)),
        max_tokens=read("max_tokens", lambda v: v >= 1, "an integer >= 1"),
        max_total_tokens=read("max_total_tokens", lambda v: v >= 1, "an integer >= 1"),
        num_samples=read("num_samples", lambda v: 1 <= v <= MAX_SAMPLES, f"1 to {MAX_SAMPLES}") or 1,
        priority=read("priority", _any_value, "an integer") or 0,
        timeout_ms=read("timeout_ms", lambda v: v >= 1, "an integer >= 1"),
        on_timeout=read("on_timeout", *_one_of(ON_TIMEOUT)),
        stop_words=read.words("stop_words"),
        sampling=read.sampling(""),
        thinking_sampling=read.sampling("thinking_"),
    )


COMMANDS = ("answer_now", "cancel")


def read_command(inputs: Mapping[str, Sequence[Any]]) -> str | None:
    """Return the command to the running request of the same id, None if the request is not a command.

    Raises InvalidRequest if a command comes with any other field.
    """
    commands = [name for name in COMMANDS if _FieldReader(inputs)(name, _any_value, "true or false")]
    if not commands:
        return None
    others = sorted(set(inputs) - {commands[0], "stream"})
    if others:
        raise InvalidRequest(others[0], "a value", f"nothing: {commands[0]} stands alone, in a request with the id of the running request")
    return commands[0]


class _FieldReader:
    """Reads fields from the inputs and checks each against a rule."""

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

    def sampling(self, prefix: str) -> dict[str, Any]:
        """Return the sampling fields that are set, by their names without the prefix."""
        values = {
            name: self(f"{prefix}{name}", is_allowed, allowed.format(name=f"{prefix}{name}"))
            for name, (is_allowed, allowed) in SAMPLING_RULES.items()
        }
        values["bad_words"] = self.words(f"{prefix}bad_words") or None
        return {name: value for name, value in values.items() if value is not None}

    def texts(self, field: str) -> tuple[str, ...] | None:
        """Return a list of strings, which may be empty; None if the field is not set."""
        values = self._inputs.get(field)
        if values is not None and len(values) == 0:
            raise InvalidRequest(field, "no value", "at least one string")
        return None if values is None else tuple(self._text(field, value) for value in values)

    def words(self, field: str) -> tuple[str, ...]:
        """Return a list of strings without the empty ones, which clients of the stock models send for "none"."""
        texts = (self._text(field, value) for value in self._inputs.get(field, ()))
        return tuple(text for text in texts if text)

    def _text(self, field: str, value: Any) -> Any:
        if not isinstance(value, bytes):
            return value
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(field, value[:20].hex(" "), "UTF-8 text") from None


def _any_value(_: Any) -> bool:
    return True


def _one_of(words: Sequence[str]) -> Rule:
    return lambda value: value in words, f"one of {', '.join(words)}"


_NOT_NEGATIVE: Rule = (lambda value: value >= 0, "an integer >= 0")


def _read_prompt(read: _FieldReader, max_messages: int) -> tuple[str, tuple[Message, ...]]:
    text = read("text_input", lambda v: v.strip() != "", "a text that is not empty")
    messages = read("messages", _any_value, "JSON")
    if (text is None) == (messages is None):
        got = "neither" if text is None else "both"
        raise InvalidRequest("text_input", got, "either text_input or messages, not both")
    if text is not None:
        return "text_input", ({"role": "user", "content": text},)
    return "messages", _read_messages(messages, max_messages)


def _read_messages(text: str, max_messages: int) -> tuple[Message, ...]:
    allowed = f'a JSON list of {{"role": one of {", ".join(ROLES)}, "content": text}}, the last one from user'
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise InvalidRequest("messages", text, f"{allowed} ({error})") from None
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages", messages, allowed)
    if len(messages) > max_messages:
        raise InvalidRequest("messages", f"{len(messages)} messages", f"at most {max_messages} messages")
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

# SPDX-License-Identifier: Apache-2.0
"""Encodes chat messages and texts to ids.

Text of a user can never become a control token: a copy of the tokenizer without added tokens
encodes it, and only control tokens that the chat template itself wrote get their ids. For text
that spells no control token the result equals that of transformers, id for id.

A text may be a megabyte long while other requests' threads must run: no step holds the GIL for
longer than a single pass over the text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from budgetforce.errors import ConfigError, InvalidRequest

# The end of a line, or of a sentence with its closing quotes, brackets and spaces.
_BOUNDARY = re.compile(r"""(\n|[.!?\u2026\u3002\uff01\uff1f]["'”’»)\]}*]*)[ \t]*$""")
_SHORT = 100  # characters
# Unicode's private use areas: they have no meaning in any text.
_PRIVATE_USE = (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))


class ChatTokenizer:
    """A model's tokenizer. Thread-safe.

    Attributes:
        token_bytes: bytes of every id; the index is the id.
        line_break_bearing: ids whose text ends in a line break.
        boundary_bearing: ids whose text ends a line or, judged by the token alone, a sentence.
        fragments: bytes of the ids that are not whole characters.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise ConfigError for a tokenizer that is no byte-level BPE or has no chat template."""
        backend: Tokenizer = tokenizer.backend_tokenizer
        spec = json.loads(backend.to_str())
        if (spec.get("decoder") or {}).get("type") != "ByteLevel":
            raise ConfigError("tokenizer: a byte-level BPE is needed (Qwen, Llama 3, SmolLM2 and GPT-2 have one)")
        if not tokenizer.chat_template:
            raise ConfigError("tokenizer: it has no chat template")
        self._template = tokenizer
        self._plain = Tokenizer.from_str(json.dumps({**spec, "added_tokens": []}))
        self._encode_short = lru_cache(maxsize=1024)(lambda text: self._encode_batch([text])[0])
        self._control_ids = {token["content"]: int(token["id"]) for token in spec["added_tokens"] if len(token["content"]) > 1}
        self._longest_first = sorted(self._control_ids, key=len, reverse=True)
        self.token_bytes = _token_bytes(backend)
        self._bytes_of_a_token, self._words_of_a_token = _most_of_a_token(spec["normalizer"], self.token_bytes)
        self.line_break_bearing = frozenset(i for i, b in enumerate(self.token_bytes) if b.endswith(b"\n"))
        self.fragments = {i: b for i, b in enumerate(self.token_bytes) if not _is_text(b)}
        control_ids = frozenset(self._control_ids.values())
        texts = ((i, b.decode(errors="replace")) for i, b in enumerate(self.token_bytes) if i not in control_ids)
        self.boundary_bearing = frozenset(i for i, text in texts if _BOUNDARY.search(text))

    @classmethod
    def load(cls, path: Path) -> ChatTokenizer:
        """Read a tokenizer folder. Raises ConfigError if it holds no usable tokenizer."""
        try:
            return cls(AutoTokenizer.from_pretrained(str(path), local_files_only=True))
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"tokenizer: cannot load {path}: {str(error).splitlines()[0]}") from error

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of a user's text; control tokens spelt in it stay text."""
        return self._encode_each([text])[0]

    def fewest_tokens(self, texts: Sequence[str]) -> int:
        """Return a lower bound on the texts' number of tokens, without encoding them: a megabyte takes milliseconds."""
        num_bytes = sum(len(text.encode()) for text in texts)
        num_words = sum(len(text.split()) for text in texts)
        return int(max(num_bytes / self._bytes_of_a_token, num_words / self._words_of_a_token))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; ids outside the vocabulary have none."""
        table = self.token_bytes
        return b"".join(table[i] if 0 <= i < len(table) else b"" for i in ids).decode(errors="replace")

    def controls_in(self, text: str) -> list[str]:
        """Return the control tokens that a text spells, in order."""
        return [control for _, control in self._find_controls(text)]

    def encode_marker(self, text: str) -> tuple[int, ...]:
        """Return the ids of a preset's text, in which spelt control tokens become control tokens."""
        return self._encode_around_controls(text)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Return the ids of a chat, rendered by the model's template up to the start of the assistant's turn.

        Each message has ``role`` and ``content``. A guard character splits control tokens that are
        spelt in a content before the template sees them; it is removed again after the template's
        own control tokens have been found.

        Raises InvalidRequest if the template refuses the messages.
        """
        guard = _unused_character([message["content"] for message in messages])
        guarded = [{**message, "content": self._break_controls(message["content"], guard)} for message in messages]
        try:
            rendered = self._template.apply_chat_template(guarded, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise InvalidRequest(
                "messages", [message["role"] for message in messages], f"messages that the template accepts: {error}"
            ) from error
        assert isinstance(rendered, str)
        return self._encode_around_controls(rendered, guard)

    def _encode_each(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the ids of each text. Short ones are remembered: those of templates and presets come with every request."""
        long = iter(self._encode_batch([text for text in texts if len(text) > _SHORT]))
        return [self._encode_short(text) if len(text) <= _SHORT else next(long) for text in texts]

    def _encode_batch(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the ids of each text. Only the library's batch methods release the GIL."""
        return [tuple(encoded.ids) for encoded in self._plain.encode_batch_fast(texts, add_special_tokens=False)] if texts else []

    def _encode_around_controls(self, text: str, guard: str = "") -> tuple[int, ...]:
        controls = list(self._find_controls(text))
        starts = [0, *(start + len(control) for start, control in controls)]
        ends = [*(start for start, _ in controls), len(text)]
        between = self._encode_each([text[start:end].replace(guard, "") for start, end in zip(starts, ends, strict=True)])
        ids = list(between[0])
        for (_, control), behind in zip(controls, between[1:], strict=True):
            ids += [self._control_ids[control], *behind]
        return tuple(ids)

    def _find_controls(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield position and text of each control token, in order; at each position the longest.

        Each token is searched separately: a regular expression for all tokens holds the GIL until it finds a match.
        """
        found = {control: text.find(control) for control in self._longest_first}
        while found := {control: start for control, start in found.items() if start >= 0}:
            first = min(found, key=lambda control: found[control])  # at equal positions the longest, which comes first
            end = found[first] + len(first)
            yield found[first], first
            found = {control: start if start >= end else text.find(control, end) for control, start in found.items()}

    def _break_controls(self, text: str, guard: str) -> str:
        while spelt := [control for control in self._longest_first if control in text]:  # again: a split may leave an overlapping token
            for control in spelt:
                text = text.replace(control, f"{control[0]}{guard}{control[1:]}")
        return text


def _most_of_a_token(normalizer: Mapping[str, Any] | None, token_bytes: Sequence[bytes]) -> tuple[float, float]:
    """Return the maximum number of bytes, and of words or parts of words, that a token stands for.

    NFC shortens text at most threefold: it composes the nine bytes of a Korean syllable to three. The effect of other
    normalizers is unknown: with them a token may stand for any number.
    """
    if normalizer is not None and normalizer["type"] != "NFC":
        return math.inf, math.inf
    num_bytes = max(map(len, token_bytes)) * (1 if normalizer is None else 3)
    return num_bytes, max(len(data.decode(errors="replace").split()) for data in token_bytes)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unused_character(texts: Sequence[str]) -> str:
    used = set().union(*texts)
    unused = next((chr(code) for code in _PRIVATE_USE if chr(code) not in used), None)
    if unused is None:
        raise InvalidRequest("messages", "every private use character of Unicode", "a text that leaves at least one unused")
    return unused


def _token_bytes(backend: Tokenizer) -> list[bytes]:
    """Return the bytes of every id. A token with a character outside the byte alphabet stands for its own UTF-8."""
    byte_of = _byte_alphabet()
    table = [b""] * backend.get_vocab_size(with_added_tokens=True)
    for token, token_id in backend.get_vocab(with_added_tokens=True).items():
        known = all(character in byte_of for character in token)
        table[token_id] = bytes(byte_of[c] for c in token) if known else token.encode()
    return table


def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each character of GPT-2's byte alphabet: printable bytes stand for themselves, the others for U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}

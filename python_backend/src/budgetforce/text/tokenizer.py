# SPDX-License-Identifier: Apache-2.0
"""Chat messages and texts to ids.

What a user writes can never become a control token: text is encoded by a copy of the
tokenizer that knows no added tokens, and only the control tokens that the chat template
itself wrote are turned into their ids. For text that spells no control token the result
is id for id what transformers gives.

A text may be a megabyte long, and other requests' threads must run meanwhile: no step holds the
GIL for longer than it takes to read the text once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from budgetforce.errors import ConfigError, InvalidRequest

# The end of a line, or of a sentence with what may close it: quotes, brackets, spaces.
_BOUNDARY = re.compile(r"""(\n|[.!?\u2026\u3002\uff01\uff1f]["'”’»)\]}*]*)[ \t]*$""")
# Unicode's private use areas: no text means anything by them.
_PRIVATE_USE = (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))


class ChatTokenizer:
    """A model's tokenizer. Safe to use from several threads.

    Attributes:
        token_bytes: the bytes of every id, index = id.
        line_break_bearing: the ids whose text ends in a line break.
        boundary_bearing: the ids whose text ends a line or, as far as one token can tell, a sentence.
        fragments: the bytes of the ids that hold no whole characters.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises ConfigError for a tokenizer that is no byte-level BPE or has no chat template."""
        backend: Tokenizer = tokenizer.backend_tokenizer
        spec = json.loads(backend.to_str())
        if (spec.get("decoder") or {}).get("type") != "ByteLevel":
            raise ConfigError("tokenizer: a byte-level BPE is needed (Qwen, Llama 3, SmolLM2 and GPT-2 have one)")
        if not tokenizer.chat_template:
            raise ConfigError("tokenizer: it has no chat template")
        self._template = tokenizer
        self._plain = Tokenizer.from_str(json.dumps({**spec, "added_tokens": []}))
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
        """Read a tokenizer folder. Raises ConfigError if there is none that can be used."""
        try:
            return cls(AutoTokenizer.from_pretrained(str(path), local_files_only=True))
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"tokenizer: cannot load {path}: {str(error).splitlines()[0]}") from error

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a user's text; control tokens spelt in it stay text."""
        return self._encode_each([text])[0]

    def fewest_tokens(self, texts: Sequence[str]) -> int:
        """The number of tokens that the texts have at least. Encodes nothing: a megabyte takes milliseconds."""
        num_bytes = sum(len(text.encode()) for text in texts)
        num_words = sum(len(text.split()) for text in texts)
        return int(max(num_bytes / self._bytes_of_a_token, num_words / self._words_of_a_token))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; those that are no tokens have none."""
        table = self.token_bytes
        return b"".join(table[i] if 0 <= i < len(table) else b"" for i in ids).decode(errors="replace")

    def controls_in(self, text: str) -> list[str]:
        """The control tokens that a text spells."""
        return [control for _, control in self._find_controls(text)]

    def encode_marker(self, text: str) -> tuple[int, ...]:
        """The ids of a text of ours, in which control tokens count."""
        return self._encode_around_controls(text)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """The ids of a chat, rendered by the model's template and open for the assistant's turn.

        Each message has ``role`` and ``content``. A control token spelt in a content is broken
        by a guard character before the template sees it; the guard is taken out again after
        the template's own control tokens have been found.

        Raises InvalidRequest if the template refuses the messages.
        """
        guard = _unused_character([message["content"] for message in messages])
        guarded = [{**message, "content": self._break_controls(message["content"], guard)} for message in messages]
        try:
            rendered = self._template.apply_chat_template(guarded, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise InvalidRequest("messages", [message["role"] for message in messages], f"what the chat template takes: {error}") from error
        assert isinstance(rendered, str)
        return self._encode_around_controls(rendered, guard)

    def _encode_each(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of each text. Of the library's methods only those for batches let other threads run meanwhile."""
        return [tuple(encoded.ids) for encoded in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)]

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
        """Yield where a control token stands and which, in order, the longest at each place.

        A search for one token at a time: a regular expression for all of them holds the GIL until it finds one.
        """
        found = {control: text.find(control) for control in self._longest_first}
        while found := {control: start for control, start in found.items() if start >= 0}:
            first = min(found, key=lambda control: found[control])  # of equal ones the longest, which stands before
            end = found[first] + len(first)
            yield found[first], first
            found = {control: start if start >= end else text.find(control, end) for control, start in found.items()}

    def _break_controls(self, text: str, guard: str) -> str:
        while spelt := [control for control in self._longest_first if control in text]:  # again: breaking one may leave an overlapping one
            for control in spelt:
                text = text.replace(control, f"{control[0]}{guard}{control[1:]}")
        return text


def _most_of_a_token(normalizer: Mapping[str, Any] | None, token_bytes: Sequence[bytes]) -> tuple[float, float]:
    """How many bytes, and how many words or parts of words, a token stands for at most.

    NFC makes three bytes of nine where it composes a Korean syllable, and shortens nothing further. What another
    normalizer does is not known: then a token may stand for any number.
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
        raise InvalidRequest("messages", "every private use character there is", "a text that leaves one of them out")
    return unused


def _token_bytes(backend: Tokenizer) -> list[bytes]:
    """The bytes of every id. A token with a character outside the byte alphabet stands for its own UTF-8."""
    byte_of = _byte_alphabet()
    table = [b""] * backend.get_vocab_size(with_added_tokens=True)
    for token, token_id in backend.get_vocab(with_added_tokens=True).items():
        known = all(character in byte_of for character in token)
        table[token_id] = bytes(byte_of[c] for c in token) if known else token.encode()
    return table


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte: itself if printable, else the next free one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}

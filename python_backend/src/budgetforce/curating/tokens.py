# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a recipe: counts tokens, finds control tokens in texts, encodes texts that contain markers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from budgetforce.building.stage import BuildFailed
from budgetforce.text.tokenizer_files import TOKENIZER_FILES

_BATCH = 10_000  # texts that are encoded together


class Tokens:
    """A tokenizer folder. Raises BuildFailed if ``tokenizer.json`` cannot be read.

    Attributes:
        controls: the spellings of control tokens, such as ``<|im_start|>``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            text = (folder / "tokenizer.json").read_text(encoding="utf-8")
            spec: dict[str, Any] = json.loads(text)
            self._marked: Tokenizer = Tokenizer.from_str(text)
            self._plain: Tokenizer = Tokenizer.from_str(json.dumps({**spec, "added_tokens": []}))
        except Exception as error:  # noqa: BLE001  # tokenizers raises Exception itself
            raise BuildFailed(f"tokenizer {folder}: tokenizer.json cannot be read: {error}") from None
        self.controls = sorted((token["content"] for token in spec["added_tokens"] if len(token["content"]) > 1), key=len, reverse=True)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text; control tokens that it spells count as text."""
        starts = range(0, len(texts), _BATCH)
        batches = (self._plain.encode_batch_fast(list(texts[start : start + _BATCH]), add_special_tokens=False) for start in starts)
        return [len(encoded.ids) for batch in batches for encoded in batch]

    def encode_marked(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; control tokens that it spells become their ids."""
        starts = range(0, len(texts), _BATCH)
        batches = (self._marked.encode_batch_fast(list(texts[start : start + _BATCH]), add_special_tokens=False) for start in starts)
        return [encoded.ids for batch in batches for encoded in batch]

    def controls_in(self, text: str) -> list[str]:
        """Return the control tokens that a text spells, the longest first."""
        return [control for control in self.controls if control in text]

    @cached_property
    def chat_template(self) -> Any:
        """The transformers tokenizer, for ``apply_chat_template``. Raises BuildFailed if it cannot be loaded."""
        from transformers import AutoTokenizer  # takes seconds

        try:
            return AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise BuildFailed(f"tokenizer {self.folder}: {str(error).splitlines()[0]}") from None

    @cached_property
    def sha256(self) -> str:
        """Digest of the names and contents of the tokenizer's files."""
        digest = hashlib.sha256()
        for name in TOKENIZER_FILES:
            if (self.folder / name).is_file():
                digest.update(f"{name}\n{hashlib.sha256((self.folder / name).read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()


@cache
def load(folder: str) -> Tokens:
    """Return the tokenizer of a folder, which is read once."""
    return Tokens(Path(folder))

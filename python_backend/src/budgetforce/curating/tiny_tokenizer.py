# SPDX-License-Identifier: Apache-2.0
"""Build the tokenizer of s1-tiny: byte-level BPE with Qwen2.5's split pattern, control tokens and chat template.

A tiny model must see the letters of a word and the digits of a number, so lower-case words and numbers stay single characters. A space
is a token of its own, so that a letter is the same token everywhere and can be copied. Only words that begin with a capital letter,
which puzzles do not contain, are single tokens, "Wait" among them, and so is the end of a line behind a full stop. The default system
prompt is a token too: spelt out it would be a third of all tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

SYSTEM_PROMPT = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."  # Qwen2.5's default
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", SYSTEM_PROMPT)
MODEL_MAX_LENGTH = 2048
# Words that are one token; the space is the letter in front that byte-level BPE writes as U+0120.
_WORDS = ("Wait", "Final", "Answer", "Glance", "So", "How", "What", "Start", "Count", "Result")
_WORDS_BEHIND_SPACE = ("Answer", "So", "Result")
_SPACE, _LINE_BREAK = "\u0120", "\u010a"
# Of Qwen2.5-32B-Instruct's tokenizer.json.
_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Renders chats without tools as Qwen2.5's own template does, default system prompt included.
CHAT_TEMPLATE = (
    "{%- if messages[0].role != 'system' %}"
    f"{{{{- '<|im_start|>system\\n{SYSTEM_PROMPT}<|im_end|>\\n' }}}}"
    "{%- endif %}"
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into a folder, byte for byte the same each time."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(_config(), indent=2) + "\n")


def tokenizer() -> Tokenizer:
    """Return the tokenizer, without its chat template."""
    merges = _merges()
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *dict.fromkeys(left + right for left, right in merges)]
    built = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in CONTROL_TOKENS])
    return built


def _merges() -> list[tuple[str, str]]:
    """Return the merges in their order: words behind a space come first, so that they win over those at a line's start."""
    chains = [_SPACE + word for word in _WORDS_BEHIND_SPACE] + list(_WORDS) + [f".{_LINE_BREAK}"]
    return list(dict.fromkeys((chain[:end], chain[end]) for chain in chains for end in range(1, len(chain))))


def _config() -> dict[str, Any]:
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": MODEL_MAX_LENGTH,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }

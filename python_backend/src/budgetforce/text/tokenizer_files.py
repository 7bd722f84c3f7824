# SPDX-License-Identifier: Apache-2.0
"""The names of the files that make up a Hugging Face tokenizer. Standard library only."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)

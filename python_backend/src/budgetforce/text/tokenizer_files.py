# SPDX-License-Identifier: Apache-2.0
"""The names of the files that make up a Hugging Face tokenizer. Standard library only."""

# All files that a tokenizer may consist of: for a copy that other programs read, and for the checksum in an engine's manifest.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)

# The files of a prepared model's tokenizer. vocab.json, merges.txt and added_tokens.json are left out: tokenizer.json holds
# their contents, and an added_tokens.json that disagrees with it would change the tokenizer.
PREPARED_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")

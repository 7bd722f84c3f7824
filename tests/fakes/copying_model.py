# SPDX-License-Identifier: Apache-2.0
"""A model built by hand whose next id is predictable and depends on a single KV slot.

It is a Qwen2 of a single layer. Queries and keys come from their biases, so only positions matter:
the attention looks at the id ``OFFSET`` places before, and the head returns that id's successor in
a fixed permutation. The margins are so wide that rounding changes no id. ``OFFSET`` new ids read
every slot of the last ``OFFSET`` positions, more than a KV block: a corrupt slot gives a wrong id.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers.pre_tokenizers import ByteLevel

from budgetforce.engine import gguf_files
from budgetforce.engine.token_engine import ModelLimits

NUM_IDS = 64  # prompts consist of the ids below this
OFFSET = 40
SUCCESSOR = np.random.default_rng(7).permutation(NUM_IDS)

_ROWS = 288  # 256 bytes, a merge and a control token, which the libraries require; Q8_0 needs multiples of 32
_HEAD_DIM = 64
_HIDDEN = 2 * NUM_IDS  # the current id and the id found by attention
_ROPE_THETA = 10.0
_SHARPNESS = 8.0
_INNER = 32  # an MLP of zeros

_CONFIG = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": _HIDDEN, "intermediate_size": _INNER,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": _ROWS, "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-6, "rope_theta": _ROPE_THETA, "tie_word_embeddings": False, "eos_token_id": 257,
}  # fmt: skip


def next_ids(prompt: Sequence[int], num_ids: int) -> list[int]:
    """Return the ids that the model samples greedily after a prompt of more than ``OFFSET`` ids."""
    ids = list(prompt)
    for _ in range(num_ids):
        ids.append(int(SUCCESSOR[ids[len(ids) - 1 - OFFSET]]))
    return ids[len(prompt) :]


def write_folder(folder: Path) -> Path:
    """Write the model as a Hugging Face folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    save_file(_tensors(), folder / "model.safetensors")
    return folder


def write_gguf(folder: Path) -> tuple[Path, ModelLimits]:
    """Write the model as a GGUF file; return the file and the model's limits."""
    weights = folder / "copying.gguf"
    return weights, gguf_files.from_hf_folder(write_folder(folder / "copying"), weights)


def _tensors() -> dict[str, npt.NDArray[np.float32]]:
    identity = np.eye(NUM_IDS)
    angles = OFFSET * _ROPE_THETA ** (-np.arange(_HEAD_DIM // 2) * 2 / _HEAD_DIM)
    query = _SHARPNESS * np.concatenate([np.cos(angles), -np.sin(angles)])
    key = _SHARPNESS * np.concatenate([np.ones(_HEAD_DIM // 2), np.zeros(_HEAD_DIM // 2)])
    embedding, head = np.zeros((_ROWS, _HIDDEN)), np.zeros((_ROWS, _HIDDEN))
    embedding[:NUM_IDS, :NUM_IDS] = identity
    head[SUCCESSOR, NUM_IDS + np.arange(NUM_IDS)] = 1
    value, output = np.zeros((_HEAD_DIM, _HIDDEN)), np.zeros((_HIDDEN, 2 * _HEAD_DIM))
    value[:, :NUM_IDS] = identity
    output[NUM_IDS:, :_HEAD_DIM] = 20 * identity  # more than the current id's own 1
    layer = {
        "input_layernorm.weight": np.ones(_HIDDEN), "post_attention_layernorm.weight": np.ones(_HIDDEN),
        "self_attn.q_proj.weight": np.zeros((2 * _HEAD_DIM, _HIDDEN)), "self_attn.q_proj.bias": np.tile(query, 2),
        "self_attn.k_proj.weight": np.zeros((_HEAD_DIM, _HIDDEN)), "self_attn.k_proj.bias": key,
        "self_attn.v_proj.weight": value, "self_attn.v_proj.bias": np.zeros(_HEAD_DIM), "self_attn.o_proj.weight": output,
        "mlp.gate_proj.weight": np.zeros((_INNER, _HIDDEN)), "mlp.up_proj.weight": np.zeros((_INNER, _HIDDEN)),
        "mlp.down_proj.weight": np.zeros((_HIDDEN, _INNER)),
    }  # fmt: skip
    tensors = {"model.embed_tokens.weight": embedding, "model.norm.weight": np.ones(_HIDDEN), "lm_head.weight": head}
    tensors |= {f"model.layers.0.{name}": array for name, array in layer.items()}
    return {name: array.astype(np.float32) for name, array in tensors.items()}


def _tokenizer() -> dict[str, object]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocabulary = {character: token_id for token_id, character in enumerate(sorted(ByteLevel.alphabet()))}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "added_tokens": [{"id": 257, "content": "<|end|>", "special": True, **flags}],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary | {"AB": 256}, "merges": [["A", "B"]]},
    }

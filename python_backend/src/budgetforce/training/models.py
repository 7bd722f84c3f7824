# SPDX-License-Identifier: Apache-2.0
"""The model that a run starts from, and the folder that it ends as."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from budgetforce.building.stage import BuildFailed
from budgetforce.text.tokenizer_files import TOKENIZER_FILES
from budgetforce.training.recipe import VOCABULARY_STEP, InitSettings, ModelSettings

END_OF_TURN = "<|im_end|>"


def load_model(model: ModelSettings, tokenizer: Any, seed: int) -> Any:
    """Return the model in float32: random weights by ``init``, or the base's. Raises BuildFailed if the base cannot be loaded."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if model.init is None:
        try:
            return AutoModelForCausalLM.from_pretrained(model.base, revision=model.revision or "main", dtype=torch.float32)
        except (OSError, ValueError, SafetensorError) as error:
            raise BuildFailed(f"base {model.base} cannot be loaded: {str(error).splitlines()[0]}") from None
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(_config(model.init, tokenizer), dtype=torch.float32)  # type: ignore[no-untyped-call]


def _config(init: InitSettings, tokenizer: Any) -> Any:
    from transformers import Qwen2Config

    end = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    return Qwen2Config(
        vocab_size=-(-len(tokenizer) // VOCABULARY_STEP) * VOCABULARY_STEP,
        hidden_size=init.hidden_size,
        intermediate_size=init.intermediate_size,
        num_hidden_layers=init.num_hidden_layers,
        num_attention_heads=init.num_attention_heads,
        num_key_value_heads=init.num_key_value_heads,
        max_position_embeddings=init.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": init.rope_theta},
        tie_word_embeddings=init.tie_word_embeddings,
        initializer_range=init.initializer_range,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=None,
    )


def tokenizer_folder(model: ModelSettings, scratch: Path) -> Path:
    """Return the folder of the run's tokenizer, made or downloaded if need be. Raises BuildFailed if it cannot be had."""
    name = model.init.tokenizer if model.init else model.base
    if name == "s1-tiny":
        from budgetforce.curating.tiny_tokenizer import write_tokenizer

        write_tokenizer(scratch)
        return scratch
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=model.revision or None, allow_patterns=list(TOKENIZER_FILES)))
    except (OSError, ValueError) as error:
        raise BuildFailed(f"tokenizer of {name} cannot be downloaded: {str(error).splitlines()[0]}") from None


def pad_id(tokenizer: Any, model: ModelSettings) -> int:
    """Return the id that fills short sequences. Raises BuildFailed if the tokenizer lacks it, or if it ends a turn."""
    found = tokenizer.get_vocab().get(model.pad_token)
    if found is None or model.pad_token == END_OF_TURN:
        raise BuildFailed(f"model.pad_token: got {model.pad_token!r}, allowed: a token of the tokenizer other than {END_OF_TURN}")
    return int(found)


def save_model(model: Any, weights: dict[str, Any], dtype: str, tokenizer: Path, folder: Path) -> None:
    """Write a Hugging Face folder with weights in the given format and the tokenizer's files as they are."""
    import torch

    kind = getattr(torch, dtype)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    model.save_pretrained(folder, state_dict={name: weights[name].to(kind) for name in weights if name not in tied})
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    _inline_template(folder)
    _edit(folder / "config.json", {"dtype": dtype, "use_cache": True})  # not those of the training
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner can read; a server may run as another user


def _inline_template(folder: Path) -> None:
    """Put a chat template that lies in a file of its own, as transformers 5 writes it, into tokenizer_config.json too."""
    template, path = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if template.is_file() and "chat_template" not in json.loads(path.read_text(encoding="utf-8")):
        _edit(path, {"chat_template": template.read_text(encoding="utf-8")})


def _edit(path: Path, changes: dict[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

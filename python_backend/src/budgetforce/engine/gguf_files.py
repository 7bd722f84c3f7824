# SPDX-License-Identifier: Apache-2.0
"""Reads and writes GGUF: converts weights to Q8_0 and extracts the tokenizer of a GGUF file.

Layout (from llama.cpp's conversion): architecture ``llama`` stores the rows of the query and key
matrices interleaved for its rotary embedding; ``qwen2`` and ``qwen3`` keep the original order.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sized
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Quant
from gguf import GGUFReader, GGUFValueType, GGUFWriter, quants
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from budgetforce.engine.model_checks import read_json
from budgetforce.engine.token_engine import ModelLimits
from budgetforce.errors import ConfigError

_FILE_TYPE_Q8_0 = 7
_Q8_0_BLOCK = 32  # values that share a scale (ggml: QK8_0)
_EMBEDDING = "token_embd.weight"
_LAYER = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
_ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}

# Regular expression that splits text before BPE, by the value of tokenizer.ggml.pre (from the models' own tokenizer.json).
_LETTERS_AND_PUNCTUATION = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {"qwen2": _LETTERS_AND_PUNCTUATION.format(digits=""), "llama-bpe": _LETTERS_AND_PUNCTUATION.format(digits="{1,3}")}


def requantise(source: Path, out: Path) -> ModelLimits:
    """Write a copy of ``source`` with all matrices in Q8_0. Raises ConfigError for a model that cannot be served."""
    reader = GGUFReader(source)
    if _value(reader, "split.count", 1) > 1:
        raise ConfigError(f"{source.name} is one part of several: merge them first (llama-gguf-split --merge)")
    architecture = _value(reader, "general.architecture")
    if architecture not in _ARCHITECTURES.values():
        raise ConfigError(f"{source.name}: architecture '{architecture}', known: {', '.join(_ARCHITECTURES.values())}")
    writer = GGUFWriter(out, arch=architecture)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        value = _FILE_TYPE_Q8_0 if key == "general.file_type" else field.contents()
        sub_type = field.types[-1] if field.types[0] is GGUFValueType.ARRAY else None
        writer.add_key_value(key, value, field.types[0], sub_type)
    for tensor in reader.tensors:
        _add_tensor(writer, tensor.name, quants.dequantize(tensor.data, tensor.tensor_type))
    _check_complete(source, {tensor.name for tensor in reader.tensors}, _value(reader, f"{architecture}.block_count"))
    _write(writer)
    num_rows = next(len(t.data) for t in reader.tensors if t.name == _EMBEDDING)
    return ModelLimits(vocab_size=num_rows, max_seq_len=_value(reader, f"{architecture}.context_length"))


def _check_complete(source: Path, names: Collection[str], num_layers: int) -> None:
    """Raise ConfigError if a tensor is missing that every known architecture has."""
    expected = [_EMBEDDING, "output_norm.weight", *(f"blk.{n}.{part}.weight" for n in range(num_layers) for part in _LAYER)]
    missing = [name for name in expected if name not in names]
    if missing:
        raise ConfigError(
            f"{source}: {len(missing)} of {len(expected)} tensors are missing, the first is {missing[0]}: is every file there?"
        )


def from_hf_folder(folder: Path, out: Path) -> ModelLimits:
    """Write a Hugging Face checkpoint as GGUF. Raises ConfigError for an unknown architecture or rope scaling."""
    config = read_json(folder / "config.json")
    name = (config.get("architectures") or ["none"])[0]
    if name not in _ARCHITECTURES:
        raise ConfigError(f"{folder}: architecture {name}, known: {', '.join(_ARCHITECTURES)}")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ConfigError(f"{folder}: rope scaling {rope} is not supported")
    writer = GGUFWriter(out, arch=_ARCHITECTURES[name])
    _add_hyperparameters(writer, config, rope)
    _add_vocabulary(writer, folder, config)
    names = gguf.get_tensor_name_map(_architecture_enum(_ARCHITECTURES[name]), config["num_hidden_layers"])
    found = set()
    for hf_name, array in _safetensors(folder):
        target = names.get_name(hf_name, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ConfigError(f"{folder}: tensor {hf_name} is unknown to architecture {name}")
        _add_tensor(writer, target, _interleaved(name, hf_name, array, config))
        found.add(target)
    _check_complete(folder, found, config["num_hidden_layers"])
    _write(writer)
    return ModelLimits(vocab_size=config["vocab_size"], max_seq_len=config["max_position_embeddings"])


def _add_hyperparameters(writer: GGUFWriter, config: dict[str, Any], rope: dict[str, Any]) -> None:
    num_heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // num_heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(num_heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or num_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(_FILE_TYPE_Q8_0)


def _add_vocabulary(writer: GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    """Write the vocabulary of tokenizer.json, which every engine requires to open the file. The engines receive ids and
    never split text, so the splitting rule is arbitrary; rows without a token are marked unused.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(f"{folder} has no tokenizer.json")
    spec = read_json(path)
    tokens = [f"[unused {n}]" for n in range(config["vocab_size"])]
    types = [int(gguf.TokenType.UNUSED)] * len(tokens)
    for token, token_id in spec["model"]["vocab"].items():
        tokens[token_id], types[token_id] = token, int(gguf.TokenType.NORMAL)
    for added in spec["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = int(gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED)
    _check_merges(path, spec["model"]["merges"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in spec["model"]["merges"]])
    eos = config.get("eos_token_id") or 0  # arbitrary: every call names the ids that end it
    writer.add_eos_token_id(eos[0] if isinstance(eos, list) else eos)


def _check_merges(source: Path, merges: Sized) -> None:
    """Raise ConfigError for a byte-level BPE that merges nothing, for which both libraries fail with an error of their own."""
    if not merges:
        raise ConfigError(f"{source}: the vocabulary has no merges; OpenVINO and llama.cpp load no model without at least one merge")


def _architecture_enum(name: str) -> Any:
    return next(arch for arch, arch_name in gguf.MODEL_ARCH_NAMES.items() if arch_name == name)


def _safetensors(folder: Path) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield all tensors of the folder as float32. Parses the files itself: numpy has no bfloat16, and torch is too large a dependency."""
    dtypes: dict[str, npt.DTypeLike] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    for path in sorted(folder.glob("*.safetensors")):
        data = np.memmap(path, np.uint8, "r")
        header_len = int(data[:8].view("<u8")[0])
        header = json.loads(data[8 : 8 + header_len].tobytes())
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            raw = data[8 + header_len + begin : 8 + header_len + end].view(dtypes[entry["dtype"]])
            if entry["dtype"] == "BF16":
                raw = (raw.astype(np.uint32) << 16).view(np.float32)
            yield name, raw.astype(np.float32).reshape(entry["shape"])


def _interleaved(architecture: str, name: str, array: npt.NDArray[np.float32], config: dict[str, Any]) -> npt.NDArray[np.float32]:
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config.get("num_key_value_heads") or config["num_attention_heads"]}
    part = name.split(".")[-2]
    if architecture != "LlamaForCausalLM" or part not in heads:
        return array
    halves = array.reshape(heads[part], 2, -1, *array.shape[1:])  # [heads, 2, head_dim / 2, ...]
    return halves.swapaxes(1, 2).reshape(array.shape)


def _add_tensor(writer: GGUFWriter, name: str, array: npt.NDArray[np.float32]) -> None:
    if array.ndim == 1:  # norms and biases
        writer.add_tensor(name, array.astype(np.float32))
    elif array.shape[-1] % _Q8_0_BLOCK:
        raise ConfigError(f"tensor {name} has rows of {array.shape[-1]} values; a multiple of {_Q8_0_BLOCK} is needed")
    else:
        writer.add_tensor(name, quants.quantize(array, Quant.Q8_0), raw_dtype=Quant.Q8_0)


def _write(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# --- tokenizer ------------------------------------------------------------------------


def extract_tokenizer(source: Path, out: Path) -> None:
    """Write the tokenizer of a GGUF file as a Hugging Face folder.

    Raises ConfigError for a tokenizer that is no byte-level BPE or has an unknown splitting rule.
    """
    reader = GGUFReader(source)
    kind, pre = _value(reader, "tokenizer.ggml.model"), _value(reader, "tokenizer.ggml.pre", "default")
    if kind != "gpt2":
        raise ConfigError(f"{source.name}: tokenizer '{kind}'; a byte-level BPE ('gpt2') is needed")
    tokens: list[str] = _value(reader, "tokenizer.ggml.tokens")
    types: list[int] = _value(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in _value(reader, "tokenizer.ggml.merges")]
    _check_merges(source, merges)
    model = models.BPE({token: i for i, token in enumerate(tokens)}, merges, ignore_merges=pre == "llama-bpe")
    tokenizer = Tokenizer(model)
    _set_splitting(tokenizer, source, pre)
    before_splitting = {gguf.TokenType.CONTROL: True, gguf.TokenType.USER_DEFINED: False}  # type -> whether the token is special
    added = [(tokens[i], kind) for i, kind in enumerate(types) if kind in before_splitting]
    tokenizer.add_tokens([AddedToken(token, special=before_splitting[gguf.TokenType(kind)], normalized=False) for token, kind in added])
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=tokens[_value(reader, "tokenizer.ggml.eos_token_id")]
    )
    wrapped.chat_template = _value(reader, "tokenizer.chat_template", None)
    wrapped.save_pretrained(out)


def _set_splitting(tokenizer: Tokenizer, source: Path, pre: str) -> None:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if pre in _SPLITS:
        split = pre_tokenizers.Split(Regex(_SPLITS[pre]), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        if pre == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
    elif pre == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    elif pre in ("gpt-2", "default"):
        tokenizer.pre_tokenizer = byte_level
    else:
        raise ConfigError(f"{source.name}: tokenizer split '{pre}', known: {', '.join([*_SPLITS, 'smollm', 'gpt-2', 'default'])}")


_MISSING = object()


def _value(reader: GGUFReader, key: str, default: Any = _MISSING) -> Any:
    field = reader.fields.get(key)
    if field is None and default is _MISSING:
        raise ConfigError(f"the GGUF file has no key '{key}'")
    return default if field is None else field.contents()

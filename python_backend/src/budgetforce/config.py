# SPDX-License-Identifier: Apache-2.0
"""Model parameters out of a config.pbtxt: strings in, one frozen object out, unknown keys refused by name.

A value may name environment variables as ``${NAME}``; the launcher sets those of the shipped
configs. One that is not set is an error: a server never runs on a guess. ``${NAME:-default}``, as in a
shell, is one that may be missing or empty, and has the default then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from budgetforce.errors import ConfigError

TRANSPORTS = ("grpc", "bls")

Config = TypeVar("Config")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorConfig:
    """Parameters of model ``s1``.

    Attributes:
        engine_model: the engine's name, one of those in model_repository.
        engine_url: "host:port" of the server (gRPC) that serves it; "grpcs://host:port" with TLS.
        engine_ca: file with the certificates to trust there (PEM); "" = what libcurl trusts.
        engine_name: the name in the server's certificate, where it is not engine_url's host.
        engine_cert, engine_key: files with what we show a server that asks for a certificate (PEM).
        engine_secret_file: file with the secret of the server's restricted protocols.
        tokenizer_dir: folder with the model's tokenizer.
        preset: what is special about the model, see ``budgetforce.presets``.
        max_context_tokens: what the engine can hold, prompt and reply together.
        vocab_rows: rows of the model's embedding; those without a token are never sampled.
        max_replies: samples that run at once.
        max_waiting: requests that wait for room; further ones are turned away.
        max_kv_tokens: tokens that the running samples may come to hold; 0 = the engine's own business.
        transport: how the engine is called: "grpc" (many replies at once in this process) or "bls"
            (one at a time; instances = concurrency).
        max_outage_s: how long a reply that has begun waits for an engine that is gone.
        max_silence_s: an engine call that says nothing for so long is given up.
        canary_period_s: when no token came from the engine for so long, it is asked for one; 0 = never.
        max_text_bytes, max_words, max_words_bytes: see ``serving.bounds``.
        max_messages: messages in a chat.
        forwarded_headers: regular expression that finds the headers which Triton forwards as request parameters
            (its --grpc-header-forward-pattern); "" = none.
        drain_file: when this file holds a number and a line end, the server is to stop: new requests are refused, and
            those that still run so many seconds later are ended. "" = no such file.
    """

    engine_model: str
    engine_url: str
    tokenizer_dir: str
    preset: str
    max_context_tokens: int
    vocab_rows: int
    max_replies: int = 256
    max_waiting: int = field(default=1024, metadata={"minimum": 0})
    max_kv_tokens: int = field(default=0, metadata={"minimum": 0})
    transport: str = field(default="grpc", metadata={"choices": TRANSPORTS})
    max_outage_s: int = field(default=30, metadata={"minimum": 0})
    max_silence_s: int = 300
    canary_period_s: int = field(default=10, metadata={"minimum": 0})
    max_text_bytes: int = 1 << 20
    max_messages: int = 2048
    max_words: int = 512
    max_words_bytes: int = 16384
    forwarded_headers: str = ""
    engine_ca: str = ""
    engine_name: str = ""
    engine_cert: str = ""
    engine_key: str = ""
    engine_secret_file: str = ""
    drain_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedConfig:
    """Parameters of model ``embedded_llm``.

    Attributes:
        model_dir: folder made by ``budgetforce.engine.model_files``.
        num_kv_blocks: KV cache size in blocks of 32 tokens.
        precision: "f32" or "bf16" (OpenVINO).
        library: "openvino", "llamacpp", or "auto": OpenVINO where it runs, else llama.cpp.
    """

    model_dir: str
    num_kv_blocks: int = 4096
    precision: str = "f32"
    library: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryConfig:
    """Parameters of models ``vllm_llm`` and ``llmapi_llm``.

    Attributes:
        model_dir: Hugging Face folder with the weights.
        max_seq_len: the longest context, prompt and reply together.
        tensor_parallel: GPUs that share the model.
        memory_fraction: vLLM: of the memory of each GPU (on a CPU: of the machine), for everything.
            LLM API: of what the weights leave of each GPU's memory, for the KV cache.
        block_size: ids in a KV block.
        max_replies: sequences that are computed at once, as many as model ``s1`` runs replies.
    """

    model_dir: str
    max_seq_len: int
    tensor_parallel: int = 1
    memory_fraction: float = 0.9
    block_size: int = 32
    max_replies: int = 256


def from_parameters(kind: type[Config], parameters: Mapping[str, Mapping[str, str]]) -> Config:
    """Build ``kind`` from the ``parameters`` of a Triton model config.

    Raises ConfigError for an unknown, missing or ill-typed parameter, naming it.
    """
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ConfigError(f"parameter '{unknown[0]}' is unknown; known: {', '.join(known)}")
    missing = [name for name, field in known.items() if field.default is MISSING and name not in parameters]
    if missing:
        raise ConfigError(f"parameter '{missing[0]}' is missing")
    return kind(**{name: _convert(known[name], entry["string_value"]) for name, entry in parameters.items()})


def _convert(field: Field[Any], text: str) -> Any:
    value = _expand(field.name, text)
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        raise ConfigError(f"parameter '{field.name}': got '{value}', allowed: {' or '.join(choices)}")
    if field.type in (float, "float"):
        return _fraction(field.name, value)
    if field.type not in (int, "int"):
        return value
    minimum = field.metadata.get("minimum", 1)
    if not re.fullmatch(r"[0-9]+", value) or int(value) < minimum:
        raise ConfigError(f"parameter '{field.name}': got '{value}', allowed: an integer >= {minimum}")
    return int(value)


def _fraction(name: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or not 0 < float(text) <= 1:
        raise ConfigError(f"parameter '{name}': got '{text}', allowed: a number > 0 and <= 1")
    return float(text)


def _expand(name: str, text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        variable, default = match.groups()
        if default is not None:
            return os.environ.get(variable) or default
        if variable not in os.environ:
            raise ConfigError(f"parameter '{name}': environment variable {variable} is not set")
        return os.environ[variable]

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", replace, text)

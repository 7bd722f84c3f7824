# SPDX-License-Identifier: Apache-2.0
"""Reads the parameters of a config.pbtxt: strings in, a frozen object out; unknown keys are refused by name.

A value may contain environment variables as ``${NAME}``; the launcher sets those of the shipped configs. A variable that is not set
is an error: a server never runs on a guess. ``${NAME:-default}`` works as in a shell: if the variable is missing or empty, the
default replaces it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from budgetforce.errors import ConfigError

TRANSPORTS = ("grpc", "bls")
LOAD_FORMATS = ("auto", "dummy")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
LOG_PROMPTS = ("off", "on")
ANNOUNCE = "announce"  # in the drain file

Config = TypeVar("Config")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorConfig:
    """Parameters of model ``s1``.

    Attributes:
        engine_model: name of the engine model, a folder in model_repository.
        engine_url: gRPC address of the engine's server: "host:port", or "grpcs://host:port" with TLS.
        engine_ca: PEM file with the certificates trusted for engine_url; "" = those that libcurl trusts.
        engine_name: host name in that server's certificate, if it differs from the host of engine_url.
        engine_cert, engine_key: PEM files with the client certificate and its key, if that server requires one.
        engine_secret_file: file with the secret for that server's restricted protocols.
        tokenizer_dir: folder with the model's tokenizer.
        preset: model preset of requests that name none, see ``budgetforce.presets``.
        max_context_tokens: longest context of the engine: prompt and reply together.
        vocab_rows: rows of the model's embedding; those without a token are never sampled.
        max_replies: samples that run concurrently.
        max_waiting: requests that may queue for room; further ones are rejected with OVERLOADED.
        max_tenant_replies: samples of a tenant that run concurrently; 0 = no limit of its own.
        max_tenant_waiting: requests of a tenant that may queue; 0 = no limit of its own.
        tenant_secret_file: file with the secret that must come with a tenant's name; "" = everybody may name tenants.
        max_kv_tokens: KV cache tokens that the running samples may need; 0 = left to the engine.
        transport: how the engine is called: "grpc" (many replies concurrently in this process) or "bls"
            (each process runs a single reply at a time; concurrency = number of instances).
        max_outage_s: how long a reply that has begun waits for an engine that is unreachable.
        max_silence_s: an engine call without a token for this long is given up.
        canary_period_s: time without a token after which the engine gets a test call (the canary); 0 = never.
        max_text_bytes, max_words, max_words_bytes: see ``serving.requests.bounds``.
        max_messages: messages in a chat.
        forwarded_headers: regular expression for the names of headers that Triton forwards as request parameters
            (its --grpc-header-forward-pattern); "" = none.
        training_record: training.json of the engine's model, or manifest.json of an engine that was built from it, for the key
            ``training`` of results; "" = no record.
        trace_url: URL of the OTLP/HTTP receiver that gets the spans of traced requests; "" = no tracing.
        trace_rate: share of the requests that begin a trace, among those without a caller's trace.
        drain_file: when this file holds a number of seconds and a line end, new requests are rejected, and replies that still
            run after so many seconds are ended; "announce" there shows that this will come. "" = no such file.
        log_level: the least level that is logged: "debug" (also requests that completed), "info" (every request that ended
            otherwise), "warning" (of those, not INVALID_ARGUMENT, OVERLOADED and CANCELLED; so STOPPING too), "error" (bugs and failures of
            the server itself).
        log_format: "text", or "json": each message is a JSON object.
        log_prompts: "on" puts prompts and refused field values into the log; "off" never does.
    """

    engine_model: str
    engine_url: str
    tokenizer_dir: str
    preset: str
    max_context_tokens: int
    vocab_rows: int
    max_replies: int = 256
    max_waiting: int = field(default=1024, metadata={"minimum": 0})
    max_tenant_replies: int = field(default=0, metadata={"minimum": 0})
    max_tenant_waiting: int = field(default=0, metadata={"minimum": 0})
    tenant_secret_file: str = ""
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
    trace_url: str = ""
    trace_rate: float = field(default=1.0, metadata={"minimum": 0})
    drain_file: str = ""
    training_record: str = ""
    log_level: str = field(default="info", metadata={"choices": LOG_LEVELS})
    log_format: str = field(default="text", metadata={"choices": LOG_FORMATS})
    log_prompts: str = field(default="off", metadata={"choices": LOG_PROMPTS})

    def __post_init__(self) -> None:
        for name in ("max_tenant_replies", "max_tenant_waiting"):
            if self.transport == "bls" and getattr(self, name):
                allowed = "0 with transport bls, where requests wait in Triton's own queue"
                raise ConfigError(f"parameter '{name}': got '{getattr(self, name)}', allowed: {allowed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedConfig:
    """Parameters of model ``embedded_llm``.

    Attributes:
        model_dir: folder that ``budgetforce.engine.model_files`` prepared.
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
        max_seq_len: longest context: prompt and reply together.
        tensor_parallel: GPUs that share the model.
        memory_fraction: vLLM: share of each GPU's memory (on a CPU: the machine's) for weights and KV cache.
            LLM API: share of the memory that the weights leave on each GPU, for the KV cache.
        block_size: tokens in a KV cache block.
        max_replies: sequences that are computed concurrently, as many as model ``s1`` runs replies.
        load_format: "dummy" = random weights of the model's shape, for measuring a machine before the weights are there.
    """

    model_dir: str
    max_seq_len: int
    tensor_parallel: int = 1
    memory_fraction: float = 0.9
    block_size: int = 32
    max_replies: int = 256
    load_format: str = field(default="auto", metadata={"choices": LOAD_FORMATS})


def from_parameters(kind: type[Config], parameters: Mapping[str, Mapping[str, str]]) -> Config:
    """Build ``kind`` from the ``parameters`` of a Triton model config.

    Raises ConfigError naming the parameter that is unknown, missing or ill-typed.
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
    minimum = field.metadata.get("minimum", 1)
    if field.type in (float, "float"):
        return _fraction(field.name, value, may_be_zero=minimum == 0)
    if field.type not in (int, "int"):
        return value
    if not re.fullmatch(r"[0-9]+", value) or int(value) < minimum:
        raise ConfigError(f"parameter '{field.name}': got '{value}', allowed: an integer >= {minimum}")
    return int(value)


def _fraction(name: str, text: str, *, may_be_zero: bool) -> float:
    value = float(text) if re.fullmatch(r"[0-9]*\.?[0-9]+", text) else -1.0
    if not 0 <= value <= 1 or (value == 0 and not may_be_zero):
        raise ConfigError(f"parameter '{name}': got '{text}', allowed: a number {'>= 0' if may_be_zero else '> 0'} and <= 1")
    return value


def _expand(name: str, text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        variable, default = match.groups()
        if default is not None:
            return os.environ.get(variable) or default
        if variable not in os.environ:
            raise ConfigError(f"parameter '{name}': environment variable {variable} is not set")
        return os.environ[variable]

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", replace, text)

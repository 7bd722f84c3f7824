# SPDX-License-Identifier: Apache-2.0
"""The upper bound on decode speed from the GPUs' memory bandwidth, as ``build/engine.py plan --json`` computes it. Not measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from s1_client.loadtest._typed import Malformed, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """An engine's limit: a decode step takes at least ``weights_ms``, plus ``context_token_ns`` for each token in the KV cache.

    Attributes:
        name: the model, its variant and the GPUs.
        max_batch_size: sequences that the engine decodes concurrently.
        kv_tokens: capacity of the KV cache.
    """

    name: str
    weights_ms: float
    context_token_ns: float
    max_batch_size: int
    kv_tokens: int

    def tokens_per_s(self, num_sequences: float, context_tokens: float) -> float:
        """Return the maximum total throughput of ``num_sequences``, each with ``context_tokens`` in the KV cache."""
        num_decoded = min(num_sequences, self.max_sequences(context_tokens))
        return num_decoded / (self.weights_ms / 1e3 + self.context_token_ns / 1e9 * num_decoded * context_tokens)

    def max_sequences(self, context_tokens: float) -> float:
        """Return how many sequences of this length are decoded concurrently; the others wait."""
        return min(float(self.max_batch_size), self.kv_tokens / context_tokens) if context_tokens > 0 else float(self.max_batch_size)

    @classmethod
    def of_plan(cls, path: Path) -> Roofline:
        """Read the limit from the output of ``build/engine.py plan --gpus GPUS --json``. Raises Malformed and OSError."""
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
            spec, limits = plan["spec"], plan["decode_at_least"]
            name = f"{spec['model']}, {spec['variant']}, {spec['tp']} x {plan['gpu']['name']}"
            return decode(cls, {"name": name, "max_batch_size": spec["max_batch_size"], "kv_tokens": plan["kv_tokens"], **limits})
        except Malformed as error:
            raise Malformed(f"{path}: {error}") from None
        except (ValueError, LookupError, TypeError) as error:
            hint = "allowed: the JSON of `build/engine.py plan --gpus GPUS --json` for GPUs of known memory bandwidth"
            raise Malformed(f"{path}: no plan ({type(error).__name__}: {error}), {hint}") from None

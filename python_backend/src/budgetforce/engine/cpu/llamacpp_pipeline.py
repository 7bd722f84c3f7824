# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's server, inside this process, as a ``TokenPipeline``: runs on any x86 CPU with AVX2.

A call consists of many short requests, "these ids, and a few more", in a slot of its own whose KV
cache holds all ids but the newest. A single streamed request per call is not possible because of
these traps, all measured (xllamacpp 2026.10.11549):

* a stream omits ids: of a character made of several ids, only the last id is sent;
* a request ends with any end id of the model's file; ``ignore_eos`` does not continue past those
  ids but bans them;
* a ban applies to a whole request, so banning only the first ids takes two requests;
* a request that does not stream cannot be cancelled, so a prompt is sent in chunks;
* when space runs out the server empties any slot without a request, even between two requests of
  a call, so space is made before;
* by default the server listens on a TCP port, empties idle slots, keeps up to 8 GB of old prompts,
  and samples with top-k 40, top-p 0.95 and min-p 0.05.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp

from budgetforce.engine.token_engine import TokenCall

BLOCK_SIZE = 32  # only a unit for counting: llama.cpp's KV cache has no blocks
CHUNK = 256  # maximum number of prompt ids in a request and in a batch
IDS_PER_REQUEST = 4  # more ids compute faster with concurrent calls, but arrive in bursts and overrun a stop word
WAIT_S = 0.05  # maximum duration of a step


@dataclass(slots=True)
class _Running:
    """A call, its slot and its running request.

    Attributes:
        ids: the prompt and the sampled ids.
        num_cached: number of ``ids`` that the slot's cache begins with.
        num_reused: ids of the prompt found in the slot's cache, by the server's count.
    """

    call: TokenCall
    ids: list[int]
    slot: int | None = None
    request: Future[dict[str, Any]] | None = None
    num_cached: int = 0
    num_reused: int | None = None
    dropped: bool = False

    @property
    def num_sampled(self) -> int:
        return len(self.ids) - len(self.call.input_ids)

    @property
    def max_len(self) -> int:
        return len(self.call.input_ids) + self.call.max_new_tokens

    @property
    def num_left(self) -> int:
        return self.call.max_new_tokens - self.num_sampled

    @property
    def num_sent(self) -> int:
        """Return how many of ``ids`` the next request sends."""
        return min(len(self.ids), self.num_cached + CHUNK)

    @property
    def num_requested(self) -> int:
        """Return how many ids the next request samples; the id after an inner chunk of the prompt is discarded."""
        if self.num_sent < len(self.ids):
            return 1
        num_masked = self.call.num_masked_steps - self.num_sampled
        return min(IDS_PER_REQUEST, num_masked if num_masked > 0 else self.num_left)

    def take(self, response: dict[str, Any]) -> list[int]:
        """Add a response to the call and return its new ids."""
        if self.num_reused is None:
            self.num_reused = response["timings"]["cache_n"]
        self.num_cached = self.num_sent
        if self.num_cached < len(self.ids):
            return []
        new_ids: list[int] = response["tokens"]
        self.ids += new_ids
        self.num_cached = len(self.ids) - 1
        return new_ids


class LlamaCppPipeline:
    """Implements ``TokenPipeline`` with llama.cpp.

    Args:
        model: a GGUF file.
        num_kv_tokens: size of the KV cache in tokens, shared by all slots.
        num_slots: maximum number of calls computed concurrently; further calls wait.
        num_threads: number of computing threads; None = the number of cores. The threads wait for each other without
            sleeping: more threads than free cores are many times slower than a single thread.
    """

    block_size = BLOCK_SIZE

    def __init__(self, model: Path, *, num_kv_tokens: int, num_slots: int = 16, num_threads: int | None = None) -> None:
        self.num_blocks = num_kv_tokens // BLOCK_SIZE
        self._num_kv_tokens = num_kv_tokens
        self._server = _start_server(model, num_kv_tokens, num_slots, num_threads)
        self._pool = ThreadPoolExecutor(num_slots, thread_name_prefix="llamacpp")
        self._calls: dict[int, _Running] = {}
        # Free slots with the ids in their caches, least recently used first.
        self._free: dict[int, list[int]] = {slot: [] for slot in range(num_slots)}

    def may_add(self, key: int, call: TokenCall) -> bool:  # noqa: ARG002  # no two slots share KV
        return True

    def add(self, key: int, call: TokenCall) -> None:
        self._calls[key] = _Running(call, list(call.input_ids))

    def step(self) -> dict[int, list[int]]:
        """Send all possible requests, wait up to ``WAIT_S`` for the first response, and return the new ids by key."""
        for running in self._calls.values():
            self._send(running)
        wait([running.request for running in self._calls.values() if running.request], WAIT_S, FIRST_COMPLETED)
        return {key: ids for key, running in list(self._calls.items()) if (ids := self._collect(key, running))}

    def drop(self, key: int) -> None:
        running = self._calls[key]
        running.dropped = True
        if running.request is None:
            self._forget(key)

    def is_busy(self) -> bool:
        return bool(self._calls)

    def num_reused_ids(self, key: int) -> int:
        """Return how many ids of the prompt the server found in its cache; 0 before the call's first id."""
        return self._calls[key].num_reused or 0

    def _send(self, running: _Running) -> None:
        if running.request is not None or running.num_left == 0:
            return
        if running.slot is None and self._free:
            running.slot, running.num_cached = self._take_slot(running.ids)
            self._make_room()
        if running.slot is not None:
            running.request = self._pool.submit(self._server.handle_completions, _request(running))

    def _take_slot(self, ids: list[int]) -> tuple[int, int]:
        """Take a free slot; return it and how many of ``ids`` its cache begins with. Of the slots that lose no more
        cached ids than they keep, the slot that keeps most; if there is none, the least recently used slot.
        """
        common = {slot: _num_common(cached, ids) for slot, cached in self._free.items()}
        fitting = [slot for slot, cached in self._free.items() if 2 * common[slot] >= len(cached)]
        slot = max(fitting, key=common.__getitem__, default=next(iter(self._free)))
        del self._free[slot]
        return slot, common[slot]

    def _make_room(self) -> None:
        """Empty the least recently used slots until all running calls can grow to their maximum length."""
        num_reserved = sum(running.max_len for running in self._calls.values() if running.slot is not None)
        for slot, cached in self._free.items():
            if num_reserved + sum(map(len, self._free.values())) <= self._num_kv_tokens:
                return
            if cached:
                self._free[slot] = []
                self._pool.submit(self._server.handle_completions, {"prompt": cached[:1], "n_predict": 1, "id_slot": slot})

    def _collect(self, key: int, running: _Running) -> list[int]:
        if running.request is None or not running.request.done():
            return []
        new_ids = running.take(_read(running.request.result()))
        running.request = None
        if not running.dropped:
            return new_ids
        self._forget(key)
        return []

    def _forget(self, key: int) -> None:
        running = self._calls.pop(key)
        if running.slot is not None:
            self._free[running.slot] = running.ids[: running.num_cached]


def _start_server(model: Path, num_kv_tokens: int, num_slots: int, num_threads: int | None) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = num_kv_tokens + 2 * num_slots  # an emptied slot keeps up to two ids
    params.n_parallel, params.kv_unified = num_slots, True
    params.n_batch = params.n_ubatch = CHUNK
    params.cache_ram_mib, params.cache_idle_slots, params.n_ctx_checkpoints = 0, False, 0
    params.fit_params = params.ui = params.endpoint_slots = False
    params.verbosity = 0
    params.n_threads_http = 1
    if num_threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = num_threads
    with tempfile.TemporaryDirectory() as folder:
        params.hostnames = [f"{folder}/s.sock"]  # the socket is deleted on return, so no client can connect
        return xllamacpp.Server(params)


def _request(running: _Running) -> dict[str, Any]:
    call = running.call
    banned = call.masked_ids if running.num_sampled < call.num_masked_steps else ()
    return {
        "prompt": running.ids[: running.num_sent],
        "n_predict": running.num_requested,
        "id_slot": running.slot,
        "logit_bias": [[token_id, False] for token_id in banned],
        "verbose": True,  # the only way to get ids: they are in "__verbose"
        "return_tokens": True,
        "response_fields": ["tokens", "timings"],
        **_sampling(call, running.num_sampled),
    }


def _sampling(call: TokenCall, position: int) -> dict[str, Any]:
    sampling = call.sampling
    body: dict[str, Any] = {
        "samplers": ["penalties", "temperature", "top_k", "top_p"],
        "temperature": 0.0,
        "top_k": 0,
        "top_p": 1.0,
        "repeat_last_n": len(call.input_ids) + call.max_new_tokens,
        "repeat_penalty": 1.0 if sampling.repetition_penalty is None else sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty or 0.0,
        "frequency_penalty": sampling.frequency_penalty or 0.0,
    }
    if call.is_sampled:
        body["temperature"] = 1.0 if sampling.temperature is None else sampling.temperature
        body["top_k"] = sampling.top_k or 0
        body["top_p"] = 1.0 if sampling.top_p is None else sampling.top_p
        body["seed"] = hash((sampling.seed or 0, position)) % 2**31  # every request seeds its own random numbers
    return body


def _read(response: dict[str, Any]) -> dict[str, Any]:
    """Return the response's fields. Raises RuntimeError if it holds an error or no ids."""
    fields: dict[str, Any] = response.get("__verbose", {})
    if not fields.get("tokens"):
        raise RuntimeError(f"llama.cpp returned no ids: {response.get('error', response)}")
    return fields


def _num_common(left: list[int], right: list[int]) -> int:
    """Return the length of the longest common prefix."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))

# SPDX-License-Identifier: Apache-2.0
"""Triton model ``s1``: budget-forced replies, many at once in one process, or one at a time over BLS."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import triton_python_backend_utils as pb_utils

from budgetforce.config import OrchestratorConfig, from_parameters
from budgetforce.engine.call_limits import LIMITS_OF_MODEL, NO_LIMITS, CallLimits
from budgetforce.engine.endpoint import load_endpoint
from budgetforce.engine.triton_bls import BlsEngine
from budgetforce.engine.triton_grpc import GrpcEngine
from budgetforce.presets import Preset
from budgetforce.serving.metrics import Metrics
from budgetforce.serving.orchestrator import Orchestrator
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.ports import constants
from budgetforce.serving.request_reader import RequestReader
from budgetforce.serving.runtime import ConcurrentRuntime, InlineExecutor, Runtime, SerialRuntime
from budgetforce.text.tokenizer import ChatTokenizer

NUM_SENDERS = 4  # a send waits for the server most of its time; more make smaller messages, not earlier ones
NUM_WORKERS = 2  # so that a short prompt need not wait for a long one


class BudgetForcingModel:
    """Triton's interface: ``initialize``, ``execute``, ``finalize``, and since 26.03 ``is_ready``."""

    def initialize(self, args: dict[str, str]) -> None:
        model_config = json.loads(args["model_config"])
        config = from_parameters(OrchestratorConfig, model_config["parameters"])
        self._reader = RequestReader(config, [tensor["name"] for tensor in model_config["input"]])
        self._tokenizer = ChatTokenizer.load(Path(config.tokenizer_dir))
        self._planner = Planner(
            self._tokenizer,
            Preset.load(config.preset),
            config.max_context_tokens,
            config.vocab_rows,
            _limits_of(config.engine_model),
            config.engine_model,
        )
        metrics = Metrics(args["model_instance_name"])
        if config.transport == "bls":
            self._runtime: Runtime = SerialRuntime(lambda: self._over_bls(config), metrics.publish)
        else:
            self._runtime = ConcurrentRuntime(lambda: self._over_grpc(config), config.canary_period_s, metrics.publish)

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        for request in requests:
            self._runtime.accept(self._reader.read(request))

    def finalize(self) -> None:
        self._runtime.close()
        constants.tensors.clear()  # while there is shared memory to give them back to

    def is_ready(self) -> bool:
        """Whether the engine answers and new requests are taken. Triton asks on a thread that must not be held up: these
        are flags.
        """
        return self._runtime.engine_is_ready and not self._runtime.orchestrator.is_draining

    def _over_grpc(self, config: OrchestratorConfig) -> Orchestrator:
        return Orchestrator(
            config=config,
            tokenizer=self._tokenizer,
            planner=self._planner,
            engine=GrpcEngine(load_endpoint(config), config.engine_model, config.max_silence_s),
            senders=ThreadPoolExecutor(NUM_SENDERS, thread_name_prefix="s1-send"),
            workers=ThreadPoolExecutor(NUM_WORKERS, thread_name_prefix="s1-text"),
            log_error=pb_utils.Logger.log_error,
            log_warning=pb_utils.Logger.log_warn,
        )

    def _over_bls(self, config: OrchestratorConfig) -> Orchestrator:
        here = InlineExecutor()
        return Orchestrator(
            config=config,
            tokenizer=self._tokenizer,
            planner=self._planner,
            engine=BlsEngine(config.engine_model),
            senders=here,
            workers=here,
            log_error=pb_utils.Logger.log_error,
            log_warning=pb_utils.Logger.log_warn,
        )


def _limits_of(engine_model: str) -> CallLimits:
    """Return the limits of an engine's library, known by the model's name. Another name leaves a line in the log."""
    if engine_model not in LIMITS_OF_MODEL:
        pb_utils.Logger.log_warn(
            f"s1: engine model '{engine_model}' is none of {', '.join(LIMITS_OF_MODEL)}: what its library cannot take in one call "
            "(top_k, number of bad_words) is not refused, see python_backend/ENGINES.md"
        )
    return LIMITS_OF_MODEL.get(engine_model, NO_LIMITS)

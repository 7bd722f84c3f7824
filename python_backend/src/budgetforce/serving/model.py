# SPDX-License-Identifier: Apache-2.0
"""Triton model ``s1``: budget-forced replies, many concurrently in a process, or singly over BLS."""

from __future__ import annotations

import gc
import json
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import triton_python_backend_utils as pb_utils

from budgetforce.config import OrchestratorConfig, from_parameters
from budgetforce.engine.base import Engine
from budgetforce.engine.call_limits import LIMITS_OF_MODEL, CallLimits, limits_of
from budgetforce.engine.endpoint import load_endpoint
from budgetforce.engine.triton_bls import BlsEngine
from budgetforce.engine.triton_grpc import GrpcEngine
from budgetforce.presets import Preset
from budgetforce.provenance import load_record
from budgetforce.serving.build_info import build_labels
from budgetforce.serving.core_wait import waited_for_core_s
from budgetforce.serving.frequent_tensors import frequent_tensors
from budgetforce.serving.logs import ServerLog, Write
from budgetforce.serving.metrics import Metrics
from budgetforce.serving.orchestrator import Orchestrator
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies.send_batch import BatchSender
from budgetforce.serving.replies.send_pace import SendPace
from budgetforce.serving.replies.send_queue import SendQueue
from budgetforce.serving.request_reader import RequestReader
from budgetforce.serving.request_work import RequestWork
from budgetforce.serving.runtime import ConcurrentRuntime, InlineExecutor, Runtime, SerialRuntime
from budgetforce.serving.tracing import Tracing
from budgetforce.text.tokenizer import ChatTokenizer

NUM_SENDERS = 4  # of whole replies, errors and answers to commands; a sender waits for the server most of its time
NUM_STREAM_HELPERS = 3  # of the loop's thread; their waits for the server overlap
NUM_WORKERS = 2  # so that a short prompt need not wait behind a long prompt


class BudgetForcingModel:
    """Triton's interface: ``initialize``, ``execute``, ``finalize``, and since 26.03 ``is_ready``."""

    def initialize(self, args: dict[str, str]) -> None:
        model_config = json.loads(args["model_config"])
        config = from_parameters(OrchestratorConfig, model_config["parameters"])
        self._log = ServerLog.from_config(config, log_writers())
        self._reader = RequestReader(config, [tensor["name"] for tensor in model_config["input"]], self._log)
        self._tokenizer = ChatTokenizer.load(Path(config.tokenizer_dir))
        training = load_record(Path(config.training_record)) if config.training_record else None
        self._planner = Planner(
            self._tokenizer,
            Preset.load(config.preset),
            config.max_context_tokens,
            config.vocab_rows,
            _limits_of(config.engine_model, self._log),
            config.engine_model,
            training,
        )
        self._tracing = Tracing(config, args["model_name"], args["model_instance_name"], self._log)
        metrics = Metrics(args["model_instance_name"], build_labels(config, training), self._log)
        if config.transport == "bls":
            self._runtime: Runtime = SerialRuntime(lambda: self._over_bls(config), metrics.publish)
        else:
            self._runtime = ConcurrentRuntime(lambda: self._over_grpc(config), config.canary_period_s, metrics.publish)
        gc.freeze()  # what is loaded stays: searching it for garbage would stop all replies for some 50 ms

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        for request in requests:
            self._runtime.accept(self._reader.read(request))

    def finalize(self) -> None:
        self._runtime.close()
        self._tracing.close()
        gc.unfreeze()
        frequent_tensors.clear()  # now: their shared memory must still exist when they are released

    def is_ready(self) -> bool:
        """Return whether the engine answers and new requests are accepted. Triton calls this on a thread that must not block."""
        return self._runtime.engine_is_ready and not self._runtime.orchestrator.is_draining

    def _over_grpc(self, config: OrchestratorConfig) -> Orchestrator:
        engine = GrpcEngine(load_endpoint(config), config.engine_model, config.max_silence_s)
        stream_queue = SendQueue(BatchSender(NUM_STREAM_HELPERS), SendPace(waited_s=waited_for_core_s))
        senders = ThreadPoolExecutor(NUM_SENDERS, thread_name_prefix="s1-send")
        workers = ThreadPoolExecutor(NUM_WORKERS, thread_name_prefix="s1-text")
        return self._orchestrator(config, engine, stream_queue, senders, RequestWork(workers, NUM_WORKERS))

    def _over_bls(self, config: OrchestratorConfig) -> Orchestrator:
        executor = InlineExecutor()
        return self._orchestrator(config, BlsEngine(config.engine_model), SendQueue(BatchSender()), executor, RequestWork(executor))

    def _orchestrator(
        self, config: OrchestratorConfig, engine: Engine, stream_queue: SendQueue, senders: Executor, work: RequestWork
    ) -> Orchestrator:
        return Orchestrator(
            config=config,
            tokenizer=self._tokenizer,
            planner=self._planner,
            engine=engine,
            stream_queue=stream_queue,
            senders=senders,
            work=work,
            log=self._log,
            measurements=self._tracing.measurements,
            trace=self._tracing.take,
        )


def log_writers() -> dict[str, Write]:
    """Return writers into Triton's log. Debug lines are Triton's INFO: its verbose level would hide them in the lines of its own."""
    logger = pb_utils.Logger
    return {"debug": logger.log_info, "info": logger.log_info, "warning": logger.log_warn, "error": logger.log_error}


def _limits_of(engine_model: str, log: ServerLog) -> CallLimits:
    """Return the limits of an engine's library, known by the engine model's name. An unknown name is logged."""
    if engine_model not in LIMITS_OF_MODEL:
        log.warning(
            f"engine model '{engine_model}' is none of {', '.join(LIMITS_OF_MODEL)}: values that its library does not support in a call "
            "(top_k, number of bad_words) are not refused, see docs/engines.md"
        )
    return limits_of(engine_model)

# SPDX-License-Identifier: Apache-2.0
"""Triton model ``s1``: many budget-forced replies at once in one process.

``execute`` copies the inputs and hands the request to an event loop on a thread of its own.
Sending is blocking, so it happens in a small pool; one thread asks whether clients have gone.
"""

from __future__ import annotations

import asyncio
import json
import threading
import traceback
import uuid
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from budgetforce.config import OrchestratorConfig, from_parameters
from budgetforce.engine.triton_grpc import GrpcEngine
from budgetforce.errors import BudgetForceError, Cancelled, InvalidRequest
from budgetforce.presets import Preset
from budgetforce.serving.admission import Admission, Limits
from budgetforce.serving.planning import Planner, ReplyPlan
from budgetforce.serving.ports import ResponsePort, cancel_check_period_s, int32_tensor, text_tensor
from budgetforce.serving.reply import Reply
from budgetforce.serving.request import read_answer_now, read_reply_request
from budgetforce.serving.sinks import JoiningSink, Piece, Sink, StreamSink
from budgetforce.text.tokenizer import ChatTokenizer

NUM_SENDERS = 2  # one sends most tokens a second, more cut latency under load


class BudgetForcingModel:
    """Triton's interface: ``initialize``, ``execute``, ``finalize``."""

    def initialize(self, args: dict[str, str]) -> None:
        config = from_parameters(OrchestratorConfig, json.loads(args["model_config"])["parameters"])
        self._tokenizer = ChatTokenizer.load(Path(config.tokenizer_dir))
        self._planner = Planner(self._tokenizer, Preset.load(config.preset), config.max_context_tokens, config.vocab_rows)
        self._engine_model = config.engine_model
        limits = Limits(max_replies=config.max_replies, max_kv_tokens=config.max_kv_tokens, max_waiting=config.max_waiting)
        self._admission = Admission(limits)
        self._senders = ThreadPoolExecutor(NUM_SENDERS, thread_name_prefix="s1-send")
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="s1-text")
        self._running: dict[asyncio.Task[None], ResponsePort] = {}
        self._replies: dict[str, list[Reply]] = defaultdict(list)  # by request id, which clients choose
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="s1-loop", daemon=True)
        self._thread.start()
        self._engine = asyncio.run_coroutine_threadsafe(self._connect(config), self._loop).result()
        self._stopped = threading.Event()
        self._poller = threading.Thread(target=self._poll_cancels, name="s1-cancel", daemon=True)
        self._poller.start()

    async def _connect(self, config: OrchestratorConfig) -> GrpcEngine:
        return GrpcEngine(config.engine_url, config.engine_model)

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> None:
        for request in requests:
            inputs = {tensor.name(): tensor.as_numpy().reshape(-1).tolist() for tensor in request.inputs()}
            port = ResponsePort(request.get_response_sender())
            self._loop.call_soon_threadsafe(self._start, request.request_id() or uuid.uuid4().hex, inputs, port)

    def finalize(self) -> None:
        self._stopped.set()
        self._poller.join()
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._senders.shutdown()
        self._workers.shutdown()

    # --- on the event loop ----------------------------------------------------------------

    def _start(self, request_id: str, inputs: dict[str, Any], port: ResponsePort) -> None:
        task = self._loop.create_task(self._serve(request_id, inputs, port))
        self._running[task] = port
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        port = self._running.pop(task)
        if task.cancelled():  # before its first step: nobody has told the client
            self._senders.submit(port.fail, Cancelled("the request was cancelled"))

    async def _serve(self, request_id: str, inputs: dict[str, Any], port: ResponsePort) -> None:
        error = await self._reply(request_id, inputs, port)
        if error is not None:
            await self._loop.run_in_executor(self._senders, _fail, port, error)

    async def _reply(self, request_id: str, inputs: dict[str, Any], port: ResponsePort) -> BudgetForceError | None:
        """Run one request; the error that it ends with, if it does not end with a result."""
        try:
            if read_answer_now(inputs):
                await self._answer_now(request_id, port)
                return None
            request = read_reply_request(inputs)
            plan = await self._loop.run_in_executor(self._workers, self._planner.plan, request)
            plan.effective["engine_model"] = self._engine_model
            async with self._admission.admit(num_replies=plan.num_samples, num_tokens=plan.max_kv_tokens, priority=plan.priority):
                await self._run(request_id, plan, port, stream=request.stream)
        except BudgetForceError as error:
            return error
        except asyncio.CancelledError:
            return Cancelled("the request was cancelled")
        except Exception:  # noqa: BLE001  # a bug of ours: the operator gets the traceback, the client a sentence
            pb_utils.Logger.log_error(f"s1: request {request_id}:\n{traceback.format_exc()}")
            return BudgetForceError(f"unexpected error; the server's log has it under request id {request_id}")
        return None

    async def _run(self, request_id: str, plan: ReplyPlan, port: ResponsePort, *, stream: bool) -> None:
        if stream:
            sink: Sink = StreamSink(partial(_send_each, port), self._senders, plan.num_samples)
        else:
            sink = JoiningSink(partial(_send_together, port), self._senders)
        reply = Reply(request_id, plan, self._engine, sink, self._tokenizer)
        self._replies[request_id].append(reply)
        try:
            await reply.run()
        finally:
            self._replies[request_id].remove(reply)
            if not self._replies[request_id]:
                del self._replies[request_id]

    async def _answer_now(self, request_id: str, port: ResponsePort) -> None:
        """Tell the running requests of that id."""
        replies = list(self._replies.get(request_id, ()))
        if not replies:
            raise InvalidRequest("request id", request_id, "that of a running request")
        for reply in replies:
            reply.answer_now()
        result = json.dumps({"request_id": request_id, "num_told": len(replies)})
        await self._loop.run_in_executor(self._senders, _send_each, port, [Piece(event="done", result=result)], True)

    async def _shut_down(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._engine.close()

    # --- on the poller's thread -------------------------------------------------------------

    def _poll_cancels(self) -> None:
        while not self._stopped.wait(cancel_check_period_s(len(self._running))):
            for task, port in list(self._running.items()):
                if port.is_cancelled():
                    self._loop.call_soon_threadsafe(task.cancel)


def _fail(port: ResponsePort, error: BudgetForceError) -> None:
    """Send the error; if that cannot be sent, at least the end."""
    try:
        port.fail(error)
    except Exception:  # noqa: BLE001  # whatever it is, a client that waits for ever is worse
        pb_utils.Logger.log_error(f"s1: an error could not be sent:\n{traceback.format_exc()}")
        port.close()


def _send_each(port: ResponsePort, pieces: Sequence[Piece], final: bool) -> None:
    """A response for each piece."""
    for piece in pieces:
        port.send(_outputs([piece]), final=final and piece is pieces[-1])


def _send_together(port: ResponsePort, pieces: Sequence[Piece], final: bool) -> None:
    """One response, with an element for each piece: n samples make texts of shape [1, n]."""
    port.send(_outputs(pieces), final=final)


def _outputs(pieces: Sequence[Piece]) -> dict[str, Any]:
    outputs = {
        "text_output": text_tensor(*(piece.answer for piece in pieces)),
        "thinking_output": text_tensor(*(piece.thinking for piece in pieces)),
        "output_ids": int32_tensor(*(token_id for piece in pieces for token_id in piece.ids)),
        "event": text_tensor(*(piece.event for piece in pieces)),
        "index": int32_tensor(*(piece.index for piece in pieces)),
    }
    results = [piece.result for piece in pieces if piece.result is not None]
    return outputs | ({"result": text_tensor(*results)} if results else {})

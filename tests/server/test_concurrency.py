# SPDX-License-Identifier: Apache-2.0
"""Many replies at once in one process, none of which waits for another."""

import json
import queue
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from s1_client import InvalidRequest, _wire
from server import waiting
from server.waiting import gauge

wait_until = partial(waiting.wait_until, seconds=60)

END, EOS = 2, 0
NUM_REPLIES = 256


@pytest.fixture
def quick(over_grpc, scripts, a):
    """Ask something short; the reply must come whole."""

    def ask():
        reply = over_grpc.think(scripts.write([a, END], [a, EOS]).question, num_ignore=0, max_tokens=5)
        assert reply.answer == "Final Answer:a"

    return ask


def results_in(responses):
    """The results among the messages of a stream; an error ends it."""
    for response in responses:
        assert not response.error_message
        outputs = [output.name for output in response.infer_response.outputs]
        raws = dict(zip(outputs, response.infer_response.raw_output_contents, strict=True))
        if "result" in raws:
            yield json.loads(raws["result"][4:])


def test_256_replies_run_at_once_in_one_process(triton, scripts, a):
    """All are in the middle of a thought when each is told to answer. One connection and one stream carry them all."""
    script = scripts.write([a] * 5, [a, EOS], stall_after=2)
    names = [f"reply-{number}" for number in range(NUM_REPLIES)]
    requests = queue.SimpleQueue()
    for name in names:
        requests.put(_wire.infer_request(script.question, {"max_tokens": 1}, stream=True, request_id=name, model="s1_scripted"))
    with grpc.insecure_channel(triton.grpc_url) as channel:
        responses = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(requests.get, None), timeout=120)
        wait_until(lambda: len(script.notes("stalled")) == NUM_REPLIES)
        wait_until(lambda: gauge(triton, 's1_replies_running{model_instance="s1_scripted_0_0"}') == NUM_REPLIES)
        for name in names:
            requests.put(_wire.command_request("answer_now", name, model="s1_scripted"))
        requests.put(None)
        results = list(results_in(responses))
    ends = {result["request_id"]: result["finish_reason"]["thinking"] for result in results if "finish_reason" in result}
    assert ends == dict.fromkeys(names, "answer_now")
    assert len(results) == 2 * NUM_REPLIES
    wait_until(lambda: gauge(triton, 's1_replies_running{model_instance="s1_scripted_0_0"}') == 0)


def test_a_prefill_that_takes_long_holds_up_nobody(over_grpc, scripts, a, quick):
    script = scripts.write([a, END], [a, EOS], first_delay_ms=3000)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(over_grpc.think, script.question, num_ignore=0, max_tokens=5)
        wait_until(lambda: script.notes("begun"))
        for _ in range(5):
            quick()
        assert not script.notes("ended")
        assert slow.result().answer == "Final Answer:a"


def test_a_client_that_does_not_read_holds_up_nobody(over_grpc, scripts, a, quick):
    """Its thought is longer than what a connection takes unread."""
    script = scripts.write([a] * 7000 + [END], [a, EOS])
    stream = over_grpc.stream(script.question, max_thinking_tokens=7500, num_ignore=0, max_tokens=5)
    next(stream)
    wait_until(lambda: script.notes("begun"))
    for _ in range(5):
        quick()
    *_, done = stream
    assert done.result.usage.num_thinking_sampled == 7000


def test_a_prompt_that_takes_long_to_tokenise_holds_up_nobody(over_grpc, scripts, a, quick):
    """It is refused in the end: it does not fit the context."""
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(over_grpc.think, "many words, " * 400_000)
        quick()
        with pytest.raises(InvalidRequest, match="text_input"):
            slow.result()

# SPDX-License-Identifier: Apache-2.0
"""The tenant of a request through a real Triton: the header arrives, is counted and logged, and is believed only with the secret."""

import json
import urllib.error
import urllib.request

import pytest

from s1_client import Client, InvalidRequest, Overloaded, ServerNotReady, ThinkingDelta
from server.waiting import gauge, wait_until

END, EOS = 2, 0


@pytest.fixture
def short(scripts, a):
    return scripts.write([END], [a, EOS]).question


def counted(triton, tenant, end, model="s1_scripted"):
    """How many requests of a tenant ended so; 0 before the first."""
    try:
        return gauge(triton, f's1_tenant_requests_total{{end="{end}",model_instance="{model}_0_0",tenant="{tenant}"}}')
    except StopIteration:
        return 0


def test_the_header_of_a_grpc_request_names_its_tenant(triton, over_grpc, short):
    over_grpc.think(short, tenant="ann.b@example-1", num_ignore=0, max_tokens=5)
    wait_until(lambda: counted(triton, "ann.b@example-1", "done") == 1, seconds=15)


def test_over_http_the_body_names_it(triton, short):
    """Triton forwards no headers of /generate; there the keys of the body that are no tensors are request parameters."""
    body = {"text_input": short, "num_ignore": 0, "max_tokens": 5, "s1-tenant": "http"}
    request = urllib.request.Request(f"{triton.http_url}/v2/models/s1_scripted/generate", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        assert json.loads(response.read())["event"] == "done"
    wait_until(lambda: counted(triton, "http", "done") == 1, seconds=15)


def test_a_name_that_is_not_allowed_is_refused(triton, over_grpc, short):
    with (
        Client(triton.grpc_url, model="s1_scripted", metadata={"s1-tenant": "a/b"}) as client,
        pytest.raises(InvalidRequest, match='s1-tenant: got "a/b", allowed: 1 to 64 letters, digits'),
    ):
        client.think(short)


def test_a_parameter_beside_the_header_is_refused(triton, short):
    """Whichever Triton puts first, a caller cannot replace the header of a gateway."""
    import numpy as np
    import tritonclient.grpc as tritonclient
    from tritonclient.utils import InferenceServerException

    prompt = tritonclient.InferInput("text_input", [1, 1], "BYTES")
    prompt.set_data_from_numpy(np.array([[short.encode()]], np.object_))
    answers = []
    with tritonclient.InferenceServerClient(triton.grpc_url) as client:
        client.start_stream(lambda result, error: answers.append(error or result), headers={"s1-tenant": "ann"})
        client.async_stream_infer("s1_scripted", [prompt], parameters={"s1-tenant": "bob"})
        wait_until(lambda: answers, seconds=15)
        client.stop_stream()
    assert isinstance(answers[0], InferenceServerException)
    assert "field 's1-tenant': got \"two values\"" in str(answers[0])


def test_with_a_secret_only_the_gateway_names_tenants(triton, tenant_secret, short):
    """The model has no engine: what passes the check ends with that."""
    with Client(triton.grpc_url, model="s1_lost", max_retries=0) as client:
        with pytest.raises(ServerNotReady):
            client.think(short)
        with pytest.raises(InvalidRequest, match="nothing without s1-tenant-secret: on this server only a gateway"):
            client.think(short, tenant="ann")
    for secret, error in ((tenant_secret, ServerNotReady), ("wrong", InvalidRequest)):
        with (
            Client(triton.grpc_url, model="s1_lost", max_retries=0, metadata={"s1-tenant-secret": secret}) as gateway,
            pytest.raises(error),
        ):
            gateway.think(short, tenant="ann")


def test_a_rejection_names_the_tenant_and_its_share_and_so_does_its_line_in_the_log(triton, scripts, short, a):
    slow = scripts.write([a] * 3000, [a, EOS], delay_ms=100).question
    with Client(triton.grpc_url, model="s1_small", max_retries=0, tenant="ann") as ann:
        streams = []
        for _ in range(2):
            streams.append(ann.stream(slow, max_thinking_tokens=3000))
            while not isinstance(next(streams[-1]), ThinkingDelta):
                pass
        streams.append(ann.stream(slow, max_thinking_tokens=3000))  # now: requests that are sent together come in any order
        wait_until(lambda: gauge(triton, 's1_requests_waiting{model_instance="s1_small_0_0"}') == 1, seconds=15)
        with pytest.raises(Overloaded, match="tenant 'ann': 2 of at most 2 replies run and 1 of at most 1 requests wait") as rejected:
            ann.think(short, request_id="one too many")
        assert rejected.value.retryable
        for stream in streams:
            stream.close()
    wait_until(lambda: counted(triton, "ann", "OVERLOADED", "s1_small") == 1, seconds=15)
    entry = next(entry for entry in lines_of(triton) if entry.get("request_id") == "one too many")
    assert (entry["tenant"], entry["code"], entry["num_thinking_tokens"], entry["first_token_ms"]) == ("ann", "OVERLOADED", 0, None)
    cancelled = next(entry for entry in lines_of(triton) if entry.get("tenant") == "ann" and entry["code"] == "CANCELLED")
    assert cancelled["num_thinking_tokens"] > 0 and cancelled["thinking_ends"] == ["cancelled"] and cancelled["first_token_ms"] > 0


def lines_of(triton):
    """The lines of models that write JSON."""
    for line in triton.log.read_text().splitlines():
        message = line.partition("] ")[2]
        if message.startswith('"{'):
            yield json.loads(json.loads(message))

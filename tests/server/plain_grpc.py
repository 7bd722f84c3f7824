# SPDX-License-Identifier: Apache-2.0
"""The wire as a client that is not ours meets it: grpcio and Triton's messages, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import service_pb2

from budgetforce.launcher.triton_server import TritonServer


def question(text: str, model: str = "s1_scripted") -> Any:
    """A request whose reply is streamed."""
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="text_input", datatype="BYTES", shape=[1, 1])
    request.inputs.add(name="stream", datatype="BOOL", shape=[1, 1])
    prompt = text.encode()
    request.raw_input_contents.extend([len(prompt).to_bytes(4, "little") + prompt, b"\1"])
    return request


def events(responses: Any) -> Iterator[str]:
    """What each response of a stream says that it is. Fails for one that is an error."""
    for response in responses:
        assert not response.error_message, response.error_message
        outputs = response.infer_response.outputs
        texts = dict(zip([output.name for output in outputs], response.infer_response.raw_output_contents, strict=True))
        if texts:
            yield texts["event"][4:].decode()


def admin_headers(server: TritonServer) -> list[tuple[str, str]]:
    """The metadata of a call that only the launcher may make."""
    return [(f"triton-grpc-protocol-{key}", secret) for key, secret in server.security.admin_headers().items()]

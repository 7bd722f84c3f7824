# SPDX-License-Identifier: Apache-2.0
"""Stream a reply with NVIDIA's tritonclient alone, without s1_client."""

import json
import os
import queue

import numpy as np
import tritonclient.grpc as triton

inputs = []
for name, datatype, value in [
    ("text_input", "BYTES", b"How many r in raspberry"),
    ("max_thinking_tokens", "INT32", 40),
    ("stream", "BOOL", True),
]:
    inputs.append(triton.InferInput(name, [1, 1], datatype))
    inputs[-1].set_data_from_numpy(np.array([[value]], {"BYTES": object, "INT32": np.int32, "BOOL": bool}[datatype]))

responses = queue.Queue()
with triton.InferenceServerClient(os.environ.get("S1_URL", "127.0.0.1:8001")) as client:
    client.start_stream(lambda result, error: responses.put((result, error)))
    client.async_stream_infer("s1", inputs)
    event = ""
    while event != "done":
        response, error = responses.get(timeout=60)
        if error is not None:
            raise error
        event = response.as_numpy("event")[0, 0].decode()
        print(response.as_numpy("thinking_output")[0, 0].decode() + response.as_numpy("text_output")[0, 0].decode(), end="")
    print("\n", json.loads(response.as_numpy("result")[0, 0])["usage"]["num_thinking_tokens"])

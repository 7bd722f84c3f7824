# SPDX-License-Identifier: Apache-2.0
"""The ids of one response to text, one request at a time. Keeps no state, so each costs the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._tokenizer = Tokenizer.from_file(str(Path(os.environ["S1_TOKENIZER_DIR"]) / "tokenizer.json"))

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        ids = pb_utils.get_input_tensor_by_name(request, "ids").as_numpy().reshape(-1)
        text = np.array([[self._tokenizer.decode(ids.tolist()).encode()]], np.object_)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("text", text)])

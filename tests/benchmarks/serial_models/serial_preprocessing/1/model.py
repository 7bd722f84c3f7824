# SPDX-License-Identifier: Apache-2.0
"""Text to ids, one request at a time."""

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
        text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()[0, 0].decode()
        ids = np.array([self._tokenizer.encode(text).ids], np.int32)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("ids", ids)])

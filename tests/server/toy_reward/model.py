# SPDX-License-Identifier: Apache-2.0
"""A reward model for tests: the share of digits in the last step. Fails where the question is "fail", has no number for "nan"."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        question, steps = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("question", "steps"))
        if question[0] == b"fail":
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("no reward today"))
        last = [json.loads(one)[-1] for one in steps]
        empty = float("nan") if question[0] == b"nan" else 0.0
        scores = [empty + sum(letter.isdigit() for letter in step) / max(len(step), 1) for step in last]
        return pb_utils.InferenceResponse([pb_utils.Tensor("scores", np.array(scores, dtype=np.float32))])

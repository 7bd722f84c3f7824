# SPDX-License-Identifier: Apache-2.0
"""Engine model on TensorRT-LLM's LLM API: loaded by Triton; the code is in ``budgetforce.serving``."""

from budgetforce.serving.engine_model import LlmApiModel as TritonPythonModel

__all__ = ["TritonPythonModel"]

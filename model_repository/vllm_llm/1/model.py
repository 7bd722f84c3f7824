# SPDX-License-Identifier: Apache-2.0
"""Engine model on vLLM: loaded by Triton; the code is in ``budgetforce.serving``."""

from budgetforce.serving.engine_model import VllmModel as TritonPythonModel

__all__ = ["TritonPythonModel"]

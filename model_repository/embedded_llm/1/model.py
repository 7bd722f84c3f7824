# SPDX-License-Identifier: Apache-2.0
"""Engine model on the CPU: loaded by Triton; the code is in ``budgetforce.serving``."""

from budgetforce.serving.engine_model import EmbeddedModel as TritonPythonModel

__all__ = ["TritonPythonModel"]

# SPDX-License-Identifier: Apache-2.0
"""Triton model ``s1``: loaded by Triton; the code is in ``budgetforce.serving``."""

from budgetforce.serving.model import BudgetForcingModel as TritonPythonModel

__all__ = ["TritonPythonModel"]

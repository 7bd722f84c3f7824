# SPDX-License-Identifier: Apache-2.0
from budgetforce.serving.model import BudgetForcingModel as TritonPythonModel

__all__ = ["TritonPythonModel"]

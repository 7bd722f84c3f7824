# SPDX-License-Identifier: Apache-2.0
"""Start Triton with ``s1`` and an engine, watch its processes, and stop them: ``python -m budgetforce.launcher``."""

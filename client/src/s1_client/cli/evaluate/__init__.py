# SPDX-License-Identifier: Apache-2.0
"""The commands that evaluate a served model: ``s1 eval``, ``sweep``, ``stats`` and ``lm-eval``."""

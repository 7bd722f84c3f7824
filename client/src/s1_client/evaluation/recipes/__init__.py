# SPDX-License-Identifier: Apache-2.0
"""Tasks for lm-evaluation-harness: YAML files and the functions that they refer to."""

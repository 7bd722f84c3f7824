# SPDX-License-Identifier: Apache-2.0
"""Tasks for lm-evaluation-harness: its YAML files, and what they call."""

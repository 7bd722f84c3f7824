# SPDX-License-Identifier: Apache-2.0
"""The labels of metric ``s1_build_info``: which versions serve which model. Independent of Triton."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata

from budgetforce.config import OrchestratorConfig
from budgetforce.provenance import TrainingRecord

UNKNOWN = "unknown"


def build_labels(
    config: OrchestratorConfig, training: TrainingRecord | None, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the labels. ``training`` is "" for a model without a training record.

    NVIDIA's images set ``TRITON_SERVER_VERSION``; the launcher sets it for the server of a wheel that it knows.
    """
    return {
        "version": _version(),
        "triton": environment.get("TRITON_SERVER_VERSION") or UNKNOWN,
        "engine_model": config.engine_model,
        "preset": config.preset,
        "training": "" if training is None else training.id,
    }


def _version() -> str:
    try:
        return metadata.version("budgetforce")
    except metadata.PackageNotFoundError:  # the sources are on the path, but the package is not installed
        return UNKNOWN

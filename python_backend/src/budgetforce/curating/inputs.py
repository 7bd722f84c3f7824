# SPDX-License-Identifier: Apache-2.0
"""A stage's settings as JSON values for its digest, with the SHA-256 of every file that they name."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from budgetforce.curating.sources.files import sha256_of


def settings_as_inputs(settings: Any) -> Any:
    """Return settings as JSON values. A file is replaced by its name and SHA-256, so that a moved file changes no digest.

    Raises BuildFailed for a file that cannot be read.
    """
    if is_dataclass(settings):
        return {field.name: settings_as_inputs(getattr(settings, field.name)) for field in fields(settings)}
    if isinstance(settings, dict):
        return {key: settings_as_inputs(value) for key, value in settings.items()}
    if isinstance(settings, tuple):
        return [settings_as_inputs(value) for value in settings]
    if isinstance(settings, Path):
        return {"file": settings.name, "sha256": sha256_of(settings)}
    return settings

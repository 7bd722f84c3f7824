# SPDX-License-Identifier: Apache-2.0
"""The folder of a run and its manifest: a JSON file with its questions and settings, which keeps other runs out of the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s1_client._jsonl import read_file
from s1_client.runs._errors import Refused


def make_folder(folder: Path) -> None:
    """Create the folder and its parents unless they exist. Raises Refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}") from error


def check_same_run(path: Path, manifest: Mapping[str, Any], *, kind: str, is_new: bool) -> dict[str, Any] | None:
    """Return the manifest at ``path`` that an earlier run saved; None if this run ``is_new``.

    Raises Refused unless both manifests have the same ``manifest[kind]``, a hash of the options and questions of the run.
    """
    if is_new:
        return None
    before = load_manifest(path, kind)
    if before.get(kind) != manifest[kind]:
        raise Refused(
            f"{path.parent}: holds another {kind}: a question, an option or the model differs; give another --out, or --overwrite"
        )
    return before


def load_manifest(path: Path, kind: str) -> dict[str, Any]:
    """Return the manifest at ``path``. Raises Refused if its folder holds no run of this kind."""
    try:
        found = read_file(path, is_log=True)
    except FileNotFoundError:
        raise Refused(f"{path.parent}: holds no {kind} (it has no {path.name})") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{path.parent}: holds no {kind} ({error})") from None
    if not isinstance(found, dict):
        raise Refused(f"{path.parent}: holds no {kind} ({path.name} is not a JSON object)")
    return found


def save_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest as JSON, whole or not at all."""
    write_text(path, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace the file's text; a process that is killed meanwhile leaves the old text."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)

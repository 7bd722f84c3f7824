# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: what is asked there, in a file of its own, and that nobody asks anything else there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s1_client._jsonl import read_file
from s1_client.runs._results import Refused


def make(folder: Path) -> None:
    """Make it, if it is not there. Raises Refused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}") from error


def claim(path: Path, what: Mapping[str, Any], *, kind: str, is_new: bool) -> dict[str, Any] | None:
    """What the folder was made for, by the file at ``path``; None if it ``is_new``.

    Raises Refused if it was something else: ``what[kind]`` is a hash of what all replies have in common.
    """
    if is_new:
        return None
    before = noted(path, kind)
    if before.get(kind) != what[kind]:
        raise Refused(
            f"{path.parent}: holds another {kind}: a question, an option or the model was different; give another --out, or --overwrite"
        )
    return before


def noted(path: Path, kind: str) -> dict[str, Any]:
    """What is asked in a folder. Raises Refused if it holds nothing of the kind."""
    try:
        found = read_file(path, is_log=True)
    except (OSError, ValueError) as error:
        raise Refused(f"{path.parent}: holds no {kind} ({error})") from None
    if not isinstance(found, dict):
        raise Refused(f"{path.parent}: holds no {kind} ({path.name} is not a JSON object)")
    return found


def note(path: Path, what: Mapping[str, Any]) -> None:
    """Write it down."""
    write(path, json.dumps(what, indent=2, ensure_ascii=False) + "\n")


def write(path: Path, text: str) -> None:
    """The whole file, or what was there before."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)

# SPDX-License-Identifier: Apache-2.0
"""Messages about unknown names and missing packages."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return at most two known names that begin with the name or resemble it, else that contain it."""
    names = list(known)
    longer = [other for other in names if len(name) > 2 and other.startswith(name)]
    near = [*longer, *difflib.get_close_matches(name, names)] or [other for other in names if len(name) > 2 and name in other]
    return list(dict.fromkeys(near))[:2]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest known names; "" if none is near."""
    near = [f"'{other}'" for other in nearest(name, known)]
    return f"did you mean {' or '.join(near)}?" if near else ""


def unknown(noun: str, name: str, known: Collection[str]) -> str:
    """Return a sentence that names the nearest known names, or, if none is near, all of them."""
    listed = ", ".join(known)
    return f"unknown {noun} '{name}'; {suggestion(name, known) or f'known: {listed}'}"


def how_to_install(extra: str) -> str:
    """Return the command that installs this package with an extra, from a clone: no package registry has it."""
    return f"pip install './client[{extra}]' in a clone of the project"

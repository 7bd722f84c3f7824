# SPDX-License-Identifier: Apache-2.0
"""What to say of a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """A sentence that names the nearest known names, or, where none is near, all of them."""
    longer = [other for other in known if len(name) > 2 and other.startswith(name)]
    near = [f"'{other}'" for other in dict.fromkeys([*longer, *difflib.get_close_matches(name, known)])][:2]
    return f"unknown {what} '{name}'; " + (f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}")

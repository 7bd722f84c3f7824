# SPDX-License-Identifier: Apache-2.0
"""Writes all generated parts of the pages, and the README's picture, from the code and the saved runs.

    python tests/contract/refresh.py        # or: python3 build/local.py docs

Says which files have changed. Nothing is measured or recorded: examples that need a server are made by
``tests/benchmarks/published_examples.py``, the picture's recording by ``tests/contract/picture.py record``.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/benchmarks")]

from contract import generated, picture  # noqa: E402  # found by the line above


def stale() -> dict[Path, str]:
    """The files that are out of date, with their new contents."""
    expected = {path: generated.refreshed(path.read_text()) for path in generated.pages()}
    expected[picture.PICTURE] = picture.svg()
    return {path: text for path, text in expected.items() if not path.is_file() or path.read_text() != text}


def refresh() -> list[Path]:
    """Rewrite what is out of date; the files that have changed."""
    changed = stale()
    for path, text in changed.items():
        path.write_text(text)
    return list(changed)


if __name__ == "__main__":
    for path in refresh():
        print(f"refreshed {path.relative_to(ROOT)}")

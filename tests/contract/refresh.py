# SPDX-License-Identifier: Apache-2.0
"""Writes what is generated: parts of the pages, their pictures and figures, the list of the public API, copies of model configs.

    python tests/contract/refresh.py        # or: python3 build/local.py docs

Says which files have changed. Nothing is measured or recorded: examples that need a server are made by
``tests/benchmarks/published_examples.py``, the picture's recording by ``tests/contract/picture.py record``.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/benchmarks")]

from budgetforce.building import model_configs  # noqa: E402  # the tests are found by the line above
from client import test_exports  # noqa: E402
from contract import figures, generated, picture  # noqa: E402


def stale() -> dict[Path, str]:
    """The files that are out of date, with their new contents."""
    expected = {path: generated.refreshed(path.read_text()) for path in generated.pages()}
    expected |= {picture.PICTURE: picture.svg(), test_exports.FROZEN: "\n".join([*test_exports.surface(), ""])}
    expected |= figures.figures()
    expected |= model_configs.generated_configs(ROOT / "model_repository")
    return {path: text for path, text in expected.items() if not path.is_file() or path.read_text() != text}


def refresh() -> list[Path]:
    """Rewrite the files that are out of date until none is, for pages show some of the others; all that have changed."""
    changed: list[Path] = []
    while found := stale():
        for path, text in found.items():
            path.write_text(text)
        changed += found
    return sorted(set(changed))


if __name__ == "__main__":
    for path in refresh():
        print(f"refreshed {path.relative_to(ROOT)}")

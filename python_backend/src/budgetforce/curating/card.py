# SPDX-License-Identifier: Apache-2.0
"""Write the published training set: rows as parquet, dataset.json, the dataset card README.md, figures, and the tokenizer."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import figures, published
from budgetforce.curating.card_text import card_text, funnel
from budgetforce.curating.history import History
from budgetforce.curating.rows import Row
from budgetforce.curating.settings import check
from budgetforce.text.tokenizer_files import TOKENIZER_FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSettings:
    """What a person adds to the dataset card.

    Attributes:
        title: heading; "" = the recipe's name.
        summary: paragraph below it.
        licence: SPDX identifier of the whole set; "" = the only licence of its rows, or "other".
    """

    title: str = ""
    summary: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        check("title", self.title, "\n" not in self.title, "a single line")
        check("licence", self.licence, " " not in self.licence and "\n" not in self.licence, "an SPDX identifier, such as Apache-2.0")


def write_set(folder: Path, rows: Sequence[Row], settings: CardSettings, history: History, tokenizer: Path) -> dict[str, Any]:
    """Fill a folder with the set, and return its size and digest. Equal arguments give equal files.

    Raises BuildFailed if there is no row.
    """
    if not rows:
        raise BuildFailed("stage card: no row is left by the stages before, see their report.json")
    published.write_data(folder / published.DATA, rows)
    description = published.describe(folder / published.DATA, rows, history)
    _write_json(folder / published.DESCRIPTION, description)
    _copy_tokenizer(tokenizer, folder / published.TOKENIZER)
    _write_figures(folder, rows, history)
    text = card_text(rows, settings.title, settings.summary, settings.licence, history, description)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return {name: description[name] for name in ("sha256", "num_rows", "num_tokens", "num_loss_tokens", "max_tokens")}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _copy_tokenizer(source: Path, folder: Path) -> None:
    folder.mkdir()
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _write_figures(folder: Path, rows: Sequence[Row], history: History) -> None:
    rendered = history.stages[-1].found
    figures.write_funnel(folder / "funnel.png", [(name, rows_out) for name, _, rows_out, _ in funnel(history.stages)])
    figures.write_domains(folder / "domains.png", Counter(row.get("domain") or "unknown" for row in rows))
    lengths = [len(row["input_ids"]) for row in rows]
    figures.write_lengths(folder / "lengths.png", lengths, rendered["max_tokens"], rendered["num_too_long"])

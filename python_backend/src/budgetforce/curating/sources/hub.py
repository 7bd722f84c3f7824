# SPDX-License-Identifier: Apache-2.0
"""Source of a data set on Hugging Face's hub: its parquet or JSON Lines files at a pinned commit.

Data sets that need a script are not run; most have a parquet copy under the revision ``refs/convert/parquet``, whose commit
can be pinned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.settings import check
from budgetforce.curating.sources.columns import Columns, check_columns, check_grading
from budgetforce.curating.sources.raw import BadRow, Raw
from budgetforce.curating.sources.tables import SUFFIXES, table_rows

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A data set of the hub. The fields are those of ``columns.Columns``, and:

    Attributes:
        repo: its id, such as ``simplescaling/s1K``.
        revision: the full commit.
        files: patterns of its data files, such as ``data/train-*.parquet``; a star also stands for slashes.
        name: name of the source; "" = the data set's id.
    """

    kind: Literal["hub"]
    repo: str
    revision: str
    files: tuple[str, ...] = ("*.parquet",)
    name: str = ""
    licence: str | None = None
    layout: Literal["rows", "s1"] = "rows"
    columns: dict[str, str] = field(default_factory=dict)
    expected_from: Literal["column", "solution"] = "column"
    grading: str | None = None

    def __post_init__(self) -> None:
        check("revision", self.revision, bool(COMMIT.fullmatch(self.revision)), "a full commit of 40 hex digits")
        check_columns(self.columns)
        check_grading(self.grading)

    @property
    def label(self) -> str:
        """Name of the source in reports."""
        return self.name or self.repo


def read_hub_source(source: HubSource) -> Iterator[Raw | BadRow]:
    """Yield the rows of a data set. Raises BuildFailed if it cannot be downloaded or read."""
    columns = Columns(
        label=source.label,
        revision=source.revision,
        licence=source.licence,
        layout=source.layout,
        names=source.columns,
        expected_from=source.expected_from,
        grading=source.grading,
    )
    folder = _download(source)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and _is_chosen(path.relative_to(folder), source.files))
    if not paths:
        raise BuildFailed(f"{source.repo}: no file of revision {source.revision} matches {', '.join(source.files)}")
    for path in paths:
        for place, values in table_rows(path):
            yield columns.raw(f"{source.repo}/{path.relative_to(folder)}:{place}", values)


def _is_chosen(path: Path, patterns: tuple[str, ...]) -> bool:
    return path.name.endswith(SUFFIXES) and any(fnmatch(str(path), pattern) for pattern in patterns)


def _download(source: HubSource) -> Path:
    """Return the folder of the hub client's cache that has the files; a download that was broken off continues."""
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(source.repo, repo_type="dataset", revision=source.revision, allow_patterns=list(source.files))
    except Exception as error:  # the hub client's errors have no common base class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BuildFailed(f"{source.repo}: download from the hub failed: {reason}; downloaded files are kept, run it again") from error
    return Path(found)

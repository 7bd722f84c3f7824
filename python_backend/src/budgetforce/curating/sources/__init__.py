# SPDX-License-Identifier: Apache-2.0
"""The sources of questions: local files, data sets of the hub, and the generators of puzzles."""

from __future__ import annotations

import random
from collections.abc import Iterator

from budgetforce.curating.sources.files import FileSource, read_file_source
from budgetforce.curating.sources.generators import GeneratorSource, read_generator
from budgetforce.curating.sources.hub import HubSource, read_hub_source
from budgetforce.curating.sources.raw import BadRow, Raw
from budgetforce.curating.sources.tables import count_rows

__all__ = ["BadRow", "FileSource", "GeneratorSource", "HubSource", "Raw", "num_rows_of", "read"]


def read(source: FileSource | HubSource | GeneratorSource, rng: random.Random) -> Iterator[Raw | BadRow]:
    """Yield the rows of a source. Raises BuildFailed if the source cannot be read."""
    if isinstance(source, FileSource):
        return read_file_source(source)
    if isinstance(source, HubSource):
        return read_hub_source(source)
    return read_generator(source, rng)


def num_rows_of(source: FileSource | HubSource | GeneratorSource) -> int | None:
    """Return the number of rows of a source; None for a data set of the hub. Raises BuildFailed for an unreadable file."""
    if isinstance(source, GeneratorSource):
        return source.num_questions
    return count_rows(source.path) if isinstance(source, FileSource) else None

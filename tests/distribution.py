# SPDX-License-Identifier: Apache-2.0
"""How the processes of pytest-xdist share the tests out: by file, the longest first.

A file's tests stay together, because they share servers, models and tokenizers that would otherwise be made once a process; the
long tests of ``SCATTERED`` share nothing. What takes longest begins first, so that both processes end at about the same time.
"""

from __future__ import annotations

import re

import pytest
from xdist.scheduler import LoadGroupScheduling

SCATTERED = ("tests/core/test_worlds.py",)
# Groups (``xdist_group``), files and folders by their time on one core, from minutes to half a minute.
LONGEST = (
    "server",
    "chain",
    "training",
    "tests/core/test_worlds.py",
    "tests/building/test_pipeline.py",
    "tests/client/cli/evaluate",
    "tests/client/cli/reply",
    "tests/launcher/test_ranks.py",
    "tests/serving",
    "tests/curating",
    "clients",
    "browser",
)


class ByFile(LoadGroupScheduling):
    """Gives a process a group, or a whole file, at a time."""

    def _split_scope(self, nodeid: str) -> str:
        group = super()._split_scope(nodeid)
        file = nodeid.partition("::")[0]
        return file if group == nodeid and file not in SCATTERED else group


def longest_first(items: list[pytest.Item]) -> None:
    """Sort tests by the place of their group, file or folder in ``LONGEST``; the others keep their order behind these."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    group = item.get_closest_marker("xdist_group")
    name = group.args[0] if group else item.nodeid
    places = (place for place, longest in enumerate(LONGEST) if re.match(rf"{re.escape(longest)}(/|::|$)", name))
    return next(places, len(LONGEST))

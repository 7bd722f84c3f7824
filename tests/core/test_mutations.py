# SPDX-License-Identifier: Apache-2.0
"""The list of planted bugs fits the sources; the first bug is planted here, all of them by ``tests/mutations.py``."""

import pytest

from mutations import MUTATIONS, SOURCES, Mutation, is_caught


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_planted_bug_has_one_place(mutation):
    text = (SOURCES / "budgetforce" / "core" / f"{mutation.file}.py").read_text()
    assert text.count(mutation.old) == 1
    assert mutation.new != mutation.old


def test_a_bug_is_caught():
    assert is_caught(MUTATIONS[0])


def test_the_tool_can_fail(monkeypatch):
    """A change that changes nothing survives."""
    monkeypatch.setattr("mutations.TESTS", ["tests/core/test_states.py"])
    assert not is_caught(Mutation("nothing", "budget", "return self.cap", "return  self.cap"))

# SPDX-License-Identifier: Apache-2.0
"""The table of states is complete, and every path through it ends."""

from budgetforce.core.states import TRANSITIONS, Cause, State, mermaid


def test_every_state_has_a_row_and_every_cause_a_use():
    """A state without a row would be an error at run time; a cause without a cell is dead."""
    assert set(TRANSITIONS) == set(State)
    assert {cause for row in TRANSITIONS.values() for cause in row} == set(Cause)


def test_done_is_reached_from_everywhere_and_left_by_nothing():
    """Every reply can end, and ends once."""
    assert TRANSITIONS[State.DONE] == {}
    assert all(State.DONE in row.values() for state, row in TRANSITIONS.items() if state is not State.DONE)


def test_thinking_never_opens_again():
    """From the answer on there is no way back."""
    assert State.THINKING not in TRANSITIONS[State.ANSWERING].values()


def test_the_diagram_has_a_line_for_every_cell():
    """docs/concepts.md shows it."""
    assert mermaid().count("-->") == 2 + sum(len(row) for row in TRANSITIONS.values())

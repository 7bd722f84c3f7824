# SPDX-License-Identifier: Apache-2.0
"""The states of a run on disk: which count, which are removed, and what a broken run.json says."""

from __future__ import annotations

import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.training import states

RUN = {"recipe": "abc", "number of processes": 1}


def write_state(folder, step, *, complete=True):
    state = folder / f"checkpoint-{step}"
    state.mkdir(parents=True)
    (state / "weights").write_text("w" * step)
    if complete:
        states.mark_complete(state)


def test_only_old_complete_states_are_removed(tmp_path):
    """An incomplete state is no reason to remove a complete one; steps are compared as numbers."""
    for step in (2, 4, 10):
        write_state(tmp_path, step)
    write_state(tmp_path, 12, complete=False)
    states.remove_old(tmp_path, 1)
    assert sorted(state.name for state in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-12"]
    assert states.last_state(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"recipe":'])
def test_a_broken_run_file_is_refused_and_restart_replaces_it(tmp_path, content):
    folder = tmp_path / "states"
    folder.mkdir()
    (folder / "run.json").write_text(content)
    with pytest.raises(BuildFailed, match="run.json cannot be read: .* add --restart"):
        states.open_states(folder, RUN, restart=False)
    states.open_states(folder, RUN, restart=True)
    states.open_states(folder, RUN, restart=False)


def test_states_of_another_run_are_refused_with_what_differs(tmp_path):
    states.open_states(tmp_path, RUN, restart=False)
    with pytest.raises(BuildFailed, match=r"another number of processes \(1, now 2\)"):
        states.open_states(tmp_path, RUN | {"number of processes": 2}, restart=False)

# SPDX-License-Identifier: Apache-2.0
"""Shared memory regions are the owner's alone. (Those of a real Triton: tests/server/test_security.py.)"""

import pytest

from budgetforce.launcher import regions


@pytest.fixture
def memory(tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "SHARED_MEMORY", tmp_path)
    for name in ("s1_ours_0_a", "s1_ours_1_b", "s1_other_0_a"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    return tmp_path


def test_the_regions_of_all_ranks_are_hidden_and_those_of_others_left_alone(memory):
    regions.hide("s1_ours_")
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in memory.iterdir()} == {
        "s1_ours_0_a": "0o600",
        "s1_ours_1_b": "0o600",
        "s1_other_0_a": "0o644",
    }


def test_a_region_that_goes_meanwhile_is_no_error(memory, monkeypatch):
    gone = memory / "s1_ours_0_a"
    real = type(gone).chmod

    def chmod(path, mode):
        path.unlink()
        real(path, mode)

    monkeypatch.setattr(type(gone), "chmod", chmod)
    regions.hide("s1_ours_0")
    assert not gone.exists()

# SPDX-License-Identifier: Apache-2.0
"""A server's files in /dev/shm are the owner's alone, and go with the server. (Those of a real Triton: tests/server/test_security.py.)"""

import subprocess
import sys

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


DEAD, LIVING = "s1_0123456789ab_", "s1_ba9876543210_"


def test_files_of_a_server_without_a_process_are_removed_and_those_of_a_living_one_stay(memory):
    regions.claim(DEAD).close()
    (memory / f"{DEAD}0_region").touch()
    with regions.claim(LIVING):
        (memory / f"{LIVING}0_region").touch()
        regions.remove_leftovers()
        assert {path.name for path in memory.iterdir() if path.name.startswith((DEAD, LIVING))} == {f"{LIVING}control", f"{LIVING}0_region"}
    regions.remove_leftovers()
    assert not list(memory.glob(f"{LIVING}*"))


def test_a_server_that_outlives_its_launcher_keeps_its_files(memory):
    """It holds the file open, as Triton and its stubs do."""
    with regions.claim(LIVING) as held:
        server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held.fileno(),))
    regions.remove_leftovers()
    assert regions.control_file(LIVING).exists()
    server.communicate(b"\n")
    regions.remove_leftovers()
    assert not regions.control_file(LIVING).exists()


@pytest.mark.parametrize("name", ["s1_ours_control", "s1_*_control", "s1_0123456789AB_control", "x_s1_0123456789ab_control"])
def test_files_that_no_launcher_made_stay(memory, name):
    (memory / name).touch()
    before = set(memory.iterdir())
    regions.remove_leftovers()
    assert set(memory.iterdir()) == before


def test_files_of_another_user_stay(memory, monkeypatch):
    """A launcher that runs as root could remove them."""
    regions.claim(DEAD).close()
    monkeypatch.setattr(regions.os, "geteuid", lambda: 12345)
    regions.remove_leftovers()
    assert regions.control_file(DEAD).exists()


def test_a_control_file_that_is_there_is_not_taken_over(memory):
    """Another user could have made it."""
    regions.control_file(DEAD).touch()
    with pytest.raises(FileExistsError):
        regions.claim(DEAD)


def test_a_claim_that_another_launcher_removes_before_the_lock_is_made_again(memory, monkeypatch):
    real, looks = regions.fcntl.flock, []

    def flock(file, operation):
        if not looks:
            regions.control_file(LIVING).unlink()
        looks.append(operation)
        real(file, operation)

    monkeypatch.setattr(regions.fcntl, "flock", flock)
    with regions.claim(LIVING):
        assert len(looks) == 2
        assert regions.control_file(LIVING).exists()

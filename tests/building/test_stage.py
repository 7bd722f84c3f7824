# SPDX-License-Identifier: Apache-2.0
"""A result is complete or missing, and is made only once."""

import contextlib
import subprocess
import sys

import pytest

from budgetforce.building.stage import BuildFailed, Stage, locked


def stage(folder, resumable=False, **inputs):
    return Stage(name="bake", folder=folder / "bread", inputs=inputs, resumable=resumable)


def bake(made, text="loaf"):
    with made.making() as result:
        (result.folder / "crust").write_text(text)
        result.found["grams"] = 750


def test_a_result_is_known_again_by_its_inputs(tmp_path):
    bake(stage(tmp_path, flour=1, water=2))
    stamp = stage(tmp_path, water=2, flour=1).stamp()
    assert (stamp["found"], stamp["files"]) == ({"grams": 750}, {"crust": 4})
    assert stage(tmp_path, flour=1, water=3).stamp() is None


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_text("lo")])
def test_a_result_with_a_missing_or_shorter_file_does_not_count(tmp_path, harm):
    bake(stage(tmp_path))
    harm(tmp_path / "bread" / "crust")
    assert stage(tmp_path).stamp() is None


def test_a_failure_leaves_nothing(tmp_path):
    with contextlib.suppress(KeyboardInterrupt), stage(tmp_path).making() as result:
        (result.folder / "crust").write_text("lo")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_result_until_the_new_one_is_whole(tmp_path):
    bake(stage(tmp_path, flour=1), "old")
    with pytest.raises(ZeroDivisionError), stage(tmp_path, flour=2).making():
        raise ZeroDivisionError
    assert stage(tmp_path, flour=1).stamp()
    bake(stage(tmp_path, flour=2), "new")
    assert [path.name for path in tmp_path.iterdir()] == ["bread"]
    assert (tmp_path / "bread" / "crust").read_text() == "new"


@pytest.mark.parametrize(("is_resumable", "flour", "is_kept"), [(True, 1, True), (True, 2, False), (False, 1, False)])
def test_the_partial_result_of_a_killed_run_is_continued_or_removed(tmp_path, is_resumable, flour, is_kept):
    """Kept only for the same inputs, so that files of two models are never mixed."""
    killed = stage(tmp_path, resumable=True, flour=1).making()
    (killed.__enter__().folder / "half").write_text("x")
    with stage(tmp_path, resumable=is_resumable, flour=flour).making() as result:
        assert (result.folder / "half").exists() == is_kept
    assert {path.name for path in (tmp_path / "bread").iterdir()} == {"stage.json"} | ({"half"} if is_kept else set())


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_run_that_was_killed_just_before_the_end_is_ended_by_the_next(tmp_path, is_replaced):
    """The partial folder has its stamp, and only lacks the rename."""
    bake(stage(tmp_path, flour=2))
    (tmp_path / "bread").rename(tmp_path / "bread.partial")
    if is_replaced:
        bake_old = stage(tmp_path, flour=1)
        (tmp_path / "bread").mkdir()
        assert bake_old.stamp() is None
    assert stage(tmp_path, flour=2).stamp()
    assert [path.name for path in tmp_path.iterdir()] == ["bread"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BuildFailed, match=r"file/work cannot be written by user \d+: Not a directory"), locked(tmp_path / "file" / "work"):
        pass


HOLD = "import sys, time; from pathlib import Path; from budgetforce.building.stage import locked\n"
HOLD += "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"


def test_only_one_build_runs_and_a_killed_build_holds_no_lock(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BuildFailed, match="BUILD: another build runs in"), locked(tmp_path):
            pass
        other.kill()
        other.wait()
        with locked(tmp_path):
            pass

# SPDX-License-Identifier: Apache-2.0
"""Whether a process of a Python model has died. (Killed in a real server: tests/server/test_engine_outages.py.)"""

import os
import subprocess
import sys

import pytest

from budgetforce.launcher.stubs import Stubs
from budgetforce.processes import kill_session

PROGRAM = "triton_python_backend_stub"


@pytest.fixture
def stub(tmp_path):
    """A process that looks like one, in a session of its own; it can end while nobody waits for it, as Triton's do."""
    (tmp_path / PROGRAM).symlink_to(sys.executable)
    source = tmp_path / "repository" / "s1" / "1" / "model.py"
    source.parent.mkdir(parents=True)
    source.write_text("import time; print('up', flush=True); time.sleep(600)")
    command = [tmp_path / PROGRAM, source, "region", "s1_0_0", "DEFAULT"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True)
    assert process.stdout.readline() == "up\n"
    yield process
    kill_session(process)
    process.stdout.close()


def kill(process):
    """It stays a zombie."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_one_that_runs_has_not_died(stub):
    stubs = Stubs(session=stub.pid, is_loaded=lambda _: True)
    assert [stubs.died() for _ in range(3)] == [None] * 3


def test_one_that_has_died_is_named_at_the_second_look_and_once(stub):
    stubs = Stubs(session=stub.pid, is_loaded=lambda model: model == "s1")
    assert stubs.died() is None
    kill(stub)
    assert stubs.died() is None
    assert stubs.died() == f"the process of model 's1' (instance s1_0_0, pid {stub.pid}) died, and Triton does not restart it"
    assert stubs.died() is None


@pytest.mark.parametrize("is_reaped", [False, True])
def test_one_whose_model_was_unloaded_has_not_died(stub, is_reaped):
    stubs = Stubs(session=stub.pid, is_loaded=lambda _: False)
    stubs.died()
    kill(stub)
    if is_reaped:
        stub.wait()
    assert [stubs.died() for _ in range(3)] == [None] * 3


def test_one_that_triton_has_taken_note_of_is_found_too(stub):
    """Since 26.01 it asks for the exit code when it is asked whether a model is ready: then nothing is left of the process."""
    stubs = Stubs(session=stub.pid, is_loaded=lambda _: True)
    stubs.died()
    kill(stub)
    stub.wait()
    assert [died is None for died in (stubs.died(), stubs.died())] == [True, False]

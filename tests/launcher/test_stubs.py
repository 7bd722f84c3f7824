# SPDX-License-Identifier: Apache-2.0
"""The death of a Python model's process is noticed. (In a real server: tests/server/test_engine_outages.py.)"""

import os
import subprocess
import sys

import pytest

from budgetforce.launcher.stubs import Stubs
from budgetforce.processes import kill_session

PROGRAM = "triton_python_backend_stub"


@pytest.fixture
def stub(tmp_path):
    """A process with a stub's name, in its own session; it can end while nobody waits for it, as Triton's do."""
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


def test_a_running_stub_has_not_died(stub):
    stubs = Stubs(session=stub.pid, is_loaded=lambda _: True)
    assert [stubs.died() for _ in range(3)] == [None] * 3


def test_a_dead_stub_is_named_once_at_the_second_check(stub):
    stubs = Stubs(session=stub.pid, is_loaded=lambda model: model == "s1")
    assert stubs.died() is None
    kill(stub)
    assert stubs.died() is None
    assert stubs.died() == f"the process of model 's1' (instance s1_0_0, pid {stub.pid}) died, and Triton does not restart it"
    assert stubs.died() is None


@pytest.mark.parametrize("is_reaped", [False, True])
def test_the_stub_of_an_unloaded_model_has_not_died(stub, is_reaped):
    stubs = Stubs(session=stub.pid, is_loaded=lambda _: False)
    stubs.died()
    kill(stub)
    if is_reaped:
        stub.wait()
    assert [stubs.died() for _ in range(3)] == [None] * 3


def test_a_dead_stub_that_triton_has_reaped_is_noticed(stub):
    """Since 26.01 Triton reads the exit code when it checks whether a model is ready: then nothing is left of the process."""
    stubs = Stubs(session=stub.pid, is_loaded=lambda _: True)
    stubs.died()
    kill(stub)
    stub.wait()
    assert [died is None for died in (stubs.died(), stubs.died())] == [True, False]

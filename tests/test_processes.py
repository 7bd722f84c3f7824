# SPDX-License-Identifier: Apache-2.0
"""All processes of a session are found and ended."""

import os
import subprocess
import sys
import time

import pytest

from budgetforce import processes
from budgetforce.processes import arguments, is_running, kill_session, members

DEAF = "import signal, sys, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; print(flush=True); time.sleep(600)"
GROUPS = f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {DEAF!r}], process_group=0)"


@pytest.fixture
def leader():
    """A process whose only child has a group of its own and ends for no signal."""
    process = subprocess.Popen([sys.executable, "-c", GROUPS], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    yield process
    kill_session(process)
    process.stdout.close()


def test_a_process_in_another_group_is_a_member_of_the_session(leader):
    found = members(leader.pid)
    assert len(found) == 2
    assert leader.pid in found
    assert {os.getpgid(pid) for pid in found} == set(found)
    assert all(arguments(pid)[1] == "-c" for pid in found)


def test_a_session_is_ended_whole(leader):
    found = members(leader.pid)
    kill_session(leader)
    assert members(leader.pid) == []
    assert not any(is_running(pid, leader.pid) for pid in found)


def test_zombies_do_not_count_as_running():
    process = subprocess.Popen(["true"], start_new_session=True)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid, process.pid)
    assert members(process.pid) == []
    assert process.wait() == 0


def test_a_process_of_another_session_is_not_a_member():
    assert is_running(os.getpid(), os.getsid(0))
    assert not is_running(os.getpid(), os.getsid(0) + 1)


def test_an_ended_process_has_no_arguments():
    process = subprocess.Popen(["true"])
    process.wait()
    assert arguments(process.pid) == []


ADOPTING = """
import os, subprocess, sys, time
from budgetforce.processes import adopt_orphans, kill_session, members

adopt_orphans()
orphaning = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sys.argv[1]!r}])"
leader = subprocess.Popen([sys.executable, "-c", orphaning], stdout=subprocess.PIPE, start_new_session=True)
leader.stdout.readline()
leader.wait()
orphan, = members(leader.pid)
print(open(f"/proc/{orphan}/stat").read().rpartition(")")[2].split()[1] == str(os.getpid()))
kill_session(leader)
print(os.path.exists(f"/proc/{orphan}"))
"""


def test_an_orphan_of_an_adopter_is_reaped_with_its_session():
    """In a separate process, because adopting cannot be undone."""
    done = subprocess.run([sys.executable, "-c", ADOPTING, DEAF], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\nFalse\n", done.stderr


def test_waiting_for_a_process_that_does_not_die_is_limited(monkeypatch):
    process = subprocess.Popen(["true"], start_new_session=True)
    monkeypatch.setattr(processes, "members", lambda _: [process.pid])
    monkeypatch.setattr(processes, "KILL_TIMEOUT_S", 0.2)
    started = time.monotonic()
    kill_session(process)
    assert time.monotonic() - started >= 0.2

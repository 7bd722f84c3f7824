# SPDX-License-Identifier: Apache-2.0
"""A tool's output is kept in a log, and its end is reported."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from budgetforce.building import toolrun
from budgetforce.building.stage import BuildFailed
from budgetforce.building.toolrun import Run, duration, last_lines, remaining


def run(tmp_path, code, *arguments, **more):
    Run(stage="bake", command=[sys.executable, "-c", code, *arguments], log=tmp_path / "logs" / "bake.log", **more)()


def test_the_log_has_the_command_and_both_outputs(tmp_path):
    run(tmp_path, "import sys; print('out', flush=True); print('err', file=sys.stderr)", "a b")
    first, *rest = (tmp_path / "logs" / "bake.log").read_text().splitlines()
    assert first.startswith("$ ")
    assert first.endswith("'a b'")
    assert rest == ["out", "err"]


def test_a_failure_shows_the_last_lines_the_code_and_the_log(tmp_path):
    with pytest.raises(BuildFailed) as caught:
        run(tmp_path, "[print(i) for i in range(100)]; raise SystemExit(3)")
    text = str(caught.value)
    assert text.startswith("BUILD: stage bake: ")
    assert "ended with code 3 after" in text
    assert "\n84\n" not in text
    assert "\n85\n86\n" in text
    assert f"log: {tmp_path}/logs/bake.log" in text


@pytest.mark.parametrize(
    ("output", "hint"), [("OSError: [Errno 28] No space left on device", "the disk is full"), ("CUDA out of memory", "GPU")]
)
def test_a_known_failure_comes_with_advice(tmp_path, output, hint):
    with pytest.raises(BuildFailed, match=hint):
        run(tmp_path, f"raise SystemExit({output!r})")


def test_a_killed_tool_is_reported_with_its_signal(tmp_path):
    with pytest.raises(BuildFailed, match=r"was killed by SIGKILL(?s:.*)memory \(dmesg\)"):
        run(tmp_path, "import os; os.kill(os.getpid(), 9)")


@pytest.mark.parametrize("command", ["/nowhere/trtllm-build", "/etc/passwd"])
def test_a_tool_that_cannot_be_started_names_the_image(tmp_path, command):
    with pytest.raises(BuildFailed, match=f"{command} cannot be started .*: build inside nvcr.io/nvidia/tritonserver:26.07"):
        Run(stage="bake", command=[command], log=tmp_path / "bake.log")()


def test_a_tools_child_processes_end_with_it(tmp_path):
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    run(tmp_path, code)
    pid = int(last_lines(tmp_path / "logs" / "bake.log", 1))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and is_alive(pid):
        time.sleep(0.01)
    assert not is_alive(pid)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_elapsed_and_remaining_time_are_shown_while_it_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toolrun, "PLAIN_PERIOD_S", 0.2)
    run(tmp_path, "import time; time.sleep(0.5)", estimate_s=(300.0, 3600.0))
    assert capsys.readouterr().err.startswith("bake: 0 s, 5 min to 60 min left by estimate\n")


def test_on_a_terminal_the_line_shows_the_tools_own_last_one(tmp_path):
    code = "from pathlib import Path; from budgetforce.building.toolrun import Run; import sys\n"
    code += "tool = \"import time; print('Calibrating batch 7', flush=True); time.sleep(1.5)\"\n"
    code += "Run(stage='bake', command=[sys.executable, '-c', tool], log=Path(sys.argv[1]))()"
    ours, its = pty.openpty()
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "bake.log")], stderr=its, check=True)
    assert "bake: 1 s  Calibrating batch 7" in os.read(ours, 4096).decode()
    os.close(ours)
    os.close(its)


def test_of_a_progress_bar_the_last_state_counts(tmp_path):
    log = tmp_path / "log"
    log.write_bytes("first\r\n 10%|#\r 90%|####\n\nlast \xff".encode("latin-1"))
    assert last_lines(log, 3) == "first\n 90%|####\nlast \ufffd"


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "7 s"), (89, "89 s"), (720, "12 min"), (3900, "65 min"), (5700, "1 h 35 min")])
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text


def test_an_estimate_that_has_passed_is_not_shown():
    assert remaining(30, (60, 120)) == ", 30 s to 90 s left by estimate".replace("90 s", "2 min")
    assert remaining(90, (60, 120)) == ", 0 s to 30 s left by estimate"
    assert remaining(200, (60, 120)) == remaining(5, (0, 0)) == ""

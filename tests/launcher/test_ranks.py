# SPDX-License-Identifier: Apache-2.0
"""An engine on two GPUs, as processes: a real mpirun (package openmpi) over a stand-in for tritonserver.

With the real Triton: tests/server/test_ranks.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from budgetforce.errors import ConfigError
from budgetforce.launcher import ranks, regions, triton_server
from budgetforce.launcher.ranks import Ranks, mpirun, world_size
from budgetforce.processes import members

STAND_IN = Path(__file__).parent.parent / "fakes" / "stand_in_triton"
MPIRUN = os.environ.get("MPIRUN_DIR", str(Path(sys.prefix) / "bin"))  # that of Open MPI 4.1 was tried by hand


def make_engine(folder: Path, num_ranks: int = 2) -> Path:
    folder.mkdir()
    built = {"max_seq_len": 32768, "max_batch_size": 32}
    config = {"pretrained_config": {"vocab_size": 152064, "mapping": {"world_size": num_ranks}}, "build_config": built}
    (folder / "config.json").write_text(json.dumps(config))
    for rank in range(num_ranks):
        (folder / f"rank{rank}.engine").touch()
    return folder


@dataclass
class Launched:
    """The launcher as a container starts it, and the notes that its ranks write."""

    process: subprocess.Popen
    notes: Path

    def wait_until(self, name: str) -> None:
        deadline = time.monotonic() + 30
        while not (self.notes / name).exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def wait_until_ready(self) -> None:
        for beginning in ("ready: ", "ask it: "):
            assert self.process.stdout.readline().startswith(beginning)

    def rank(self, number: int) -> dict:
        return json.loads((self.notes / f"{number}.json").read_text())

    def end(self, *, within_s: float = 30) -> tuple[int, str]:
        """Wait for its exit code and output, and check that nothing of it is left."""
        _, errors = self.process.communicate(timeout=within_s)
        for note in self.notes.glob("?.json"):
            rank = json.loads(note.read_text())
            assert not Path(f"/proc/{rank['pid']}").exists()
            assert not list(Path("/dev/shm").glob(f"{rank['prefix']}*"))
        return self.process.returncode, errors


@pytest.fixture
def launch(tmp_path, root):
    """Start a launcher whose ranks follow instructions; afterwards check that the session of its mpirun is empty."""
    launched = []

    def start(*further_flags: str, num_ranks: int = 2, **does: str) -> Launched:
        notes, repository = tmp_path / "notes", tmp_path / "repository"
        notes.mkdir()
        for model in ("s1", "tensorrt_llm"):
            (repository / model).mkdir(parents=True)
            (repository / model / "config.pbtxt").touch()
        for rank, behaviour in does.items():
            (notes / f"{rank.removeprefix('rank')}.does").write_text(behaviour)
        engine = make_engine(tmp_path / "engine", num_ranks)
        flags = ["--engine=tensorrt_llm", f"--engine-dir={engine}", f"--tokenizer={tmp_path}", "--skip-preflight"]
        flags += [f"--model-repository={repository}", f"--log={tmp_path / 'triton.log'}", "--drain-s=0.1", *further_flags]
        flags += [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
        process = subprocess.Popen(
            [sys.executable, "-m", "budgetforce.launcher", *flags],
            env={**os.environ, "STAND_IN": str(notes), "PATH": f"{STAND_IN}:{MPIRUN}:{sys.base_prefix}/bin:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        launched.append(Launched(process=process, notes=notes))
        return launched[-1]

    yield start
    for one in launched:
        one.process.kill()
        one.process.communicate()


def test_rank_0_serves_the_other_loads_the_engine_alone_and_no_rank_is_bound_to_a_core(launch):
    launched = launch()
    launched.wait_until_ready()
    first, second = launched.rank(0), launched.rank(1)
    launched.process.terminate()
    assert launched.end()[0] == 0
    assert [flag for flag in first["arguments"] if "load-model" in flag] == ["--load-model=s1", "--load-model=tensorrt_llm"]
    assert [flag for flag in second["arguments"] if "load-model" in flag] == ["--load-model=tensorrt_llm"]
    assert {"--allow-http=false", "--allow-grpc=false", "--allow-metrics=false"} < set(second["arguments"])
    assert not any("-port=" in flag or "-address=" in flag for flag in second["arguments"])
    assert first["prefix"] != second["prefix"]
    assert first["num_cpus"] == second["num_cpus"] == len(os.sched_getaffinity(0))


def test_an_orderly_end_is_rank_0s_and_the_others_follow_it(launch, tmp_path):
    """A signal to the other rank, which is still loading, would kill it, and mpirun would then kill rank 0."""
    launched = launch()
    launched.wait_until_ready()
    launched.process.terminate()
    assert launched.end(within_s=5)[0] == 0
    assert sorted(line for line in (tmp_path / "triton.log").read_text().splitlines() if line) == ["rank 0 ends", "rank 1 ends"]


@pytest.mark.parametrize(("rank", "does"), [("rank0", "die"), ("rank1", "die"), ("rank1", "leave")])
def test_a_rank_that_ends_ends_everything_with_an_error(launch, rank, does):
    """mpirun itself keeps waiting if a rank leaves with code 0, and in 5.0 also if its stub lives."""
    launched = launch(**{rank: does})
    launched.wait_until_ready()
    code, errors = launched.end(within_s=10)
    assert code in (1, 137)
    assert "by itself" in errors


def test_a_rank_that_dies_while_it_loads_is_a_start_that_failed(launch):
    code, errors = launch(rank0="load long", rank1="die early").end(within_s=10)
    assert code == 1
    assert "while starting" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_it_loads_leaves_nothing(launch, number):
    launched = launch(rank0="load long")
    for rank in (0, 1):
        launched.wait_until(f"{rank}.json")
    launched.process.send_signal(number)
    assert launched.end(within_s=ranks.TIDY_S + 2)[0] == 0


def test_a_rank_that_ends_for_no_signal_is_killed_and_a_second_signal_changes_nothing(launch):
    launched = launch(rank1="deaf")
    launched.wait_until_ready()
    launched.process.terminate()
    time.sleep(0.5)
    launched.process.send_signal(signal.SIGINT)
    assert launched.end(within_s=triton_server.FOLLOW_S + ranks.TIDY_S + 2)[0] == 0


def test_processes_that_a_rank_left_behind_are_ended(launch):
    """A process that no rank waits for and that ignores signals becomes a child of the launcher."""
    launched = launch(rank1="orphan")
    launched.wait_until_ready()
    session = os.getsid(launched.rank(0)["pid"])
    assert len(members(session)) == 6  # mpirun, two ranks, two stubs and the orphan
    launched.process.terminate()
    assert launched.end()[0] == 0
    assert members(session) == []


def test_ranks_do_not_outlive_a_launcher_that_was_killed_and_the_next_one_removes_their_files(launch):
    """mpirun gets SIGTERM when the launcher dies."""
    launched = launch()
    launched.wait_until_ready()
    session = os.getsid(launched.rank(0)["pid"])
    launched.process.kill()
    deadline = time.monotonic() + 10
    while members(session) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(session) == []
    prefix = launched.rank(0)["prefix"].removesuffix("0_")
    assert regions.control_file(prefix).exists()  # nobody was left to remove it
    regions.remove_leftovers()
    assert not list(Path("/dev/shm").glob(f"{prefix}*"))


def test_an_engine_of_one_rank_needs_no_mpirun_and_a_container_gets_its_log(launch, tmp_path):
    """The log goes to the launcher's output, which a container's log driver rotates."""
    launched = launch("--log=-", f"--model-repository={tmp_path / 'another'}", num_ranks=1)
    launched.wait_until_ready()
    flags = launched.rank(0)["arguments"]
    assert [flag.rpartition("/")[2] for flag in flags if flag.startswith("--model-repository=")] == ["repository", "another"]
    launched.process.terminate()
    assert launched.process.stdout.readline() == "rank 0 ends\n"
    assert launched.end()[0] == 0


def test_a_rank_0_that_hangs_is_given_its_time_and_no_more(tmp_path):
    marks = ["first", "second"]
    commands = [
        [sys.executable, "-c", "import signal; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; signal.pause()", m] for m in marks
    ]
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "log").open("wb") as log:
        patch.setenv("PATH", MPIRUN, prepend=os.pathsep)
        one = Ranks.start(commands, marks=marks, environment=dict(os.environ), log=log, held=log.fileno())
    deadline = time.monotonic() + 10
    while len(one.pids) < 2 and time.monotonic() < deadline:
        assert one.ended() is None
    started = time.monotonic()
    one.end(0.5, 3600)  # the others' hour is not waited for
    assert time.monotonic() - started > 0.5
    assert members(one.process.pid) == []


def test_the_command_is_nvidias_and_binds_to_no_core(monkeypatch):
    """mpirun is called by name: called by its path, it changes the ranks' PATH."""
    monkeypatch.setattr(ranks.shutil, "which", lambda _: "/usr/bin/mpirun")
    found = mpirun([["tritonserver", "--a"], ["tritonserver", "--b"]])
    assert " ".join(found) == "mpirun --allow-run-as-root --bind-to none -n 1 tritonserver --a : -n 1 tritonserver --b"


def test_a_missing_mpirun_is_reported(monkeypatch):
    monkeypatch.setattr(ranks.shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="2 ranks, which needs mpirun"):
        mpirun([["a"], ["b"]])


def test_the_number_of_ranks_is_the_engines(tmp_path):
    assert world_size(make_engine(tmp_path / "engine")) == 2


def test_an_engine_with_a_missing_rank_is_refused(tmp_path):
    (make_engine(tmp_path / "engine") / "rank1.engine").unlink()
    with pytest.raises(ConfigError, match=r"no rank1\.engine"):
        world_size(tmp_path / "engine")


@pytest.mark.parametrize(
    "text", ["", "{}", '{"pretrained_config": {"mapping": 2}}', '{"pretrained_config": {"mapping": {"world_size": "x"}}}']
)
def test_an_engine_config_without_a_world_size_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match="mapping.world_size"):
        world_size(tmp_path)

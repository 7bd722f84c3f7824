# SPDX-License-Identifier: Apache-2.0
"""Every finding before Triton starts on GPUs: its text, and whether it stops the start."""

import resource
import shutil
import socket
import sys
from collections import namedtuple
from dataclasses import replace

import pytest
from built_engine import NvidiaSmi, build, gpu, machine, manifest_of, write_config

from budgetforce.building import machine as machines
from budgetforce.building import manifest as manifests
from budgetforce.building import preflight
from budgetforce.building.manifest import BUILD_AGAIN, OTHER_IMAGE
from budgetforce.building.preflight import NOTE, OK, WRONG, Finding, examine, main, require
from budgetforce.errors import ConfigError
from budgetforce.launcher import command as launcher
from budgetforce.launcher.options import parse_options

Usage = namedtuple("Usage", "total")


@pytest.fixture
def image(tmp_path, monkeypatch):
    """A Triton with TensorRT-LLM's backend on PATH, in a correctly started container."""
    triton = tmp_path / "opt" / "tritonserver"
    (triton / "backends" / "tensorrtllm").mkdir(parents=True)
    (triton / "bin").mkdir()
    for name in ("tritonserver", "mpirun"):
        (triton / "bin" / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(triton / "bin"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**31))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return triton


@pytest.fixture
def built(tmp_path):
    return build(tmp_path)


@pytest.fixture
def ports():
    """Three free ports, by name."""
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for sock in (one, two, three):
            sock.bind(("127.0.0.1", 0))
        numbers = [sock.getsockname()[1] for sock in (one, two, three)]
    return {name: ("127.0.0.1", number) for name, number in zip(("http", "grpc", "metrics"), numbers, strict=True)}


def test_where_all_is_well_nothing_is_wrong(image, built, ports):
    found = examine(*built, ports, machine())
    assert {one.state for one in found} == {OK}
    assert [one.check for one in found] == [
        *("image", "driver", "shared memory", "memlock", "ports", "engine", "config", "tokenizer", "machine"),
        *("GPUs", "GPU 0 memory", "GPU 1 memory", "GPU 0 to 1"),
    ]
    assert [str(one) for one in found][-3::2] == ["GPU 0 memory: 79.1 of 79.6 GiB free", "GPU 0 to 1: NVLink (NV18)"]


MACHINES = [
    ({"tensorrt_llm": "1.3.0rc20"}, "image", WRONG, "TensorRT-LLM is 1.3.0rc20, this project is written for 1.2.1", OTHER_IMAGE),
    ({"tensorrt_llm": ""}, "image", NOTE, "this Python does not know the version of TensorRT-LLM", ""),
    ({"tensorrt": "10.13.3.9"}, "machine", WRONG, "TensorRT: found 10.13.3.9, expected 10.14.1.48, which built the engine", OTHER_IMAGE),
    ({"driver": ""}, "driver", WRONG, "nvidia-smi shows no GPU", "give the container its GPUs: --gpus all"),
    ({"driver": "570.124.06", "cuda": "12.8"}, "driver", WRONG, "570.124.06 can run CUDA up to 12.8, the image needs 13", "590.44.01"),
    ({"driver": "580.95.05", "cuda": "13.0"}, "driver", OK, "580.95.05, CUDA up to 13.0", ""),
    ({"driver": "570.124.06", "cuda": "13.1"}, "driver", OK, "570.124.06, CUDA up to 13.1", ""),  # by forward compatibility
    ({"cuda": ""}, "driver", OK, "590.44.01, CUDA up to (unknown)", ""),
    (
        {"gpus": (gpu(0),)},
        "GPUs",
        WRONG,
        "1 visible, the engine has 2 ranks",
        "check CUDA_VISIBLE_DEVICES, or build an engine for fewer: --tp",
    ),
    ({"gpus": ()}, "GPUs", WRONG, "0 visible, the engine has 2 ranks", "give the container more GPUs (--gpus)"),
    ({"gpus": (gpu(0), gpu(1, sm="8.0", name="NVIDIA A100"))}, "machine", WRONG, "GPU 1: found NVIDIA A100 (SM 8.0)", BUILD_AGAIN),
    ({"gpus": (gpu(0), gpu(1, name="NVIDIA H200"))}, "machine", NOTE, "found NVIDIA H200, expected NVIDIA H100 80GB HBM3", BUILD_AGAIN),
    (
        {"gpus": (gpu(0), gpu(1, free_mib=6000))},
        "GPU 1 memory",
        WRONG,
        "5.9 of 79.6 GiB free; needed: weights 0.0,",
        "end other processes that use this GPU",
    ),
    ({"gpus": (gpu(0), gpu(1, total_mib=0))}, "GPU 1 memory", NOTE, "nvidia-smi does not report it", ""),
    ({"links": {}}, "GPU 0 to 1", NOTE, "nvidia-smi topo -m does not report how they are linked", ""),
    *(
        ({"links": {(0, 1): link}}, "GPU 0 to 1", NOTE, f"no NVLink ({link}): two all-reduces a layer go over PCIe", "NCCL_P2P_DISABLE=1")
        for link in ("PIX", "PXB", "PHB", "NODE", "SYS")
    ),
]


@pytest.mark.parametrize(("changes", "check", "state", "text", "fix"), MACHINES)
def test_what_the_machine_lacks_is_one_sentence_with_its_fix(image, built, ports, changes, check, state, text, fix):
    (one,) = (one for one in examine(*built, ports, machine(**changes)) if one.check == check)
    assert one.state == state
    assert text in one.text
    assert fix in one.fix
    assert bool(one.fix) == bool(fix)


def test_a_full_sequence_must_fit_beside_the_weights(image, built, ports):
    """3.5 GiB for the runtime, and 4 for 32,768 tokens in the 90% of the rest that the KV cache gets; the stand-in's weights need none."""
    states = {}
    for free_mib in (8135, 8136):
        found = examine(*built, ports, machine(gpus=(gpu(0), gpu(1, free_mib=free_mib))))
        states[free_mib] = next(one.state for one in found if one.check == "GPU 1 memory")
    assert states == {8135: WRONG, 8136: OK}


@pytest.mark.parametrize(("free_gib", "state"), [(39, WRONG), (40, OK)])
def test_the_weights_must_fit(image, built, ports, free_gib, state):
    """31.2 GiB of weights a rank, 39.1 GiB in total: with 39 the plan would have 3.9 GiB for the KV cache, and refuse."""
    engine, tokenizer = built
    files = tuple(replace(file, size_bytes=int(31.2 * 2**30)) for file in manifest_of(engine, tokenizer).files)
    manifests.write(manifest_of(engine, tokenizer, files=files), engine)
    found = examine(*built, ports, machine(gpus=(gpu(0), gpu(1, free_mib=free_gib * 1024))))
    (one,) = (one for one in found if one.check == "GPU 1 memory")
    assert one.state == state
    needed = "needed: weights 31.2, about 3.5 for the runtime, and a full sequence, 4.0, in 90% of the rest"
    assert state == OK or needed in one.text


def test_there_must_be_a_triton(image, built, ports, monkeypatch):
    """The Triton of package nvidia-pytriton has no backend for the engine."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert Finding(check="image", state=WRONG, text="there is no tritonserver on PATH", fix=OTHER_IMAGE) in examine(
        *built, ports, machine()
    )


def test_two_ranks_need_mpirun(image, built, ports):
    (image / "bin" / "mpirun").unlink()
    text = "no mpirun on PATH, and the engine has 2 ranks"
    assert Finding(check="mpirun", state=WRONG, text=text, fix=OTHER_IMAGE) in examine(*built, ports, machine())


def test_one_rank_needs_no_mpirun(image, tmp_path, ports):
    (image / "bin" / "mpirun").unlink()
    engine, tokenizer = build(tmp_path, tp=1)
    write_config(engine, pretrained_config__mapping={"tp_size": 1})
    assert {one.state for one in examine(engine, tokenizer, ports, machine())} == {OK}


def test_triton_must_have_the_backend(image, built, ports):
    (image / "backends" / "tensorrtllm").rmdir()
    found = examine(*built, ports, machine())[0]
    assert (found.check, found.state, found.fix) == ("image", WRONG, OTHER_IMAGE)
    assert "Triton has no TensorRT-LLM backend" in found.text


def test_a_containers_default_of_shared_memory_is_too_little(image, built, ports, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 * 2**20))
    text, fix = "/dev/shm has 64 MiB, at least 1,024 are needed", "docker run --shm-size=2g, or --ipc=host"
    assert Finding(check="shared memory", state=WRONG, text=text, fix=fix) in examine(*built, ports, machine())


def test_a_limit_of_locked_memory_is_a_note(image, built, ports, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 * 2**20, 8 * 2**20))
    fix = "docker run --ulimit memlock=-1, as NVIDIA advises"
    assert Finding(check="memlock", state=NOTE, text="8,192 KiB may be locked", fix=fix) in examine(*built, ports, machine())


def test_every_port_that_is_taken_is_named(image, built, ports):
    with socket.socket() as sock:
        sock.bind(ports["grpc"])
        sock.listen()
        found = [one for one in examine(*built, ports, machine()) if one.check == "ports"]
    number = ports["grpc"][1]
    text, fix = f"port {number} for grpc cannot be used: Address already in use", "choose another: --grpc-port"
    assert found == [Finding(check="ports", state=WRONG, text=text, fix=fix)]


def test_an_address_of_another_machine_is_reported(image, built, ports):
    found = [one for one in examine(*built, {**ports, "http": ("192.0.2.1", 8000)}, machine()) if one.check == "ports"]
    assert "port 8000 for http cannot be used: Cannot assign requested address" in found[0].text


def test_without_a_manifest_the_rest_is_still_checked(image, built, ports):
    (built[0] / manifests.NAME).unlink()
    found = examine(*built, ports, machine())
    assert [one.check for one in found] == ["image", "driver", "shared memory", "memlock", "ports", "manifest"]
    assert found[-1].state == WRONG
    assert found[-1].text.startswith(str(built[0] / "manifest.json"))
    assert "CONFIG: " not in found[-1].text


@pytest.mark.parametrize(
    ("spoil", "check", "text"),
    [
        (lambda engine, _: (engine / "rank1.engine").unlink(), "engine", "rank1.engine: found no file, expected 6 bytes"),
        (lambda engine, _: (engine / "rank0.engine").write_bytes(b""), "engine", "rank0.engine: found 0 bytes, expected 6"),
        (
            lambda engine, _: write_config(engine, build_config__max_seq_len=8192),
            "config",
            "build_config.max_seq_len: found 8192, expected 32768",
        ),
        (lambda engine, _: (engine / "config.json").unlink(), "config", "config.json cannot be read"),
        (lambda _, tokenizer: (tokenizer / "tokenizer.json").write_text("[]"), "tokenizer", "tokenizer: sha256: found "),
        (lambda _, tokenizer: (tokenizer / "tokenizer.json").unlink(), "tokenizer", "holds no tokenizer"),
    ],
)
def test_a_fault_of_the_files_is_one_sentence(image, built, ports, spoil, check, text):
    spoil(*built)
    (one,) = (one for one in examine(*built, ports, machine()) if one.check == check)
    assert one.state == WRONG
    assert text in one.text
    assert [other.check for other in examine(*built, ports, machine()) if other.state == WRONG] == [check]


def test_hashes_are_checked_on_request(image, built, ports):
    """The stand-in's manifest has no real hashes."""
    wrong = [one.text.partition(": found")[0] for one in examine(*built, ports, machine(), hashes=True) if one.state == WRONG]
    assert wrong == ["rank0.engine: sha256", "rank1.engine: sha256"]


def test_the_links_of_all_pairs_of_four_gpus_are_checked(image, tmp_path, ports):
    engine, tokenizer = build(tmp_path)
    write_config(engine, pretrained_config__mapping={"tp_size": 4})
    files = manifest_of(engine, tokenizer).files * 2
    manifests.write(manifest_of(engine, tokenizer, tp=4, files=files), engine)
    found = examine(engine, tokenizer, ports, machine(gpus=tuple(gpu(index) for index in range(4)), links={}))
    assert len([one for one in found if " to " in one.check]) == 6
    assert len([one for one in found if one.check.endswith("memory") and one.check.startswith("GPU")]) == 4


@pytest.fixture
def inspected(monkeypatch):
    """Set the machine that inspect_machine finds."""

    def set_to(found):
        monkeypatch.setattr(preflight, "inspect_machine", lambda: found)

    set_to(machine())
    return set_to


def test_require_accepts_a_good_machine(image, built, ports, inspected):
    require(*built, ports)


def test_require_reports_everything_that_is_wrong_but_no_notes(image, built, ports, inspected):
    inspected(machine(driver="", links={}))
    (built[0] / "rank1.engine").unlink()
    with pytest.raises(ConfigError) as caught:
        require(*built, ports)
    lines = str(caught.value).splitlines()
    assert lines[0] == "CONFIG: the engine would not start here (--skip-preflight tries it anyway):"
    assert [line.split(":")[0] for line in lines[1:]] == ["  driver", "  engine"]


def test_the_command_prints_findings_and_fixes_and_fails_if_one_is_wrong(image, built, ports, inspected, monkeypatch, capsys):
    monkeypatch.setattr(preflight, "PORTS", ports)
    arguments = ["--engine-dir", str(built[0]), "--tokenizer", str(built[1])]
    assert main(arguments) == 0
    assert "ok    GPU 0 to 1      NVLink (NV18)\n" in capsys.readouterr().out
    inspected(machine(gpus=(gpu(0),)))
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "wrong GPUs            1 visible, the engine has 2 ranks\n                      fix: give the container more" in out


@pytest.fixture
def repository(tmp_path, root):
    """A model repository with the configs of s1 and of an engine, which the launcher checks first."""
    for model in ("s1", "tensorrt_llm"):
        (tmp_path / "repository" / model).mkdir(parents=True)
        (tmp_path / "repository" / model / "config.pbtxt").touch()
    return tmp_path / "repository"


def launch(repository, built, ports, *more):
    numbers = [f"--{name}-port={number}" for name, (_, number) in ports.items()]
    places = [f"--model-repository={repository}", f"--engine-dir={built[0]}", f"--tokenizer={built[1]}"]
    return launcher._serve(parse_options(["--engine=tensorrt_llm", *places, *numbers, *more, "--", sys.executable, "-c", ""]))


class Started(Exception):
    """Records that the launcher has reached the start of Triton."""


@pytest.fixture
def started(monkeypatch):
    def start(*_, **__):
        raise Started

    monkeypatch.setattr(launcher, "TritonServer", start)


def test_the_launcher_starts_where_all_is_well(image, built, ports, repository, inspected, started):
    with pytest.raises(Started):
        launch(repository, built, ports)


def test_the_launcher_refuses_with_the_sentences(image, built, ports, repository, inspected, started):
    inspected(machine(gpus=(gpu(0),)))
    with pytest.raises(ConfigError, match="GPUs: 1 visible, the engine has 2 ranks"):
        launch(repository, built, ports)


def test_the_launcher_can_skip_it(image, built, ports, repository, inspected, started):
    inspected(machine(gpus=()))
    with pytest.raises(Started):
        launch(repository, built, ports, "--skip-preflight")


def test_the_embedded_engine_has_no_preflight(monkeypatch, root, started):
    monkeypatch.setattr(preflight, "require", lambda *_: pytest.fail("it was called"))
    options = parse_options([f"--model-repository={root / 'model_repository'}", f"--cache={root / '.s1/models'}", "--grpc-port=0"])
    with pytest.raises(Started):
        launcher._serve(options)


def test_this_machine_is_inspected_by_nvidia_smi(image, built, ports, monkeypatch):
    """From nvidia-smi's output to the findings."""
    monkeypatch.setattr(machines, "_run", NvidiaSmi())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = examine(*built, ports, replace(machines.inspect_machine(), tensorrt_llm="1.2.1", tensorrt="10.14.1.48"))
    assert {one.state for one in found} == {OK}


def test_the_readme_lists_every_check(image, built, ports, root):
    """With the fix of each."""
    rows = [line for line in (root / "docs/gpu-engine.md").read_text().splitlines() if line.startswith("| ")]
    names = {"GPU 0 memory": "GPU *n* memory", "GPU 1 memory": "GPU *n* memory", "GPU 0 to 1": "GPU *n* to *m*"}
    for check in ["manifest", "mpirun", *(one.check for one in examine(*built, ports, machine()))]:
        assert sum(row.startswith(f"| {names.get(check, check)} | ") for row in rows) == 1, check

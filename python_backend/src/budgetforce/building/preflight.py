# SPDX-License-Identifier: Apache-2.0
"""Check a machine before Triton starts on its GPUs: each finding is a sentence with its fix.

    python -m budgetforce.building.preflight --engine-dir ENGINE --tokenizer TOKENIZER

Exit code 1 if something is wrong. A note is for information and stops nothing.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from budgetforce.building import manifest as manifests
from budgetforce.building.gpus import GIB, MIB
from budgetforce.building.machine import Machine, VisibleGpu, inspect_machine
from budgetforce.building.manifest import OTHER_IMAGE, Manifest, Mismatch
from budgetforce.building.planner import RUNTIME_BYTES
from budgetforce.building.spec import IMAGE, KV_FRACTION, TENSORRT_LLM_VERSION
from budgetforce.errors import ConfigError
from budgetforce.processes import SHARED_MEMORY

OK, NOTE, WRONG = "ok", "note", "wrong"
MIN_SHARED_MEMORY_BYTES = GIB  # for Triton's Python models and NCCL; a container's default is 64 MB
MIN_CUDA = (13, 0)  # the image has CUDA 13.1, which drivers for any 13.x can run
IMAGE_DRIVER = "590.44.01"
PORTS = {"http": ("127.0.0.1", 8000), "grpc": ("127.0.0.1", 8001), "metrics": ("127.0.0.1", 8002)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        state: "ok"; "note": it works, but the operator should know; "wrong": Triton would not start, or not serve.
        fix: instruction that repairs it; "" = none needed.
    """

    check: str
    state: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.text}" + (f"; {self.fix}" if self.fix else "")


def examine(
    engine_dir: Path, tokenizer: Path, ports: Mapping[str, tuple[str, int]], machine: Machine, hashes: bool = False
) -> list[Finding]:
    """Return all findings; those that need a manifest only if there is one. ``hashes`` reads the engine's files completely."""
    found = [_image(machine), driver(machine), _shared_memory(), _locked_memory(), *_ports(ports)]
    try:
        manifest = manifests.read(engine_dir)
    except ConfigError as error:
        return [*found, Finding(check="manifest", state=WRONG, text=_words(error))]
    found += _against("engine", manifests.against_files(manifest, engine_dir, hashes), f"{len(manifest.files)} files as they were built")
    found += _against("config", manifests.against_config(manifest, engine_dir), "config.json agrees with the manifest")
    found += _against("tokenizer", manifests.against_tokenizer(manifest, tokenizer), "the same that the engine was built with")
    found += _against("machine", manifests.against_machine(manifest, machine), "versions and GPUs are the engine's")
    return [*found, *_gpus(manifest, machine)]


def require(engine_dir: Path, tokenizer: Path, ports: Mapping[str, tuple[str, int]]) -> None:
    """Raise ConfigError with a sentence for everything that is wrong."""
    findings = examine(engine_dir, tokenizer, ports, inspect_machine())
    wrong = [str(finding) for finding in findings if finding.state == WRONG]
    if wrong:
        raise ConfigError("\n  ".join(["the engine would not start here (--skip-preflight tries it anyway):", *wrong]))


def _against(check: str, mismatches: Iterator[Mismatch], fine: str) -> list[Finding]:
    try:
        found = [Finding(check=check, state=WRONG if item.fatal else NOTE, text=str(item), fix=item.fix) for item in mismatches]
    except ConfigError as error:
        return [Finding(check=check, state=WRONG, text=_words(error))]
    return found or [Finding(check=check, state=OK, text=fine)]


def _words(error: ConfigError) -> str:
    return str(error).removeprefix(f"{error.code}: ")


def _image(machine: Machine) -> Finding:
    server = shutil.which("tritonserver")
    if server is None:
        return Finding(check="image", state=WRONG, text="there is no tritonserver on PATH", fix=OTHER_IMAGE)
    backend = Path(server).resolve().parent.parent / "backends" / "tensorrtllm"
    if not backend.is_dir():
        return Finding(check="image", state=WRONG, text=f"Triton has no TensorRT-LLM backend: {backend} does not exist", fix=OTHER_IMAGE)
    if not machine.tensorrt_llm:
        return Finding(check="image", state=NOTE, text="this Python does not know the version of TensorRT-LLM")
    if machine.tensorrt_llm.partition("+")[0] != TENSORRT_LLM_VERSION:
        text = f"TensorRT-LLM is {machine.tensorrt_llm}, this project is written for {TENSORRT_LLM_VERSION}"
        return Finding(check="image", state=WRONG, text=text, fix=OTHER_IMAGE)
    return Finding(check="image", state=OK, text=f"TensorRT-LLM {machine.tensorrt_llm}, TensorRT {machine.tensorrt or '(unknown)'}")


def driver(machine: Machine) -> Finding:
    """Check that there is a driver that can run the image's CUDA."""
    if not machine.driver:
        fix = "give the container its GPUs: --gpus all, and NVIDIA's container toolkit on the host"
        return Finding(check="driver", state=WRONG, text="nvidia-smi shows no GPU", fix=fix)
    if machine.cuda and _numbers(machine.cuda) < MIN_CUDA:
        text = f"driver {machine.driver} can run CUDA up to {machine.cuda}, the image needs 13"
        return Finding(check="driver", state=WRONG, text=text, fix=f"install driver {IMAGE_DRIVER} or newer; the minimum is 580")
    return Finding(check="driver", state=OK, text=f"{machine.driver}, CUDA up to {machine.cuda or '(unknown)'}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)


def _gpus(manifest: Manifest, machine: Machine) -> Iterator[Finding]:
    """Check mpirun, and the GPUs of the ranks: their number, free memory and links."""
    if manifest.tp > 1 and shutil.which("mpirun") is None:
        yield Finding(check="mpirun", state=WRONG, text=f"no mpirun on PATH, and the engine has {manifest.tp} ranks", fix=OTHER_IMAGE)
    used = machine.gpus[: manifest.tp]
    if len(used) < manifest.tp:
        fix = "give the container more GPUs (--gpus), check CUDA_VISIBLE_DEVICES, or build an engine for fewer: --tp"
        yield Finding(check="GPUs", state=WRONG, text=f"{len(used)} visible, the engine has {manifest.tp} ranks", fix=fix)
        return
    yield Finding(check="GPUs", state=OK, text=", ".join(f"{gpu.index}: {gpu.name} (SM {gpu.sm})" for gpu in used))
    for gpu, file in zip(used, manifest.files, strict=False):
        yield _memory(gpu, file.size_bytes, manifest.kv_token_bytes * manifest.max_seq_len)
    for first, second in combinations(used, 2):
        yield _link(first, second, machine.links.get((first.index, second.index), ""))


def _memory(gpu: VisibleGpu, engine_bytes: int, sequence_bytes: int) -> Finding:
    check, free = f"GPU {gpu.index} memory", gpu.free_mib * MIB
    text = f"{free / GIB:.1f} of {gpu.total_mib / 1024:.1f} GiB free"
    if not gpu.total_mib:
        return Finding(check=check, state=NOTE, text="nvidia-smi does not report it")
    if (free - engine_bytes - RUNTIME_BYTES) * KV_FRACTION < sequence_bytes:
        needs = (
            f"weights {engine_bytes / GIB:.1f}, about {RUNTIME_BYTES / GIB:.1f} for the runtime, "
            f"and a full sequence, {sequence_bytes / GIB:.1f}, in {KV_FRACTION:.0%} of the rest"
        )
        return Finding(
            check=check, state=WRONG, text=f"{text}; needed: {needs}", fix="end other processes that use this GPU (nvidia-smi lists them)"
        )
    return Finding(check=check, state=OK, text=text)


def _link(first: VisibleGpu, second: VisibleGpu, link: str) -> Finding:
    check = f"GPU {first.index} to {second.index}"
    if link.startswith("NV"):
        return Finding(check=check, state=OK, text=f"NVLink ({link})")
    if not link:
        return Finding(check=check, state=NOTE, text="nvidia-smi topo -m does not report how they are linked")
    fix = "if the start hangs, set NCCL_P2P_DISABLE=1; choose GPUs with NVLink if there are any (nvidia-smi topo -m)"
    return Finding(check=check, state=NOTE, text=f"no NVLink ({link}): two all-reduces a layer go over PCIe, which is slower", fix=fix)


def _shared_memory() -> Finding:
    total = shutil.disk_usage(SHARED_MEMORY).total
    text = f"{SHARED_MEMORY} has {total / MIB:,.0f} MiB"
    if total < MIN_SHARED_MEMORY_BYTES:
        return Finding(
            check="shared memory", state=WRONG, text=f"{text}, at least 1,024 are needed", fix="docker run --shm-size=2g, or --ipc=host"
        )
    return Finding(check="shared memory", state=OK, text=text)


def _locked_memory() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY:
        return Finding(check="memlock", state=OK, text="unlimited")
    return Finding(
        check="memlock", state=NOTE, text=f"{limit // 1024:,} KiB may be locked", fix="docker run --ulimit memlock=-1, as NVIDIA advises"
    )


def _ports(ports: Mapping[str, tuple[str, int]]) -> Iterator[Finding]:
    """Check that each port can be bound; yield one finding per port that cannot, else one for all."""
    taken = [(name, port, reason) for name, (host, port) in ports.items() if (reason := _why_not(host, port))]
    for name, port, reason in taken:
        yield Finding(
            check="ports", state=WRONG, text=f"port {port} for {name} cannot be used: {reason}", fix=f"choose another: --{name}-port"
        )
    if not taken:
        yield Finding(check="ports", state=OK, text=", ".join(f"{name} {port}" for name, (_, port) in ports.items()))


def _why_not(host: str, port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print all findings. Return 1 if something is wrong, else 0."""
    parser = argparse.ArgumentParser(prog="python -m budgetforce.building.preflight", description=f"Check a machine, inside {IMAGE}.")
    parser.add_argument("--engine-dir", type=Path, required=True, help="folder with the engine and its manifest.json")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with the model's tokenizer")
    parser.add_argument("--hashes", action="store_true", help="read the engine's files completely and compare their hashes (minutes)")
    options = parser.parse_args(arguments)
    findings = examine(options.engine_dir, options.tokenizer, PORTS, inspect_machine(), options.hashes)
    for item in findings:
        print(f"{item.state:<6}{item.check:<16}{item.text}" + (f"\n{'':<22}fix: {item.fix}" if item.fix else ""))
    return int(any(item.state == WRONG for item in findings))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Inspect this machine: installed versions of TensorRT-LLM and TensorRT, and driver, GPUs and their links by nvidia-smi.

Reports without judging. A value that cannot be found out is empty.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

NVIDIA_SMI_TIMEOUT_S = 20  # nvidia-smi wakes every GPU first without persistence mode, and hangs with a broken driver
QUERY = "index,uuid,name,compute_cap,memory.total,memory.free,driver_version"

Runner = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleGpu:
    """A GPU that this process may use.

    Attributes:
        index: number of the GPU in nvidia-smi.
        sm: compute capability, such as "9.0".
    """

    index: int
    uuid: str
    name: str
    sm: str
    total_mib: int
    free_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The result of an inspection.

    Attributes:
        cuda: the newest CUDA that the driver can run, forward compatibility included.
        links: kind of link between two GPUs, by their indices: NV18, PIX, SYS and so on, from ``nvidia-smi topo -m``.
    """

    tensorrt_llm: str = ""
    tensorrt: str = ""
    driver: str = ""
    cuda: str = ""
    gpus: tuple[VisibleGpu, ...] = ()
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)


def inspect_machine(run: Runner | None = None, environment: Mapping[str, str] = os.environ) -> Machine:
    """Inspect this machine, or another machine whose command output ``run`` returns."""
    run = run or _run
    listed = run(["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"])
    rows = [[cell.strip() for cell in line.split(",")] for line in listed.splitlines() if line.count(",") == QUERY.count(",")]
    cuda = re.search(r"CUDA (?:UMD )?Version\s*:\s*([\d.]+)", run(["nvidia-smi"]))  # UMD: since driver 610
    return Machine(
        tensorrt_llm=_version("tensorrt_llm"),
        tensorrt=_version("tensorrt"),
        driver=rows[0][-1] if rows else "",
        cuda=cuda[1] if cuda else "",
        gpus=_visible([_gpu(row) for row in rows], environment.get("CUDA_VISIBLE_DEVICES")),
        links=_links(run(["nvidia-smi", "topo", "-m"])),
    )


def host_memory_bytes() -> int:
    """Return the machine's memory in bytes, regardless of a container's limit."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _gpu(row: Sequence[str]) -> VisibleGpu:
    index, uuid, name, sm, total, free, _ = row
    return VisibleGpu(index=_number(index), uuid=uuid, name=name, sm=sm, total_mib=_number(total), free_mib=_number(free))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0  # [N/A]


def _visible(gpus: Sequence[VisibleGpu], cuda_devices: str | None) -> tuple[VisibleGpu, ...]:
    """Return the GPUs of $CUDA_VISIBLE_DEVICES in CUDA's order: indices or UUID prefixes; the first unknown entry ends the list."""
    if cuda_devices is None:
        return tuple(gpus)
    found: list[VisibleGpu] = []
    for word in (part.strip() for part in cuda_devices.split(",")):
        match = [gpu for gpu in gpus if word and (word == str(gpu.index) or (word.startswith("GPU-") and gpu.uuid.startswith(word)))]
        if not match:
            break
        found += match
    return tuple(found)


def _links(matrix: str) -> dict[tuple[int, int], str]:
    """Parse rows such as ``GPU0  X  NV18  0-47``; some versions add escape sequences for bold and underlined."""
    lines = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", matrix).splitlines()]
    rows = [words for words in lines if words and re.fullmatch(r"GPU\d+", words[0]) and "X" in words[1:]]
    return {(i, j): cell for i, row in enumerate(rows) for j, cell in enumerate(row[1 : len(rows) + 1]) if i != j}

# SPDX-License-Identifier: Apache-2.0
"""What this machine has: TensorRT-LLM and TensorRT as installed, the driver, the GPUs and how they are linked, as nvidia-smi tells.

Looks, and judges nothing. What cannot be found out is empty.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

NVIDIA_SMI_TIMEOUT_S = 20  # without persistence mode it wakes every GPU first; with a broken driver it hangs
QUERY = "index,uuid,name,compute_cap,memory.total,memory.free,driver_version"

Runner = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleGpu:
    """A GPU that this process may use.

    Attributes:
        index: nvidia-smi's.
        sm: its compute capability, such as "9.0".
    """

    index: int
    uuid: str
    name: str
    sm: str
    total_mib: int
    free_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found.

    Attributes:
        cuda: the newest CUDA that the driver can run, forward compatibility included.
        links: between two GPUs, by their indices: NV18, PIX, SYS and so on, as ``nvidia-smi topo -m`` has them.
    """

    tensorrt_llm: str = ""
    tensorrt: str = ""
    driver: str = ""
    cuda: str = ""
    gpus: tuple[VisibleGpu, ...] = ()
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)


def look(run: Runner | None = None, environment: Mapping[str, str] = os.environ) -> Machine:
    """At this machine, or at what ``run`` answers for its commands."""
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
    """Memory of the machine, whatever a container may use of it."""
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


def _visible(gpus: Sequence[VisibleGpu], wanted: str | None) -> tuple[VisibleGpu, ...]:
    """In the order that CUDA gives them: indices or beginnings of UUIDs; what names none ends the list."""
    if wanted is None:
        return tuple(gpus)
    found: list[VisibleGpu] = []
    for word in (part.strip() for part in wanted.split(",")):
        match = [gpu for gpu in gpus if word and (word == str(gpu.index) or (word.startswith("GPU-") and gpu.uuid.startswith(word)))]
        if not match:
            break
        found += match
    return tuple(found)


def _links(matrix: str) -> dict[tuple[int, int], str]:
    """Rows such as ``GPU0  X  NV18  0-47``, with escape sequences for bold and underlined in some versions."""
    lines = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", matrix).splitlines()]
    rows = [words for words in lines if words and re.fullmatch(r"GPU\d+", words[0]) and "X" in words[1:]]
    return {(i, j): cell for i, row in enumerate(rows) for j, cell in enumerate(row[1 : len(rows) + 1]) if i != j}

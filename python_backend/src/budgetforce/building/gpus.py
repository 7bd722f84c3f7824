# SPDX-License-Identifier: Apache-2.0
"""Known GPUs with their memory, bandwidth and architecture, and the parser of option --gpus."""

from __future__ import annotations

import re
from dataclasses import dataclass

from budgetforce.errors import ConfigError

GB, GIB, MIB = 10**9, 2**30, 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU, as far as a plan needs to know it.

    Attributes:
        name: the name that ``--gpus`` uses.
        memory_bytes: the value of nvidia-smi for a known card, else the requested size.
        bandwidth: memory bandwidth in bytes a second; 0 = unknown.
        sm: compute capability, such as 9.0; 0 = unknown.
    """

    name: str
    memory_bytes: int
    bandwidth: float = 0.0
    sm: float = 0.0


def _card(name: str, mib: int, tb_per_s: float, sm: float) -> Gpu:
    return Gpu(name=name, memory_bytes=mib * MIB, bandwidth=tb_per_s * 1e12, sm=sm)


# Memory: memory.total of nvidia-smi, from published listings (https://thundergolfer.com/blog/nvidia-gpu-memory-capacity
# has most). A card "of 80 GB" has 79.65 or 80 GiB: NVIDIA counts in GiB. Bandwidth: NVIDIA's data sheets.
CARDS = (
    _card("A100-40GB", 40960, 1.555, 8.0),
    _card("A100-80GB", 81920, 2.039, 8.0),  # SXM; 1.935 as a PCIe card
    _card("RTX-A6000", 49140, 0.768, 8.6),
    _card("L40S", 46068, 0.864, 8.9),
    _card("RTX-6000-Ada", 49140, 0.960, 8.9),
    _card("H100", 81559, 3.35, 9.0),  # SXM
    _card("H100-PCIe", 81559, 2.0, 9.0),
    _card("H100-NVL", 95830, 3.9, 9.0),
    _card("H200", 143771, 4.8, 9.0),
    _card("B200", 183359, 8.0, 10.0),
)
_BY_NAME = {re.sub(r"[^a-z0-9]", "", card.name.lower()): card for card in CARDS}
_ALSO = {"h10080gb": "h100", "h100sxm": "h100", "h200141gb": "h200", "a6000": "rtxa6000", "6000ada": "rtx6000ada"}


def parse_gpus(text: str) -> tuple[int, Gpu]:
    """Parse number and kind of GPUs: ``2xH100``, ``4xA100-40GB``, or by memory ``2x80GB``, ``2x79.6GiB``. Raises ConfigError.

    A size in GB is read as decimal, 7 % less than a card sold by that size has: the cautious reading for an unknown GPU.
    """
    count, name = re.fullmatch(r"(?:(\d+)\s*[x*×])?\s*(.*)", text.strip(), re.S | re.I).groups()  # type: ignore[union-attr]  # matches anything
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    card = _BY_NAME.get(_ALSO.get(key, key)) or _of_size(name)
    if card is None or count == "0":
        known = ", ".join(card.name for card in CARDS)
        raise ConfigError(f"gpus: got {text!r}, allowed: 2x80GB, 2x79.6GiB, or a number of one of these cards: {known}")
    return int(count or 1), card


def _of_size(text: str) -> Gpu | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(GB|GiB)", text.strip(), re.I)
    if match is None:
        return None
    unit = GIB if match[2].lower() == "gib" else GB
    return Gpu(name=f"{match[1]}{match[2]}", memory_bytes=int(float(match[1]) * unit))

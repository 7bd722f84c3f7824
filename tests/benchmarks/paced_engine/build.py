# SPDX-License-Identifier: Apache-2.0
"""Makes the paced engine: compiles the backend, writes a model with it, and reads the stamps in its ids."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SOURCES = (HERE / "paced_engine.c", HERE / "triton_abi.h")
LIBRARY = "libtriton_paced.so"  # Triton looks for it in the model's own folder too
STAMP_US = 20  # as in paced_engine.c
IDS_A_STAMP = 8  # with words; as there
MAX_STAMPS = 32768  # then the clock of the stamps begins anew: 0.65 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a paced engine speaks: parameters of its model, see paced_engine.c."""

    num_ids: int
    delay_us: int = 0
    first_token_ms: int = 0


class Stamps:
    """The clock that a paced engine's ids show: every id of the table is a moment, and the table repeats.

    Attributes:
        table: the ids in the order of the moments.
        words: ids that are no moments, as frequent as in a text; maybe none.
        period_us: when it begins anew; ages and gaps are known up to it.
    """

    def __init__(self, token_bytes: list[bytes], text: Sequence[int] = ()) -> None:
        """Ids of ASCII letters and spaces alone, so that no text is held back or ends a sentence. ``text``: ids of the words."""
        plain = [i for i, token in enumerate(token_bytes) if token.replace(b" ", b"a").isalpha() and token.isascii()]
        plain_set, word_set = set(plain), set(text)
        self.words = np.array([i for i in text if i in plain_set], np.int32)
        self.table = np.array([i for i in plain if i not in word_set][:MAX_STAMPS], np.int32)
        self.period_us = len(self.table) * STAMP_US
        self._moment = np.full(len(token_bytes), -1, np.int64)
        self._moment[self.table] = np.arange(len(self.table)) * STAMP_US
        self._is_word = np.zeros(len(token_bytes), np.bool_)
        self._is_word[self.words] = True

    def are(self, ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Which ids are moments. Raises ValueError for an id that is neither a moment nor a word."""
        strange = ids[(self._moment[ids] < 0) & ~self._is_word[ids]]
        if len(strange):
            raise ValueError(f"ids {strange[:5].tolist()} are neither stamps nor words")
        return self._moment[ids] >= 0

    def read_us(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """When each id was said, in the clock's period. Raises ValueError for an id that is no stamp."""
        moments: npt.NDArray[np.int64] = self._moment[ids]
        if (moments < 0).any():
            raise ValueError(f"ids {ids[moments < 0][:5].tolist()} are no stamps")
        return moments

    def age_us(self, ids: npt.NDArray[np.int32], monotonic_us: Any) -> Any:
        """How long before ``monotonic_us`` (CLOCK_MONOTONIC) the ids were said, modulo the period."""
        return (monotonic_us - self.read_us(ids)) % self.period_us

    def gap_us(self, earlier: npt.NDArray[np.int32], later: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """How long after each other they were said, modulo the period."""
        return (self.read_us(later) - self.read_us(earlier)) % self.period_us


def library(cache: Path = ROOT / ".s1" / "paced_engine") -> Path:
    """The compiled backend: made anew when its source has changed. Raises CalledProcessError with the compiler's words on stderr."""
    digest = hashlib.blake2b(b"".join(path.read_bytes() for path in SOURCES), digest_size=8).hexdigest()
    compiled = cache / digest / LIBRARY
    if not compiled.exists():
        compiled.parent.mkdir(parents=True, exist_ok=True)
        unfinished = compiled.with_suffix(f".{time.monotonic_ns()}")
        subprocess.run([*compiler(), "-shared", "-fPIC", "-O2", "-o", unfinished, SOURCES[0]], check=True)
        unfinished.rename(compiled)
    return compiled


def compiler() -> list[str]:
    """Package ziglang's C compiler, or the system's."""
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    return ["cc"]


def add_model(repository: Path, name: str, pace: Pace, stamps: Stamps) -> None:
    """Write model ``name`` into a repository: a backend, its table and a config with tensorrt_llm's tensors."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    shutil.copy(library(), folder / LIBRARY)
    stamps.table.tofile(folder / "ids")
    values = {"num_ids": pace.num_ids, "delay_us": pace.delay_us, "first_token_ms": pace.first_token_ms, "ids_file": folder / "ids"}
    if len(stamps.words):
        stamps.words.tofile(folder / "words")
        values["words_file"] = folder / "words"
    parameters = "".join(f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}\n' for key, value in values.items())
    config = (ROOT / "model_repository" / "embedded_llm" / "config.pbtxt").read_text()
    head = config[: config.index("\nparameters")].replace("embedded_llm", name).replace('backend: "python"', 'backend: "paced"')
    tensors = config[config.index("\ninput [") :]
    (folder / "config.pbtxt").write_text(f"{head}\n{parameters}{tensors}")

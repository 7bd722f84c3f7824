# SPDX-License-Identifier: Apache-2.0
"""Cache of tensors that many responses contain: events, sample indices, empty texts, and the frequent tokens' ids and texts.

Making a tensor and putting it into shared memory is two thirds of what a response costs. 2,048 of a kind hold nine of ten tokens of a text.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
import triton_python_backend_utils as pb_utils

_MAX_CACHED = 2048  # texts, and as many numbers, in each thread; a tensor takes some 200 bytes of shared memory
MAX_CACHED_CHARACTERS = 16  # every event; a longer text is rarely sent twice


class FrequentTensors(threading.local):
    """The tensors of a single value that were used last.

    Each thread has its own: Triton puts a tensor into shared memory at its first send, without a lock. They are released when the
    thread ends.
    """

    def __init__(self) -> None:
        self.text = lru_cache(_MAX_CACHED)(_text)
        self.number = lru_cache(_MAX_CACHED)(_number)

    def clear(self) -> None:
        """Release the tensors of the calling thread."""
        self.text.cache_clear()
        self.number.cache_clear()


def _text(name: str, text: str) -> pb_utils.Tensor:
    """Return a BYTES tensor [1, 1]."""
    return pb_utils.Tensor(name, np.array([[text.encode()]], np.object_))


def _number(name: str, number: int, num_dims: int = 2) -> pb_utils.Tensor:
    """Return an INT32 tensor of ``num_dims`` dimensions, each of size 1."""
    return pb_utils.Tensor(name, np.full((1,) * num_dims, number, np.int32))


frequent_tensors = FrequentTensors()

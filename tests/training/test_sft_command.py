# SPDX-License-Identifier: Apache-2.0
"""Errors that PyTorch raises in a run reach the user as one sentence."""

from __future__ import annotations

import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.training.sft_command import readable_errors


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("[enforce fail at inline_container.cc:882] . PytorchStreamWriter failed: file write failed"),
            "the disk is full: .*WORK",
        ),
        (OSError(28, "No space left on device"), "the disk is full: free space for WORK"),
        (PermissionError(13, "Permission denied", "WORK/log{1}.jsonl"), r"WORK/log\{1\}.jsonl: Permission denied"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), "the memory of a GPU is full: lower batch.per_device"),
    ],
)
def test_a_full_disk_and_full_gpus_are_one_sentence(error, said):
    with pytest.raises(BuildFailed, match=said), readable_errors("WORK"):
        raise error


def test_an_error_of_ours_stays_what_it_is():
    """A bug must not be reported as a full disk."""
    with pytest.raises(KeyError), readable_errors("WORK"):
        raise KeyError("labels")

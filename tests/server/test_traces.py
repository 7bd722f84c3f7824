# SPDX-License-Identifier: Apache-2.0
"""What the tests of a stop rely on: a region is found by who has mapped it, and seen as long as it is there."""

import multiprocessing.shared_memory
import os

from server.traces import left_of, shared_memory_of


def test_a_region_is_found_by_its_process_and_missed_when_it_is_gone():
    region = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
    found = shared_memory_of([os.getpid()])
    assert left_of(found) == [path for path in found if path.exists()] != []
    assert any(path.name == region.name.lstrip("/") for path in found)
    region.close()
    region.unlink()
    assert not any(path.name == region.name.lstrip("/") for path in left_of(found))

# SPDX-License-Identifier: Apache-2.0
"""How long a thread has waited for a core."""

import pytest

from budgetforce.serving import core_wait
from budgetforce.serving.core_wait import waited_for_core_s


def test_it_is_read_in_seconds(monkeypatch, tmp_path):
    (tmp_path / "schedstat").write_text("7000000000 1500000000 42\n")
    monkeypatch.setattr(core_wait, "_SCHEDSTAT", tmp_path / "schedstat")
    assert waited_for_core_s() == 1.5


@pytest.mark.parametrize("content", [None, "", "1", "a b c"])
def test_a_kernel_that_does_not_count_it(monkeypatch, tmp_path, content):
    if content is not None:
        (tmp_path / "schedstat").write_text(content)
    monkeypatch.setattr(core_wait, "_SCHEDSTAT", tmp_path / "schedstat")
    assert waited_for_core_s() is None


def test_the_threads_own_never_falls():
    first, second = waited_for_core_s(), waited_for_core_s()
    assert first is None or first <= second

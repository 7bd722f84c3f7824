# SPDX-License-Identifier: Apache-2.0
"""Benchmarks see when others used the CPU, and mark what they measured meanwhile. Nothing is timed."""

import json
import os
import subprocess
import sys

import chain_throughput
import meters
import orchestration
import peer_table
import pytest


def test_the_processes_of_a_benchmark_are_all_that_it_has_started():
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 13: 12, 20: 1, 21: 20}
    assert meters.descendants(11, parents) == {11, 12, 13}
    assert meters.descendants(13, parents) == {13}


def test_cpu_of_a_child_that_has_ended_stays_ours():
    """A second of it, by its own clock: so long as it takes."""
    before = meters.own_cpu_s()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"], check=True)
    assert meters.own_cpu_s() - before >= 0.9


def test_others_cpu_is_the_machines_less_our_own(monkeypatch):
    """In two seconds the machine used 3 s of CPU, of which 1 was ours."""
    clocks = {"monotonic": 5.0, "machine": 100.0, "own": 7.0}
    monkeypatch.setattr(meters.time, "monotonic", lambda: clocks["monotonic"])
    monkeypatch.setattr(meters, "machine_cpu_s", lambda: clocks["machine"])
    monkeypatch.setattr(meters, "own_cpu_s", lambda: clocks["own"])
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    others = meters.OthersMeter()
    clocks.update(monotonic=7.0, machine=103.0, own=8.0)
    assert others.share() == 0.5
    clocks.update(machine=100.9, own=8.0)  # the two are not read at the same moment
    assert others.share() == 0.0


@pytest.mark.parametrize(
    ("share", "mark"), [(None, ""), (0.0, ""), (0.05, ""), (0.06, " (busy: others 6%)"), (1.0, " (busy: others 100%)")]
)
def test_a_row_with_more_than_a_twentieth_is_marked(share, mark):
    assert meters.busy_mark(share) == mark


def test_rows_of_a_busy_machine_are_marked_in_every_table(root):
    """And those of a row saved without that figure are not."""
    rows = json.loads((root / "tests/benchmarks/chain_throughput.json").read_text())
    assert "busy" not in chain_throughput.line(rows[0])
    assert "one thought (busy: others 40%)" in chain_throughput.line({**rows[0], "others_cpu_share": 0.4})
    cells = json.loads((root / "tests/benchmarks/peers.json").read_text())["cells"]
    assert "busy" not in peer_table.table(cells)
    shares = dict(enumerate((0.4, 0.0, 0.4)))
    marked = [{**cell, "others_cpu_share": shares[cell["turn"]]} for cell in cells]
    assert "| s1 (busy: others 40%) |" in peer_table.table(marked)
    row = json.loads((root / "tests/benchmarks/orchestration.json").read_text())["rows"][0]
    assert "busy" not in orchestration.line(row, None)
    assert orchestration.line({**row, "others_cpu_share": 0.4}, None).endswith("| 40 (busy) |")


def test_the_spread_over_the_turns_is_shown(root):
    assert meters.spread([0.94, 0.9, 1.0], 2) == "0.94 (0.90 to 1.00)"
    rows = json.loads((root / "tests/benchmarks/chain_throughput.json").read_text())
    assert "| 0.91 (0.80 to 0.92) |" in chain_throughput.line({**rows[0], "ratios": [0.8, 0.91, 0.92]})
    runs = [{"tokens_per_s": speed, "added_p50_ms": 1.0, "gap_first_ms": None} for speed in (100, 300, 200)]
    merged = orchestration.medians(runs)
    assert (merged["tokens_per_s"], merged["all_tokens_per_s"], merged["gap_first_ms"]) == (200, [100, 300, 200], None)
    assert "all_tokens_per_s" not in orchestration.medians(runs[:1])


@pytest.mark.parametrize("name", ["chain_throughput", "orchestration", "peers"])
def test_no_figure_of_a_page_was_measured_while_others_used_the_cpu(root, name):
    saved = json.loads((root / f"tests/benchmarks/{name}.json").read_text())
    rows = saved if isinstance(saved, list) else saved.get("rows") or saved["cells"]
    assert [row for row in rows if (row.get("others_cpu_share") or 0.0) > meters.MAX_OTHERS] == []

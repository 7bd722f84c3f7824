# SPDX-License-Identifier: Apache-2.0
"""The order of sequences and the learning rate of a run."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from budgetforce.errors import ConfigError
from budgetforce.training.recipe import BatchSettings, OptimSettings
from budgetforce.training.schedule import accumulation, lr_factor, num_steps, run_order

BATCH = BatchSettings(global_batch=16, epochs=5)
LENGTHS = random.Random(7).choices(range(20, 400), k=1000)


@pytest.mark.parametrize("grouped", [False, True])
def test_every_epoch_holds_every_row_and_fills_its_last_batch(grouped):
    """1,000 rows are 63 batches of 16, the last filled up with 8 rows."""
    batch = replace(BATCH, length_grouped=grouped)
    order = run_order(LENGTHS, batch, seed=1)
    assert len(order) == 315 * 16
    for epoch in range(5):
        counts = Counter(order[epoch * 63 * 16 : (epoch + 1) * 63 * 16])
        assert set(counts) == set(range(1000))
        assert sorted(counts.values()) == [1] * 992 + [2] * 8


def test_epochs_and_seeds_have_orders_of_their_own():
    first, other = run_order(LENGTHS, BATCH, seed=1), run_order(LENGTHS, BATCH, seed=2)
    assert first == run_order(LENGTHS, BATCH, seed=1)
    assert first[:1008] != first[1008:2016]
    assert first != other


def test_a_set_smaller_than_a_batch_is_repeated():
    order = run_order([10] * 3, BatchSettings(global_batch=8, epochs=1), seed=1)
    assert sorted(Counter(order).values()) == [2, 3, 3]


def padding(order):
    batches = [[LENGTHS[row] for row in order[start : start + 16]] for start in range(0, len(order), 16)]
    return sum(max(lengths) * len(lengths) - sum(lengths) for lengths in batches) / sum(map(sum, batches))


def test_grouping_by_length_saves_padding():
    grouped = run_order(LENGTHS, replace(BATCH, length_grouped=True), seed=1)
    assert padding(run_order(LENGTHS, BATCH, seed=1)) > 0.7
    assert padding(grouped) < 0.05


def test_batches_of_a_length_are_spread_over_the_epoch():
    """Long sequences that all came at the end would be learned last."""
    order = run_order(LENGTHS, replace(BATCH, length_grouped=True, epochs=1), seed=1)
    halves = [sum(LENGTHS[row] for row in half) for half in (order[: len(order) // 2], order[len(order) // 2 :])]
    assert 0.7 < halves[0] / halves[1] < 1.4


def test_max_steps_ends_a_run():
    batch = replace(BATCH, max_steps=10)
    assert num_steps(1000, batch) == 10
    assert run_order(LENGTHS, batch, seed=1) == run_order(LENGTHS, BATCH, seed=1)[:160]


@pytest.mark.parametrize(("processes", "passes"), [(16, 1), (8, 2), (4, 4), (1, 16)])
def test_fewer_processes_accumulate(processes, passes):
    assert accumulation(BATCH, processes) == passes


@pytest.mark.parametrize("processes", [3, 7, 32])
def test_processes_that_do_not_divide_the_batch_are_refused(processes):
    with pytest.raises(ConfigError, match=f"not a multiple of {processes}, .* use 1, 2, 4, 8 or 16 processes"):
        accumulation(BATCH, processes)


def test_the_learning_rate_warms_up_and_falls_as_a_cosine():
    optim = OptimSettings(lr=1.0, warmup=0.05)
    rates = [lr_factor(step, 315, optim) for step in range(316)]
    assert rates[0] == 0
    assert rates[8] == 0.5
    assert rates[16] == 1
    assert rates[16 + 149] == pytest.approx(0.5, abs=0.01)
    assert rates[315] == pytest.approx(0)


def test_a_warm_up_in_steps_and_a_least_rate():
    optim = OptimSettings(lr=1.0, warmup=60, min_lr_share=0.02)
    assert lr_factor(30, 4000, optim) == 0.5
    assert lr_factor(4000, 4000, optim) == pytest.approx(0.02)

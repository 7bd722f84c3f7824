# SPDX-License-Identifier: Apache-2.0
"""What the diversity loop draws: domains by chance or weight, long traces first, and never a row twice."""

import itertools
import random
from collections import Counter

import pytest

from budgetforce.curating.diversity import Pools, benchmark_weights, draw_diverse, draw_over_domains
from curating.sample_rows import row, shuffled


def world(sizes):
    """Rows of domains a, b, …; row a0 has the longest trace of domain a."""
    names = "abcdefgh"[: len(sizes)]
    return [
        row(f"{name}{rank}", domain=name, num_thinking_tokens=100 - rank)
        for name, size in zip(names, sizes, strict=True)
        for rank in range(size)
    ]


def draw(rows, target, uniform_until=10**6, seed=(), weights=None, draws=0):
    return list(draw_diverse(rows, seed, target, uniform_until, weights or {}, random.Random(draws)))


def test_every_small_world_is_drawn_whole_and_without_repetition():
    for sizes in itertools.product(range(1, 5), repeat=3):
        rows = world(sizes)
        for draws in range(3):
            found = [name for name, _ in draw(rows, len(rows), draws=draws)]
            assert sorted(found) == sorted(one["id"] for one in rows)


def test_the_chance_of_a_row_halves_with_each_rank():
    """4,000 first draws of a domain of six: 32 to 1 of 63 parts; chi squared with 5 degrees of freedom, limit at 0.1 %."""
    rows = world((6,))
    found = Counter(draw(rows, 1, draws=draws)[0][0] for draws in range(4000))
    expected = {f"a{rank}": 4000 * 2 ** (5 - rank) / 63 for rank in range(6)}
    assert sum((found[name] - number) ** 2 / number for name, number in expected.items()) < 20.5


def test_each_domain_has_the_same_chance_however_many_rows_it_has():
    """While no pool is empty: 30 draws of 300 worlds over domains of 40, 60 and 200 rows; limit at 0.1 % of 2 degrees of freedom."""
    rows = world((40, 60, 200))
    found = Counter(name[0] for draws in range(300) for name, _ in draw(rows, 30, draws=draws))
    assert sum((found[domain] - 3000) ** 2 / 3000 for domain in "abc") < 13.8


def test_equal_lengths_are_ranked_by_id():
    rows = [row(name, num_thinking_tokens=7) for name in ("c", "a", "b")]
    assert Pools(shuffled(rows)).draw_long("letters", random.Random(0)) == Pools(rows).draw_long("letters", random.Random(0))


def test_rows_of_the_seed_set_are_used_up_without_being_counted():
    """A domain whose only row is a seed is drawn once at most; the target counts the seed set."""
    rows = world((1, 5))
    for draws in range(20):
        found = [name for name, _ in draw(rows, 4, seed=("a0",), draws=draws)]
        assert len(found) == 3
        assert all(name[0] == "b" for name in found)


def test_from_uniform_until_on_only_weighted_domains_are_drawn():
    rows = world((50, 50, 50))
    for draws in range(20):
        found = draw(rows, 40, uniform_until=10, weights={"b": 3}, draws=draws)
        assert [phase for _, phase in found] == ["uniform"] * 10 + ["benchmark"] * 30
        assert {name[0] for name, phase in found if phase == "benchmark"} == {"b"}


def test_weights_are_proportional():
    """6,000 draws with weights 3 to 1 from pools that do not end; four standard deviations are 134."""
    rows = world((300, 300))
    found = Counter(name[0] for draws in range(60) for name, _ in draw(rows, 100, uniform_until=0, weights={"a": 3, "b": 1}, draws=draws))
    assert abs(found["a"] - 4500) < 134


def test_the_draw_ends_when_no_weighted_domain_is_left():
    assert len(draw(world((3, 50)), 20, uniform_until=0, weights={"a": 1})) == 3


def authors_weights(aime, gpqa, share):
    """data/filter.ipynb @77272c6, its cell of benchmark domains, rewritten."""
    gpqa_domain, aime_domain = Counter(gpqa), Counter(aime)
    enlarge_ratio = share * sum(aime_domain.values()) / sum(gpqa_domain.values())
    for domain in gpqa_domain:
        gpqa_domain[domain] = int(gpqa_domain[domain] * enlarge_ratio)
    return dict(gpqa_domain + aime_domain)


@pytest.mark.parametrize("seed", range(50))
def test_benchmark_weights_are_those_of_the_notebook(seed):
    chance = random.Random(seed)
    aime, gpqa = (chance.choices("abcdef", k=chance.randint(1, 40)) for _ in range(2))
    rows = [[row(str(number), domain=domain) for number, domain in enumerate(domains)] for domains in (aime, gpqa)]
    assert benchmark_weights(*rows, 0.5) == authors_weights(aime, gpqa, 0.5)


def test_without_gpqa_the_weights_are_those_of_aime():
    assert benchmark_weights([row("a", domain="x")], [], 0.5) == {"x": 1}


def test_any_row_of_a_domain_has_the_same_chance():
    """2,000 first draws of four rows; limit at 0.1 % of 3 degrees of freedom."""
    found = Counter(next(draw_over_domains(world((4,)), 1, random.Random(seed))) for seed in range(2000))
    assert sum((found[f"a{rank}"] - 500) ** 2 / 500 for rank in range(4)) < 16.3

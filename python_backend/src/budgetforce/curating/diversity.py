# SPDX-License-Identifier: Apache-2.0
"""Draw rows over domains: s1's loop (data/filter.ipynb @77272c6; arXiv 2501.19393, Algorithm 1). Knows no settings of a recipe.

The result depends on the rows, not on their order: domains and rows are sorted before anything is drawn.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from budgetforce.curating.rows import Row

_RANKS = 64  # all longer ranks together have a chance below 2^-63, less than the resolution of the generator


class Pools:
    """The rows that can still be drawn, by domain; in each the longest trace first, ties by id."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._pools: dict[str, list[Row]] = {}
        for row in sorted(rows, key=lambda row: (row["domain"], -row["num_thinking_tokens"], row["id"])):
            self._pools.setdefault(row["domain"], []).append(row)

    @property
    def domains(self) -> list[str]:
        """Domains that still have a row, sorted."""
        return list(self._pools)

    def draw_long(self, domain: str, rng: random.Random) -> Row:
        """Remove and return a row of a domain; its chance halves with each rank by trace length."""
        ranks = range(min(len(self._pools[domain]), _RANKS))
        return self._pop(domain, rng.choices(ranks, [2.0**-rank for rank in ranks])[0])

    def draw_any(self, domain: str, rng: random.Random) -> Row:
        """Remove and return a row of a domain, each with the same chance."""
        return self._pop(domain, rng.randrange(len(self._pools[domain])))

    def _pop(self, domain: str, rank: int) -> Row:
        row = self._pools[domain].pop(rank)
        if not self._pools[domain]:
            del self._pools[domain]
        return row


def benchmark_weights(aime: Iterable[Row], gpqa: Iterable[Row], gpqa_share: float) -> dict[str, int]:
    """Return a weight for each domain: its rows of AIME plus its rows of GPQA, scaled to ``gpqa_share`` times as many as AIME's."""
    num_aime, num_gpqa = Counter(row["domain"] for row in aime), Counter(row["domain"] for row in gpqa)
    scale = gpqa_share * num_aime.total() / num_gpqa.total() if num_gpqa else 0.0
    weights = num_aime + Counter({domain: int(num * scale) for domain, num in num_gpqa.items()})
    return {domain: weights[domain] for domain in sorted(weights)}


def draw_diverse(
    rows: Sequence[Row], seed: Iterable[str], target: int, uniform_until: int, weights: Mapping[str, int], rng: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield (id, phase) of each row drawn, until ``target`` rows are selected or no domain can be drawn any more.

    The rows of ``seed`` are selected already. They stay in the pools, so drawing one uses it up and adds nothing, as in s1.
    Below ``uniform_until`` selected rows every domain has the same chance; from there on ``weights`` decide.
    """
    pools, selected = Pools(rows), set(seed)
    while len(selected) < target:
        is_uniform = len(selected) < uniform_until
        domains = [domain for domain in pools.domains if is_uniform or weights.get(domain)]
        if not domains:
            return
        chances = None if is_uniform else [weights[domain] for domain in domains]
        row = pools.draw_long(rng.choices(domains, chances)[0], rng)
        if row["id"] not in selected:
            selected.add(row["id"])
            yield row["id"], "uniform" if is_uniform else "benchmark"


def draw_over_domains(rows: Sequence[Row], target: int, rng: random.Random) -> Iterator[str]:
    """Yield the ids of up to ``target`` rows: a domain uniformly, then any of its rows (the ablation "1K-diverse")."""
    pools = Pools(rows)
    for _ in range(min(target, len(rows))):
        yield pools.draw_any(rng.choice(pools.domains), rng)["id"]

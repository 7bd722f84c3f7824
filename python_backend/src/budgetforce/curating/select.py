# SPDX-License-Identifier: Apache-2.0
"""Select the training rows: s1's three criteria (quality, difficulty, diversity), or a method of its ablations.

    method      filters               drawn
    s1k         quality, difficulty   seed set; then by domain: uniformly, from ``uniform_until`` rows on by benchmark
    s1k-paper   quality, difficulty   seed set; then by domain, uniformly throughout, as the paper describes it
    random      quality               any rows
    diverse     quality               a domain uniformly, then any row of it
    longest     quality               the longest traces
    full        none                  every row

Sources: simplescaling/s1 data/filter.ipynb @77272c6 and arXiv 2501.19393, section 2.2, 5.1 and Algorithm 1. The authors' own
set cannot be drawn again, because they set no seed; here the same rows and seed give the same set, in any order of the rows.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.diversity import benchmark_weights, draw_diverse, draw_over_domains
from budgetforce.curating.history import count_drops
from budgetforce.curating.quality import Filter, bad_string, is_of, missing_feature, solved_by_weak_model
from budgetforce.curating.rows import Drop, Outcome, Row
from budgetforce.curating.settings import check

BY_DIFFICULTY = ("s1k", "s1k-paper")
Selected = dict[str, str]  # id -> how it was selected


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectSettings:
    """How many rows are selected, and by which method.

    Attributes:
        target: number of rows; ``full`` takes all and has none.
        weak_models: names in ``weak_correct``; a question that one of them solves is too easy.
        min_seed_tokens: a MATH trace of the seed set is longer than this.
        uniform_until: number of rows from which ``s1k`` draws domains by benchmark.
        gpqa_share: weight of all GPQA rows, relative to all AIME rows.
    """

    method: Literal["s1k", "s1k-paper", "random", "diverse", "longest", "full"]
    target: int | None = None
    weak_models: tuple[str, ...] = ()
    aime_sources: tuple[str, ...] = ("qq8933/AIME_1983_2024",)
    gpqa_sources: tuple[str, ...] = ("Idavidrein/gpqa",)
    math_sources: tuple[str, ...] = ("qfq/openaimath", "simplescaling/openaimath")
    min_seed_tokens: int = 5600
    uniform_until: int = 700
    gpqa_share: float = 0.5

    def __post_init__(self) -> None:
        if self.method == "full":
            check("target", self.target, self.target is None, "none with method 'full', which takes every row")
        else:
            check("target", self.target, self.target is not None and self.target >= 1, "an integer >= 1")
        is_needed = self.method in BY_DIFFICULTY
        check("weak_models", self.weak_models, not is_needed or bool(self.weak_models), "at least one model, for its difficulty filter")
        check("min_seed_tokens", self.min_seed_tokens, self.min_seed_tokens >= 0, "an integer >= 0")
        check("uniform_until", self.uniform_until, self.uniform_until >= 0, "an integer >= 0")
        check("gpqa_share", self.gpqa_share, self.gpqa_share >= 0, "a number >= 0")


def run(rows: Sequence[Row], settings: SelectSettings, rng: random.Random) -> Outcome:
    """Return the selected rows, sorted by id, with ``selected_by``; every other row is dropped with its reason.

    Raises BuildFailed if the target cannot be reached, naming the numbers.
    """
    pool, dropped, funnel = _filter(_sorted_by_id(rows), settings)
    _check_target(settings, len(pool), dropped)
    selected = _select(pool, settings, rng)
    dropped += [_drop(row, "not-drawn", "") for row in pool if row["id"] not in selected]
    funnel.append({"step": settings.method, "rows_in": len(pool), "rows_out": len(selected)})
    return Outcome(
        rows=[{**row, "selected_by": selected[row["id"]]} for row in pool if row["id"] in selected],
        dropped=dropped,
        found={"method": settings.method, "funnel": funnel, "selected_by": dict(sorted(Counter(selected.values()).items()))},
    )


def _sorted_by_id(rows: Sequence[Row]) -> list[Row]:
    """Return the rows sorted by id. Raises BuildFailed if two rows have the same."""
    ordered = sorted(rows, key=itemgetter("id"))
    for row, following in pairwise(ordered):
        if row["id"] == following["id"]:
            raise BuildFailed(f"stage select: two rows have the id {row['id']!r}: remove duplicates first")
    return ordered


def _filters(settings: SelectSettings) -> dict[str, Filter]:
    """Return the filters of the method, in their order, by the reason that they give."""
    if settings.method == "full":
        return {}
    quality = {"missing-feature": missing_feature(settings.weak_models), "bad-string": bad_string(settings.aime_sources)}
    return quality | ({"too-easy": solved_by_weak_model(settings.weak_models)} if settings.method in BY_DIFFICULTY else {})


def _filter(rows: list[Row], settings: SelectSettings) -> tuple[list[Row], list[Drop], list[dict[str, Any]]]:
    """Return the rows that pass, the others with their reason, and the funnel."""
    dropped: list[Drop] = []
    funnel: list[dict[str, Any]] = []
    for reason, find in _filters(settings).items():
        details = {row["id"]: find(row) for row in rows}
        dropped += [_drop(row, reason, details[row["id"]]) for row in rows if details[row["id"]]]
        kept = [row for row in rows if not details[row["id"]]]
        funnel.append({"step": reason, "rows_in": len(rows), "rows_out": len(kept)})
        rows = kept
    return rows, dropped, funnel


def _check_target(settings: SelectSettings, num_left: int, dropped: Sequence[Drop]) -> None:
    """Raise BuildFailed for a target that the filters leave too few rows for, saying why they left them out."""
    if settings.target is None or settings.target <= num_left:
        return
    reasons = ", ".join(f"{reason} {number}" for reason, number in count_drops(dropped)[0].items())
    left_out = f" (left out: {reasons}; the first row: {dropped[0].reason}: {dropped[0].detail})" if dropped else ""
    raise BuildFailed(
        f"select.target: got {settings.target}, but {num_left} rows are left by the filters{left_out}; allowed: at most that number, or"
        " method 'full', which has no filters"
    )


def _drop(row: Row, reason: str, detail: str) -> Drop:
    return Drop(id=row["id"], source=row["source"], reason=reason, detail=detail)


def _select(pool: list[Row], settings: SelectSettings, rng: random.Random) -> Selected:
    """Return the ids of the selected rows, with how each was selected."""
    if settings.method == "full":
        return dict.fromkeys(map(_id, pool), "all")
    target = settings.target or 0
    if settings.method == "random":
        return dict.fromkeys(map(_id, rng.sample(pool, target)), "random")
    if settings.method == "longest":
        longest = sorted(pool, key=lambda row: (-row["num_thinking_tokens"], row["id"]))[:target]
        return dict.fromkeys(map(_id, longest), "longest")
    if settings.method == "diverse":
        return dict.fromkeys(draw_over_domains(pool, target, rng), "uniform")
    return _select_s1k(pool, settings, target, rng)


def _select_s1k(pool: list[Row], settings: SelectSettings, target: int, rng: random.Random) -> Selected:
    selected = dict.fromkeys((row["id"] for row in pool if _is_seed(row, settings)), "seed")
    if len(selected) > target:
        raise BuildFailed(f"select.target: got {target}, but the seed set has {len(selected)} rows; allowed: at least that number")
    aime = [row for row in pool if is_of(row, settings.aime_sources)]
    gpqa = [row for row in pool if is_of(row, settings.gpqa_sources)]
    uniform_until = settings.uniform_until if settings.method == "s1k" else target
    weights = benchmark_weights(aime, gpqa, settings.gpqa_share)
    selected |= draw_diverse(pool, list(selected), target, uniform_until, weights, rng)
    if len(selected) < target:
        raise BuildFailed(
            f"select.target: got {target}, but only {len(selected)} rows could be drawn: from {uniform_until} rows on, method 's1k' draws"
            f" from domains of AIME and GPQA, which are used up; allowed: a larger uniform_until, or method 's1k-paper'"
        )
    return selected


def _is_seed(row: Row, settings: SelectSettings) -> bool:
    """Return whether a row is in the seed set: a right trace for AIME or GPQA, or a right and long one for MATH."""
    is_long_math = is_of(row, settings.math_sources) and row["num_thinking_tokens"] > settings.min_seed_tokens
    return bool(row["is_correct"]) and (is_of(row, [*settings.aime_sources, *settings.gpqa_sources]) or is_long_math)


def _id(row: Row) -> str:
    return str(row["id"])

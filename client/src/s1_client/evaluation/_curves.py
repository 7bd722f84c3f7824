# SPDX-License-Identifier: Apache-2.0
"""Control, Scaling and Performance of each curve, with bootstrap intervals over questions. Pure.

All settings of a curve are resampled together: a draw holds the same questions, equally often, for each setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s1_client.evaluation._forcing_curve import forcing_curve
from s1_client.evaluation._intervals import draws, interval
from s1_client.evaluation._metrics import Run, control, performance, scaling
from s1_client.evaluation._protocol import Setting
from s1_client.evaluation._samples import Sample

Numbers = NDArray[np.float64]
Bounds = tuple[float, float]
SettingResults = tuple[Setting, Sequence[Sample]]
PLAIN = "budget context"  # the setting without any limit of the thinking


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The paper's metrics of a curve (defined in ``_metrics``); None where undefined.

    Attributes:
        control: in percent.
        scaling_log2: percentage points of accuracy per doubling of the thinking, as published.
        scaling_linear: percentage points of accuracy per token, as Eq. 2 reads.
        performance: in percent.
        control_interval, …: (low, high), the 95% bootstrap interval over questions, in the metric's unit; None if the
            resampled values do not vary.
    """

    name: str
    num_settings: int
    control: float | None
    control_interval: Bounds | None
    scaling_log2: float | None
    scaling_log2_interval: Bounds | None
    scaling_linear: float | None
    scaling_linear_interval: Bounds | None
    performance: float | None
    performance_interval: Bounds | None


def curves(results: Sequence[SettingResults]) -> list[Curve]:
    """Return a curve for each curve name; settings without a sample have no point on it."""
    tables = _tables(results)
    names = dict.fromkeys(setting.curve for setting, _ in results)
    found = {name: [setting for setting, _ in results if setting.curve == name] for name in names}
    found |= _forcing([setting for setting, samples in results if samples])
    return [_curve(name, [(setting, tables[setting.name]) for setting in settings], tables) for name, settings in found.items()]


def _forcing(settings: Sequence[Setting]) -> dict[str, list[Setting]]:
    """Return the curves of budget forcing by name, which run through the settings of several others."""
    curve = forcing_curve(settings)
    return {} if curve is None else {curve.names[string]: [*curve.budgets, *refused] for string, refused in curve.refused.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A setting's results by question; each array is [num_questions].

    Attributes:
        num_tokens: sum of thinking tokens of accepted replies.
        num_accepted: number of accepted replies.
        scores: share of samples that are right; 0 without a sample.
        has_samples: 1 with a sample, else 0.
    """

    num_tokens: Numbers
    num_accepted: Numbers
    scores: Numbers
    has_samples: Numbers

    @property
    def has_point(self) -> bool:
        return bool(self.num_accepted.any())

    def measured(self) -> tuple[float, float]:
        """Return (mean thinking tokens, accuracy in percent) with equal weights."""
        once = np.ones(len(self.scores))
        return float(self.thinking(once)), float(self.accuracy(once))

    def thinking(self, weights: Numbers) -> Numbers:
        """Return the mean thinking tokens where question q has weight ``weights[…, q]``; nan without a reply."""
        return _ratio(weights @ self.num_tokens, weights @ self.num_accepted)

    def accuracy(self, weights: Numbers) -> Numbers:
        """Return the accuracy in percent with the same weights."""
        return 100 * _ratio(weights @ self.scores, weights @ self.has_samples)


def _ratio(amount: Numbers, number: Numbers) -> Numbers:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(amount / number)


def _tables(results: Sequence[SettingResults]) -> dict[str, _Table]:
    indices = {name: index for index, name in enumerate(sorted({sample.question for _, samples in results for sample in samples}))}
    return {setting.name: _table(samples, indices) for setting, samples in results}


def _table(samples: Sequence[Sample], indices: Mapping[str, int]) -> _Table:
    num_tokens, num_accepted, num_right, num_samples = np.zeros((4, len(indices)))
    for sample in samples:
        index = indices[sample.question]
        num_samples[index] += 1
        num_right[index] += sample.is_right
        num_accepted[index] += sample.is_accepted
        num_tokens[index] += sample.num_thinking_tokens * sample.is_accepted
    scores, has_samples = num_right / np.maximum(num_samples, 1), np.minimum(num_samples, 1)
    return _Table(num_tokens=num_tokens, num_accepted=num_accepted, scores=scores, has_samples=has_samples)


def _curve(name: str, settings: Sequence[tuple[Setting, _Table]], tables: Mapping[str, _Table]) -> Curve:
    kept = [(setting, table) for setting, table in settings if table.has_point]
    plain = tables.get(PLAIN)
    runs = _runs(kept, plain)
    intervals = _intervals(kept, plain, runs) if kept else dict.fromkeys(_INTERVALS)
    return Curve(
        name=name,
        num_settings=len(kept),
        control=control(runs),
        scaling_log2=scaling(runs),
        scaling_linear=scaling(runs, is_log2=False),
        performance=performance(runs),
        **intervals,
    )


_INTERVALS = ("control_interval", "scaling_log2_interval", "scaling_linear_interval", "performance_interval")


def _intervals(settings: Sequence[tuple[Setting, _Table]], plain: _Table | None, runs: Sequence[Run]) -> dict[str, Bounds | None]:
    drawn = _Drawn.of(settings, plain)
    scalings = [_bounds_that_vary(drawn.scaling(is_log2=is_log2)) for is_log2 in (True, False)]
    best = _bounds_that_vary(drawn.performance()) or _bounds_of_best(settings, runs)
    return dict(zip(_INTERVALS, (_bounds(drawn.control()), *scalings, best), strict=True))


def _runs(settings: Sequence[tuple[Setting, _Table]], plain: _Table | None) -> list[Run]:
    """Return a run for each setting, with equal weights of the questions."""
    plain_length = None if plain is None or not plain.has_point else plain.measured()[0]
    found = []
    for setting, table in settings:
        thinking, accuracy = table.measured()
        found.append(Run(thinking_tokens=thinking, accuracy=accuracy, **_limits_of(setting, plain_length)))
    return found


def _limits_of(setting: Setting, plain: float | None) -> dict[str, float | None]:
    """Return the bounds of the mean thinking length: a long or short prompt is bounded by the run without a limit, if any."""
    if setting.kind == "class":
        return {"least": plain if setting.name.endswith(" long") else None, "most": plain if setting.name.endswith(" short") else None}
    return {"most": setting.max_mean_tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A curve over resampled questions; each array is [num_draws, num_settings], nan where a draw has no reply.

    Attributes:
        least, most: bounds of the mean thinking length in tokens; infinite without a limit.
        is_bounded: [num_settings], whether a limit applies.
    """

    thinking: Numbers
    accuracy: Numbers
    least: Numbers
    most: Numbers
    is_bounded: NDArray[np.bool_]

    @classmethod
    def of(cls, settings: Sequence[tuple[Setting, _Table]], plain: _Table | None) -> _Drawn:
        weights = draws(len(settings[0][1].scores))
        is_plain = plain is not None and plain.has_point
        plain_length = plain.thinking(weights) if plain is not None and is_plain else 0.0  # resampled too
        limits = [_limits_of(setting, 0.0 if is_plain else None) for setting, _ in settings]
        least, most = (np.full((len(weights), len(settings)), bound) for bound in (-np.inf, np.inf))
        for index, (setting, _) in enumerate(settings):
            for side, bounds in (("least", least), ("most", most)):
                limit = limits[index].get(side)
                if limit is not None:
                    bounds[:, index] = plain_length if setting.kind == "class" else limit
        return cls(
            thinking=np.stack([table.thinking(weights) for _, table in settings], axis=1),
            accuracy=np.stack([table.accuracy(weights) for _, table in settings], axis=1),
            least=least,
            most=most,
            is_bounded=np.array([any(limit is not None for limit in bounds.values()) for bounds in limits]),
        )

    def control(self) -> Numbers:
        is_kept = np.where(np.isnan(self.thinking), np.nan, (self.thinking >= self.least) & (self.thinking <= self.most))
        return 100 * _mean(is_kept[:, self.is_bounded])

    def scaling(self, *, is_log2: bool) -> Numbers:
        """Return ``_metrics.scaling`` of each draw: pairs of different length, on the logarithmic axis without length 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            a = np.log2(self.thinking) if is_log2 else self.thinking
            first, second = np.triu_indices(a.shape[1], 1)
            slopes = (self.accuracy[:, second] - self.accuracy[:, first]) / (a[:, second] - a[:, first])
        is_there = np.isfinite(a[:, first]) & np.isfinite(a[:, second]) & (a[:, first] != a[:, second])
        return _mean(np.where(is_there, slopes, np.nan))

    def performance(self) -> Numbers:
        return np.asarray(np.nanmax(np.nan_to_num(self.accuracy, nan=-np.inf), axis=1))


def _mean(values: Numbers) -> Numbers:
    """Return the mean over the last axis, ignoring nan."""
    is_there = ~np.isnan(values)
    return _ratio(np.where(is_there, values, 0.0).sum(axis=1), is_there.sum(axis=1).astype(np.float64))


def _bounds(drawn: Numbers) -> Bounds | None:
    found = drawn[np.isfinite(drawn)]
    if not len(found):
        return None
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def _bounds_that_vary(drawn: Numbers) -> Bounds | None:
    """Return the interval, or None if all draws are equal, as with a single question: that shows no certainty."""
    bounds = _bounds(drawn)
    return None if bounds is None or bounds[0] == bounds[1] else bounds


def _bounds_of_best(settings: Sequence[tuple[Setting, _Table]], runs: Sequence[Run]) -> Bounds:
    """Return the interval of the best setting's accuracy in percent."""
    (_, table), _ = max(zip(settings, runs, strict=True), key=lambda pair: pair[1].accuracy)
    low, high = interval(table.scores[table.has_samples > 0].tolist())
    return 100 * low, 100 * high

# SPDX-License-Identifier: Apache-2.0
"""The figures of a report, checked by the data that they draw."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from client.loadtest.samples import failed, level, random_level, request, run
from s1_client.cli.load.axes import add_title
from s1_client.cli.load.figures import NUM_STEPS, draw_run, draw_throughput, ecdf
from s1_client.cli.load.forest import draw_forest, is_better
from s1_client.cli.load.svg import inline_svg
from s1_client.cli.plots.style import log_ticks, styled
from s1_client.loadtest._compare import compare
from s1_client.loadtest._metric_definitions import TIMES
from s1_client.loadtest._roofline import Roofline
from s1_client.loadtest._summary import Slo, summarise

LIMIT = Roofline(name="a GPU", weights_ms=10.0, context_token_ns=100.0, max_batch_size=4, kv_tokens=10**6)
SWEPT = run(random_level(1, 40, concurrency=1), level(*[request()] * 30, failed(), failed(end="Cancelled"), value=8.0), roofline=LIMIT)


def drawn(record):
    with styled():
        return {figure.name: figure for figure in draw_run(record, summarise(record, Slo()))}


def data(one, gid):
    (line,) = [line for line in one.figure.axes[0].get_lines() if line.get_gid() == gid]
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


@pytest.fixture(scope="module")
def swept():
    return drawn(SWEPT)


@pytest.fixture(scope="module")
def summary():
    return summarise(SWEPT, Slo())


def test_throughput_is_that_of_the_levels(swept, summary):
    assert data(swept["throughput"], "throughput-0") == [(one.value, one.tokens_per_s) for one in summary.levels]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 1200, [1, 10, 100, 1000]),
        (8, 450, [10, 20, 50, 100, 200]),
        (57, 260, [70, 100, 150, 200]),
        (20.8, 46.5, [25, 30, 35, 40, 45]),
        (100.2, 101.9, [100.5, 101, 101.5]),
    ],
)
def test_a_logarithmic_axis_has_three_ticks_or_more(low, high, ticks):
    """Two ticks look like a linear axis, and a narrow range between 20 and 50 had none at all."""
    assert log_ticks(low, high) == pytest.approx(ticks)


def test_every_figure_has_numbers_on_its_axes():
    """If throughput hardly changes, all points lie between two round numbers."""
    levels = [level(*[request()] * 20, value=value, duration_s=duration) for value, duration in ((1.0, 60.0), (2.0, 50.0))]
    figures = drawn(run(*levels))
    for name, one in figures.items():
        one.figure.draw_without_rendering()
        low, high = one.figure.axes[0].get_ylim()
        assert sum(low <= tick <= high for tick in one.figure.axes[0].get_yticks()) >= 3, name


def test_first_tokens_and_request_latencies_are_over_the_same_replies():
    """Quick replies without streaming are left out; otherwise replies would seem to end before their answers begin."""
    whole = [request(time_to_first_token_ms=None, time_to_first_answer_token_ms=None, request_latency_ms=300.0)] * 5
    mixed = level(*[request()] * 3, *whole)
    first = drawn(run(mixed))["first-token"]
    assert [data(first, name)[0][1] for name in TIMES] == [100, 1100, 1290]
    assert "over the same replies" in first.caption
    found = summarise(run(mixed), Slo()).levels[0]
    assert (found.metrics["request_latency_ms"].num_values, found.streamed["request_latency_ms"].num_values) == (8, 3)


def test_the_limit_is_drawn_where_it_is_known(swept):
    context = 50 + 120 / 2
    at_once, tokens_per_s = zip(*data(swept["throughput"], "roofline-0"), strict=True)
    assert tokens_per_s == pytest.approx([LIMIT.tokens_per_s(one, context) for one in at_once])
    without = run(*SWEPT.levels)
    with styled():
        assert len(draw_throughput([(without, summarise(without, Slo()))]).figure.axes[0].get_lines()) == 1


def test_the_distribution_is_that_of_the_latencies(swept):
    found = data(swept["latency"], "ecdf-0")
    assert [x for x, _ in found] == sorted(one.request_latency_ms / 1e3 for one in SWEPT.levels[0].requests)
    assert found[-1][1] == 100


def test_a_distribution_of_many_values_keeps_its_ends_and_its_shape():
    xs, shares = ecdf(np.arange(100_000))
    assert len(xs) == NUM_STEPS and (xs[0], xs[-1], shares[-1]) == (0, 99_999, 1)
    assert shares == pytest.approx((xs + 1) / 100_000)


@pytest.mark.parametrize(
    ("figure", "metric"),
    [
        ("first-token", "time_to_first_answer_token_ms"),
        ("between-tokens", "inter_token_latency_answer_ms"),
        ("rounds", "round_gap_ms"),
    ],
)
def test_markers_are_medians(swept, summary, figure, metric):
    assert [y for _, y in data(swept[figure], metric)] == [one.metrics[metric].p50 for one in summary.levels]


@pytest.mark.parametrize(("figure", "heights"), [("tokens", [100, 100, 20, 20]), ("errors", [0, 1, 0, 1])])
def test_bars_are_counts(swept, figure, heights):
    assert [bar.get_height() for bar in swept[figure].figure.axes[0].patches] == heights


def test_figures_without_data_are_not_drawn():
    assert set(drawn(run(level()))) == set()
    assert set(drawn(run(level(failed())))) == {"errors"}
    assert set(drawn(run(level(request())))) == {"latency", "first-token", "between-tokens", "rounds", "tokens"}


def test_reply_rates_are_drawn_against_the_request_rate():
    rates = [level(request(), request(), mode="request_rate", value=value, distribution="poisson", duration_s=4.0) for value in (1.0, 2.0)]
    assert data(drawn(run(*rates))["rates"], "replies") == [(1.0, 0.5), (2.0, 0.5)]


def test_a_title_covers_no_legend_and_is_not_cut_off():
    figures = drawn(run(*(level(*[request()] * 5, failed(), value=value) for value in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0))))
    assert {"latency", "tokens", "errors", "rounds"} < set(figures)
    for one in figures.values():
        add_title(one.figure, one.title)
        one.figure.draw_without_rendering()
        title = one.figure._suptitle.get_window_extent()
        assert title.x1 <= one.figure.bbox.width, one.name
        legends = [legend.get_window_extent() for legend in one.figure.legends]
        assert all(box.y1 <= title.y0 + 1 for box in legends), one.name
        assert one.figure.axes[0].get_window_extent().y1 < min(box.y0 for box in (title, *legends)), one.name


def test_the_numbers_of_close_levels_do_not_cover_each_other():
    """A capacity search bisects: 16, 17, 18, 20, 24, 32."""
    levels = [level(request(), value=float(value)) for value in (1, 2, 4, 8, 16, 17, 18, 20, 24, 32)]
    axes = drawn(run(*levels))["throughput"].figure.axes[0]
    axes.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(boxes) >= 6 and all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_a_median_of_zero_is_left_out_of_a_logarithmic_axis():
    """Drawn, it would squeeze the whole figure to nothing."""
    figures = drawn(run(level(*[request(round_gaps_ms=(0.0, 0.0))] * 20)))
    assert len(figures["rounds"].figure.axes[0].texts) == 2 and "Medians of 0 ms" in figures["rounds"].caption
    nothing = request(round_gaps_ms=(0.0,), ignore_costs_ms=(), answer_gap_ms=None)
    assert "rounds" not in drawn(run(level(*[nothing] * 20)))


def test_rates_with_even_and_with_poisson_gaps_are_told_apart():
    """Scenario "rate" has both: one line through all points would turn back, and two levels would have one name."""
    gaps = {"constant": 4.0, "poisson": 8.0}
    rates = [
        level(*[request()] * 8, mode="request_rate", value=value, distribution=name, duration_s=duration)
        for name, duration in gaps.items()
        for value in (1.0, 2.0)
    ]
    found = drawn(run(*rates))
    assert data(found["rates"], "replies") == [(1.0, 2.0), (2.0, 2.0)]
    assert data(found["rates-poisson"], "replies") == [(1.0, 1.0), (2.0, 1.0)]
    axes = found["tokens"].figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1/s", "2/s", "1/s\nP", "2/s\nP"]
    assert axes.get_xlabel() == "request rate, 1/s; P: Poisson gaps"


def test_labels_at_line_ends_do_not_overlap(swept):
    figure = swept["first-token"].figure
    boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 3
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes))


def test_ratios_are_drawn_at_their_values():
    ratios = compare(run(random_level(1)), run(random_level(2, slower=1.5)), Slo())
    with styled():
        forest = draw_forest(ratios, "ratios", ("before", "after"))
    found = {one.name: one for one in ratios if one.statistic != "p95"}
    assert data(forest, "ratio-request_latency_ms") == [(found["request_latency_ms"].ratio, list(found).index("request_latency_ms"))]
    verdicts = {"request_latency_ms": False, "tokens_per_s": False, "share_good": None}
    assert {name: is_better(found[name]) for name in verdicts} == verdicts


def test_a_ratio_of_zero_is_left_out():
    good, late = random_level(1, 40), level(*[request(time_to_first_token_ms=9000.0, checks=("late",))] * 40)
    ratios = compare(run(good), run(late), Slo())
    assert [one.ratio for one in ratios if one.name == "share_good"] == [0.0]
    with styled():
        shown = draw_forest(ratios, "ratios", ("before", "after")).figure.axes[0]
    assert "good requests" not in [label.get_text() for label in shown.get_yticklabels()]
    assert shown.get_xlim()[0] > 0


def test_svg_has_unique_ids_and_the_pages_colours(swept):
    one, other = (inline_svg(swept[name], f"{name}-") for name in ("tokens", "errors"))
    ids = [re.findall(r'\bid="([^"]*)"', text) for text in (one, other)]
    assert not set(ids[0]) & set(ids[1]) and len(set(ids[0])) == len(ids[0])
    assert {f"#{one_id}" for one_id in ids[0]} >= set(re.findall(r'(?:href="|url\()(#[^")]*)', one)) > set()
    assert re.findall(r"#[0-9a-fA-F]{6}\b", one) == []  # each has a variable: the dark page has others
    assert ET.fromstring(one).get("aria-label").startswith("Tokens by phase")

# SPDX-License-Identifier: Apache-2.0
"""The /metrics of a real server hold what the table of metrics says, and grow with the requests."""

import re
import urllib.request

from budgetforce.serving.metric_definitions import BUILD_INFO, BUILD_LABELS, METRICS, Kind
from server.waiting import gauge, wait_until

LINE = re.compile(r"(?P<name>s1_\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)")
OWN = {"model_instance", "le"}


def page(server):
    with urllib.request.urlopen(f"http://{server.ports.host}:{server.ports.metrics}/metrics", timeout=5) as response:
        return response.read().decode()


def series(text, name):
    """The label sets of a metric of s1_scripted."""
    found = set()
    for match in LINE.finditer(text):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        if re.fullmatch(f"{name}(_bucket|_sum|_count)?", match["name"]) and labels["model_instance"] == "s1_scripted_0_0":
            found.add(tuple(sorted((label, value) for label, value in labels.items() if label not in OWN)))
    return found


def test_the_page_has_every_metric_of_the_table_and_no_other(triton):
    text = page(triton)
    kinds = dict(re.findall(r"^# TYPE (s1_\w+) (\w+)$", text, re.M))
    assert kinds == {name: metric.kind.value for name, metric in METRICS.items()}
    assert dict(re.findall(r"^# HELP (s1_\w+) (.+)$", text, re.M)) == {name: metric.meaning for name, metric in METRICS.items()}
    for name, metric in METRICS.items():
        if name != BUILD_INFO:
            known = {labels for labels in series(text, name) if ("tenant", "(none)") in labels or "tenant" not in dict(labels)}
            known |= {labels for labels in series(text, name) if ("tenant", "(other)") in labels}  # beside those of other tests
            assert known == {tuple(sorted(labels.items())) for labels in metric.series()}, name
        if metric.kind is Kind.HISTOGRAM:
            bounds = {float(bound) for bound in re.findall(rf'^{name}_bucket{{.*le="([^"]*)"', text, re.M)}
            assert bounds == {*metric.buckets, float("inf")}, name


def test_the_build_is_described(triton):
    (labels,) = series(page(triton), BUILD_INFO)
    assert [label for label, _ in labels] == sorted(BUILD_LABELS)
    assert dict(labels).items() >= {"engine_model": "scripted_llm", "preset": "smollm2", "triton": "2.51.0"}.items()


def test_a_reply_is_measured(triton, over_grpc, scripts, a):
    """Also its many tokens cost no more than one publication."""
    names = ['s1_requests_total{end="done"', "s1_request_duration_seconds_count{", "s1_ends_refused_total{", "s1_thinking_tokens_sum{"]

    def values():
        lines = [line for line in page(triton).splitlines() if 'model_instance="s1_scripted_0_0"' in line]
        return [sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)) for name in names]

    wait_until(lambda: gauge(triton, 's1_requests_open{model_instance="s1_scripted_0_0"}') == 0, seconds=15)
    before = values()
    reply = over_grpc.think(scripts.write([a, a, 2], [a, 2], [a, 0]).question, num_ignore=1, max_tokens=5)
    expected = [1, 1, 1, reply.usage.num_thinking_tokens]
    wait_until(lambda: [new - old for new, old in zip(values(), before, strict=True)] == expected, seconds=15)

# SPDX-License-Identifier: Apache-2.0
import re

import pytest

from client.loadtest.scenarios import LOAD, at_rate, data, scenario
from s1_client.loadtest._scenario import Scenario, read, shipped
from s1_client.loadtest._typed import Malformed, decode

WANTED = {"smoke", "budget-256", "budget-1k", "budget-8k", "budget-32k", "num-ignore", "long-prompts", "joined", "rate", "mix"}


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_scenario_is_read_and_bounded(name):
    found = read(shipped()[name])
    assert found.about.endswith(".")
    for stage in found.stages:
        assert stage.load.num_requests <= 1400 and stage.load.max_seconds <= 3600


def test_all_kinds_of_load_are_shipped():
    found = {name: read(path) for name, path in shipped().items()}
    assert set(found) >= WANTED | {"overload", "cancels", "answer-now"}
    works = [work for scenario in found.values() for work in scenario.work]
    assert {work.options.get("max_thinking_tokens") for work in works} >= {256, 1024, 8192, 32000}
    assert {work.options.get("num_ignore") for work in works} >= {0, 1, 4}
    assert {work.stream for work in works} == {True, False} and {work.prompts for work in works} == {"short", "long"}
    assert {stage.distribution for scenario in found.values() for stage in scenario.stages} == {None, "constant", "poisson"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about = 3\nwork = []\nload = []", "about: got 3, allowed: text"),
        ('about = "x"\nload = []', "work: missing"),
        ('about = "x"\nwork = []\nload = []', "work: got none, allowed: at least one"),
        ("about = ", "Invalid value"),
    ],
)
def test_a_broken_file_is_refused_with_its_path(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(Malformed, match=f"{re.escape(str(path))}: .*{message}"):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"work": {"share": 0}}, r"work[0].share: got 0, allowed: an integer >= 1"),
        ({"work": {"prompts": "middle"}}, r"work[0].prompts: got 'middle', allowed: 'short' or 'long'"),
        ({"work": {"colour": "red"}}, r"work[0].colour: unknown, allowed: name, prompts"),
        ({"work": {"options": {"budget": 3}}}, r"work[0].options: unknown option 'budget'"),
        ({"work": {"options": {"num_ignore": "x"}}}, r"work[0].options: num_ignore: got 'x', allowed: an integer from"),
        ({"work": {"options": {"num_samples": 2}}}, r"work[0].options.num_samples: not allowed in a load test"),
        ({"work": {"stream": False, "cancel_after_tokens": 1}}, r"work[0].stream: got False, allowed: true"),
        ({"work": {"answer_now_after_tokens": 1, "cancel_after_tokens": 1}}, r"work[0].cancel_after_tokens: not allowed together"),
        ({"load": {"request_rate": [1]}}, r"load[0].concurrency: give either this or request_rate"),
        ({"load": {"concurrency": [0]}}, r"load[0].concurrency: got 0, allowed: an integer >= 1"),
        ({"load": {"concurrency": [8]}}, r"load[0].num_requests: got 4, allowed: at least the concurrency, 8"),
        ({"load": {"max_seconds": 0}}, r"load[0].max_seconds: got 0.0, allowed: a number > 0"),
        ({"deadline_s": -1}, r"deadline_s: got -1.0, allowed: a number > 0"),
        ({"allowed_errors": ["Oops"]}, r"allowed_errors[0]: got 'Oops', allowed: 'ConnectionFailed' or"),
    ],
)
def test_a_bad_value_is_refused_by_field_and_value(change, message):
    with pytest.raises(Malformed, match=re.escape(message)):
        scenario(**change)


def test_two_kinds_of_work_with_the_same_name_are_refused():
    with pytest.raises(Malformed, match="work: two entries have the same name"):
        decode(Scenario, {**data(), "work": data()["work"] * 2})


def test_a_level_for_each_value_in_the_order_of_the_file():
    loads = [{**LOAD, "concurrency": [1, 4]}, {**LOAD, **at_rate(2)}]
    stages = decode(Scenario, {**data(), "load": loads}).stages
    assert [(stage.number, stage.name) for stage in stages] == [(1, "concurrency 1"), (2, "concurrency 4"), (3, "2 requests/s")]


def test_levels_can_be_replaced_and_are_checked_again():
    changed = scenario().with_load(request_rate=(1.0, 2.0), distribution="poisson", num_requests=3)
    assert [stage.name for stage in changed.stages] == ["1 requests/s, Poisson", "2 requests/s, Poisson"]
    with pytest.raises(Malformed, match="num_requests: got 4, allowed: at least the concurrency, 9"):
        scenario().with_load(concurrency=(9,))


def test_the_hash_depends_on_the_work_and_not_on_the_seed():
    assert scenario().hash() == scenario(seed=5).hash() != scenario(work={"share": 2}).hash()

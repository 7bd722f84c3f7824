# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from client.loadtest import records
from s1_client.loadtest._objective import Objective
from s1_client.loadtest._record import Run, read
from s1_client.loadtest._search import CapacitySearch
from s1_client.loadtest._typed import Malformed


@pytest.fixture
def run():
    overloaded = records.request(end="Overloaded", message="2 of 2 run", time_to_first_token_ms=None, thinking_end=None)
    return records.run(records.level(records.request(), overloaded, server={"s1_requests_total{end=done}": 1.0}))


def test_a_written_record_is_read_back(run, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(run.to_json())
    assert read(path) == run


def test_the_file_has_the_fields_of_the_classes_and_no_others(run):
    data = json.loads(run.to_json())
    assert data["schema"] == "s1-loadtest/1"
    first, second = data["levels"][0]["requests"]
    assert first["inter_token_latencies_ms"] == {"thinking": [10.0], "answer": [12.0]} and second["end"] == "Overloaded"
    assert set(first) == set(second) == set(records.request().__slots__)


def test_times_are_written_to_a_tenth_of_a_microsecond():
    run = records.run(records.level(records.request(request_latency_ms=1 / 3)))
    assert Run.from_json(run.to_json()).levels[0].requests[0].request_latency_ms == 0.3333


def test_the_scenario_and_the_loads_are_written_as_they_are():
    """Rounded as times are, an option of the requests would be another one, and a search would not recognise its own record."""
    objective = Objective(request_latency_ms=0.00012)
    search = CapacitySearch(mode="request_rate", least=0.00025, most=0.5, objective=objective)
    whole = records.run(records.level(value=0.00025, mode="request_rate"), scenario={"min_p": 0.00005}, search=search)
    assert Run.from_json(whole.to_json()) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(schema="s1-loadtest/0"), "schema: got 's1-loadtest/0', allowed: 's1-loadtest/1'"),
        (lambda data: data.update(colour="red"), "colour: unknown, allowed: schema, label"),
        (lambda data: data.update(labels="red"), "labels: unknown, did you mean 'label'"),
        (lambda data: data.pop("label"), "label: missing"),
        (lambda data: data.update(driver="genai"), "driver: got 'genai', allowed: 'client' or 'perf_analyzer'"),
        (lambda data: data["levels"][0].update(value="two"), r"levels\[0\].value: got 'two', allowed: a number"),
        (lambda data: data["levels"][0]["requests"][0].update(prompt=True), r"levels\[0\].requests\[0\].prompt: got True"),
        (lambda data: data["levels"][0]["requests"][0].update(ttft=1), r"levels\[0\].requests\[0\].ttft: unknown"),
    ],
)
def test_a_malformed_record_is_refused_by_field(run, change, message, tmp_path):
    data = json.loads(run.to_json())
    change(data)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(data))
    with pytest.raises(Malformed, match=f"{path}: {message}"):
        read(path)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_file_of_another_kind_is_refused(text):
    with pytest.raises(Malformed):
        Run.from_json(text)

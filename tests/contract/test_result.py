# SPDX-License-Identifier: Apache-2.0
"""The keys of a result, of its parts and of an error: those that the server sends are those that the client knows.

The server's own code answers here, with Triton's module and the engine replaced.
"""

import json
from dataclasses import asdict, fields

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from scripted_engine import ScriptedEngine
from training_record import write_record

import s1_client
from budgetforce.errors import EngineFailed
from budgetforce.serving import model as model_module
from budgetforce.serving.model import BudgetForcingModel
from s1_client._fields import EFFECTIVE_ONLY, FIELDS
from s1_client._types import result_of
from s1_client._wire import event_of
from s1_client._wire.errors import from_message
from s1_client.testing._forcing import Sample, Script, Vocabulary, result_json

END, EOS = 2, 0


@pytest.fixture
def engine():
    return ScriptedEngine()


@pytest.fixture
def responses(monkeypatch, smollm2, engine, tmp_path):
    """Send a request to the server's code, and return its responses."""
    monkeypatch.setattr(model_module, "GrpcEngine", lambda *_: engine)
    parameters = {"engine_model": "scripted", "engine_url": "x:1", "tokenizer_dir": str(smollm2.tokenizer), "preset": "smollm2"}
    parameters |= {"max_context_tokens": "1000", "vocab_rows": "49152", "training_record": str(write_record(tmp_path))}
    config = {"parameters": {name: {"string_value": value} for name, value in parameters.items()}, "input": []}
    model = BudgetForcingModel()
    model.initialize({"model_config": json.dumps(config), "model_instance_name": "s1_0_0", "model_name": "s1"})

    def send(**inputs):
        tensors = {"text_input": [[b"hi"]], "stream": [[True]], **inputs}
        arrays = {name: np.array(value, np.object_ if isinstance(value[0][0], bytes) else None) for name, value in tensors.items()}
        request = pb_utils.InferenceRequest(arrays, "id")
        model.execute([request])
        assert request.sender.finished.wait(5)
        return request.sender.responses

    yield send
    model.finalize()


@pytest.fixture
def events(responses, engine, tokenizer):
    """The outputs of each response to a request whose first end of thinking is refused and whose answer ends with a stop word."""
    word = tokenizer.encode(" one")
    engine.enqueue([*word, END], [*word, *word, END], [*tokenizer.encode(" yes STOP"), EOS])
    sent = responses(num_ignore=[[1]], max_thinking_tokens=[[40]], stop_words=[[b"STOP"]])
    return [{tensor.name(): tensor.as_numpy() for tensor in response.output_tensors} for response in sent]


def text(outputs, name):
    return outputs[name].flat[0].decode() if name in outputs else ""


def event(outputs):
    """The client's event of a response."""
    return event_of(
        kind=text(outputs, "event"),
        index=int(outputs["index"].flat[0]),
        ids=tuple(outputs["output_ids"].flatten().tolist()),
        thinking=text(outputs, "thinking_output"),
        answer=text(outputs, "text_output"),
        round_json=text(outputs, "round"),
        result_json=text(outputs, "result"),
    )


class Watched(dict):
    """An object of JSON that remembers which of its keys were read."""

    def __init__(self, data):
        super().__init__({name: Watched(value) if isinstance(value, dict) else value for name, value in data.items()})
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)


def names(kind):
    return {field.name for field in fields(kind)}


def test_the_client_reads_every_key_of_a_result(events):
    sent = json.loads(text(events[-1], "result"))
    watched = Watched(sent)
    result_of(watched)
    assert watched.read == set(sent) - {"index"}, "the index also comes as a tensor, with every event"
    assert watched["finish_reason"].read == set(sent["finish_reason"])
    assert set(sent["usage"]) == names(s1_client.Usage)
    assert set(sent["training"]) == names(s1_client.TrainingRecord)
    assert [set(entry) for entry in sent["rounds"]] == [names(s1_client.Round)] * 3
    assert set(sent["effective"]) == {*FIELDS, *EFFECTIVE_ONLY}


def test_the_client_knows_every_key_of_a_rounds_event(events):
    sent = [json.loads(text(outputs, "round")) for outputs in events if "round" in outputs]
    assert [set(entry) for entry in sent] == [names(s1_client.Round)] * 3


def test_a_reply_tells_the_stop_word_and_when_its_first_token_came(events):
    done = event(events[-1])
    assert (done.result.answer_end, done.result.stop_word) == ("stop_word", "STOP")
    assert done.result.engine_time_to_first_token_ms == done.result.rounds[0].first_token_ms > 0


def test_a_reply_tells_how_its_model_was_trained(events):
    sent, told = json.loads(text(events[-1], "result"))["training"], event(events[-1]).result.training
    assert asdict(told) == sent
    assert (told.name, told.base_model, told.dataset) == ("tiny", None, "puzzles")


def test_a_result_of_a_server_without_training_records_can_be_read(events):
    sent = json.loads(text(events[-1], "result"))
    assert result_of({**sent, "training": None}).training is None
    del sent["training"]
    assert result_of(sent).training is None


def test_a_result_of_a_server_that_redoes_nothing_can_be_read(events):
    """Servers that ban terminators at once send no count of redone tokens."""
    sent = json.loads(text(events[-1], "result"))
    for part in (sent["usage"], *sent["rounds"]):
        del part["num_redone"]
    result = result_of(sent)
    assert [result.usage.num_redone, *(entry.num_redone for entry in result.rounds)] == [0] * 4


def test_the_fake_server_sends_the_same_keys(events):
    sent = json.loads(text(events[-1], "result"))
    sample = Sample(
        request_id="r", index=0, script=Script(), options={}, vocabulary=Vocabulary(), num_prompt_tokens=1, pause=lambda _: None
    )
    fake = result_json(list(sample.events())[-1].result, 0)
    for name in ("finish_reason", "usage", "effective"):
        assert list(map(set, (sent[name], fake[name]))) == [set(sent[name])] * 2
    assert (set(fake), set(fake["rounds"][0])) == (set(sent), set(sent["rounds"][0]))


def test_the_client_knows_every_key_of_an_error(responses, engine, tokenizer):
    engine.enqueue(tokenizer.encode(" one"))
    engine.fail_with = EngineFailed("it broke")
    (*_, last) = responses(max_thinking_tokens=[[40]])
    sent = json.loads(str(last.error).partition("\n")[2])
    failed = from_message(str(last.error))
    assert isinstance(failed, s1_client.EngineFailed)
    assert {name: getattr(failed, name) for name in sent} == sent
    assert [(set(entry), set(entry["usage"])) for entry in failed.so_far] == [({"index", "num_rounds", "usage"}, names(s1_client.Usage))]

# SPDX-License-Identifier: Apache-2.0
"""``s1`` over HTTP, as curl asks it."""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

BODY = {"text_input": "How many r in raspberry", "max_thinking_tokens": 40, "max_tokens": 8}


@pytest.fixture
def post(triton):
    def send(path, body):
        request = urllib.request.Request(f"{triton.http_url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.headers["Content-Type"], response.read().decode()

    return send


def test_generate_answers_with_one_json_object(post):
    kind, text = post("/v2/models/s1/generate", BODY)
    reply = json.loads(text)
    assert kind.startswith("application/json")
    assert reply["text_output"].strip() == "Final Answer: 3"
    assert "Wait" in reply["thinking_output"]
    result = json.loads(reply["result"])
    assert reply["event"] == "done"
    assert result["usage"]["num_thinking_tokens"] <= 40


def test_generate_stream_sends_server_sent_events(post):
    kind, text = post("/v2/models/s1/generate_stream", {**BODY, "stream": True})
    assert kind.startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    assert [event["event"] for event in events].count("done") == 1
    assert events[-1]["event"] == "done"
    assert "".join(event["text_output"] for event in events).strip() == "Final Answer: 3"


def test_several_samples_are_lists_in_one_object(post):
    body = {**BODY, "num_samples": 3, "temperature": 1.0, "seed": 3, "max_thinking_tokens": 10}
    reply = json.loads(post("/v2/models/s1/generate", body)[1])
    assert reply["index"] == [0, 1, 2]
    assert [text.strip().startswith("Final Answer:") for text in reply["text_output"]] == [True] * 3
    assert sum(json.loads(result)["usage"]["num_output_ids"] for result in reply["result"]) == len(reply["output_ids"])


def test_answer_now_is_a_request_with_the_same_id(post):
    with ThreadPoolExecutor(1) as pool:
        body = {"id": "over http", "text_input": "Tell me a long story.", "min_thinking_tokens": 1500, "max_tokens": 4}
        running = pool.submit(post, "/v2/models/s1/generate", body)
        while True:
            try:
                told = json.loads(post("/v2/models/s1/generate", {"id": "over http", "answer_now": True})[1])
                break
            except urllib.error.HTTPError as not_yet:
                not_yet.close()
        reply = json.loads(running.result()[1])
    assert json.loads(told["result"]) == {"request_id": "over http", "num_requests": 1}
    assert json.loads(reply["result"])["finish_reason"]["thinking"] == "answer_now"


def test_the_stock_models_field_names_work_unchanged(post):
    """As in NVIDIA's documentation of the BLS model: empty word lists mean none."""
    body = {"text_input": "What is machine learning?", "max_tokens": 4, "bad_words": "", "stop_words": "", "max_thinking_tokens": 0}
    assert json.loads(post("/v2/models/s1/generate", body)[1])["text_output"]


def test_a_bad_value_is_status_400_with_the_sentence(post):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post("/v2/models/s1/generate", {**BODY, "top_p": 7})
    assert refused.value.code == 400
    assert "field 'top_p': got 7.0, allowed: 0 < top_p <= 1" in json.loads(refused.value.read())["error"]
    refused.value.close()


def refusal(post, path, body):
    """The status and the sentence."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(path, body)
    with refused.value:
        return refused.value.code, json.loads(refused.value.read().decode().removeprefix("data: "))["error"]


@pytest.mark.parametrize(
    ("extra", "name", "value", "meant"),
    [
        ({"temprature": 0.5}, "temprature", "0.5", "; did you mean temperature?"),
        ({"max_thinking_token": 7}, "max_thinking_token", "7", "; did you mean max_thinking_tokens?"),
        ({"parameters": {"temperatur": 1}}, "temperatur", "1", "; did you mean temperature?"),
        ({"thinking_budget": "high"}, "thinking_budget", '"high"', "; did you mean max_thinking_tokens?"),
        ({"n": 2}, "n", "2", "; did you mean num_samples?"),
        ({"timeout": 1000}, "timeout", "1000", "; did you mean timeout_ms?"),
        ({"beam_width": 4}, "beam_width", "4", ""),
    ],
)
@pytest.mark.parametrize("path", ["generate", "generate_stream"])
def test_a_key_that_is_no_field_is_refused_by_name(post, path, extra, name, value, meant):
    sentence = f"INVALID_ARGUMENT: field '{name}': got {value}, allowed: the name of an existing field{meant}"
    assert refusal(post, f"/v2/models/s1/{path}", {**BODY, **extra, "id": "mine"}) == (400, sentence)


def test_the_request_id_is_no_unknown_key(post):
    assert json.loads(json.loads(post("/v2/models/s1/generate", {**BODY, "id": "mine"})[1])["result"])["request_id"] == "mine"


def test_what_triton_answers_or_casts_by_itself_is_what_the_readme_says(post):
    """It casts numbers beyond a field's range without a word, and answers JSON of another type with status 500."""
    seen = json.loads(post("/v2/models/s1/generate", {**BODY, "max_tokens": 4294967301})[1])
    assert json.loads(seen["result"])["effective"]["max_tokens"] == 5
    assert refusal(post, "/v2/models/s1/generate", {**BODY, "max_tokens": "5"})[0] == 500
    assert refusal(post, "/v2/models/s1/generate", {"messages": [{"role": "user", "content": "hi"}]})[0] == 500
    _, text = post("/v2/models/s1/generate", {**BODY, "stream": True})
    assert json.loads(text)["error"].startswith("generate expects model to produce exactly 1 response")


def test_an_engine_that_is_not_loaded_says_so(post):
    """Triton 24.10 makes every error of a generate request a 400; the sentence tells the kind."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        post("/v2/models/s1_lost/generate", BODY)
    assert refused.value.code in (400, 503)
    assert json.loads(refused.value.read())["error"].startswith("ENGINE_UNAVAILABLE: engine model 'tensorrt_llm' is not loaded")
    refused.value.close()

# SPDX-License-Identifier: Apache-2.0
"""openai-python, unchanged, in an environment of its own: what it sends is taken, and its own types take what it gets."""

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

from s1_client import DeadlineExceeded, EngineFailed, Overloaded

PROGRAM = Path(__file__).with_name("openai_program.py")


class Watch:
    """Notes how many requests with a prompt ran at the same time."""

    def __init__(self, server, question):
        self._server, self._question = server, question
        self.most, self._is_over = 0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._is_over.is_set():
            self.most = max(self.most, sum(request.end is None for request in of(self._server, self._question)))
            time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()


def of(server, question):
    return [request for request in list(server.requests) if request.prompt == [{"role": "user", "content": question}]]


@pytest.fixture(scope="module")
def seen(root, gateway, server):
    """What the program saw, and the most runs of the question that it gave up."""
    python = root / ".s1" / "openai" / "bin" / "python"
    if not python.exists():
        pytest.skip("python3 build/local.py test makes the environment of openai-python")
    server.says(to="engine failed", error=EngineFailed("out of blocks"))
    server.says(to="overloaded", error=Overloaded("full", retry_after_s=0.1))
    server.says(to="late", error=DeadlineExceeded("over"))
    server.says(to="breaks", thinking="one two", error=EngineFailed("out of blocks"), error_after=2)
    server.says(to="endless", thinking="one " * 1000, token_delay_s=0.05)
    server.will_say(error=Overloaded("full", retry_after_s=0.1))
    with Watch(server, "endless") as watch:
        done = subprocess.run([python, PROGRAM, f"{gateway.url}/v1"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "most_endless": watch.most}


def test_a_second_try_after_overloaded_succeeds(seen):
    assert seen["overloaded_once"] == "so."


def test_errors_are_its_own_classes_with_param_and_code(seen):
    assert seen["errors"] == {
        "refused": ["BadRequestError", 400, "num_ignor", "unknown_field", "invalid_request_error"],
        "failed": ["InternalServerError", 500, None, "engine_failed", "server_error"],
        "overloaded": ["RateLimitError", 429, None, "overloaded", "rate_limit_error"],
        "late": ["APIStatusError", 408, None, "deadline", "timeout"],
    }


@pytest.mark.parametrize(("question", "number"), [("engine failed", 1), ("late", 1), ("overloaded", 3)])
def test_it_retries_only_what_is_worth_it(seen, server, question, number):
    assert seen["errors"]
    assert len(of(server, question)) == number


def test_a_reply_and_a_stream_are_the_same(seen):
    thought = "I thinkWaitI thinkWaitI think"
    assert seen["whole"][:2] == seen["streamed"][:2] == [thought, "so."]
    assert seen["whole"][2] == seen["streamed"][2]
    assert seen["in_asyncio"] == "so."
    assert seen["completion"] == ["so.", "so."]
    assert seen["models"] == ["s1"]


def test_a_stream_that_breaks_raises(seen):
    assert seen["failed_stream"] == ["one two", "APIError", "engine_failed"]


@pytest.mark.parametrize(
    ("name", "thought"),
    [("responses", "response.reasoning_text.delta"), ("summary", "response.reasoning_summary_text.delta")],
)
def test_every_event_of_a_response_is_of_its_types(seen, name, thought):
    """The program validates each of them."""
    assert seen[name]["text"] == seen[name]["streamed"]
    assert (seen[name]["kinds"][0], seen[name]["kinds"][-1]) == ("response.created", "response.completed")
    assert thought in seen[name]["kinds"]
    assert seen[name]["again"] == "completed"


def test_its_time_out_does_not_become_several_runs(seen, server):
    assert seen["timed_out"] == "APITimeoutError"
    assert [request.end for request in of(server, "endless")] == ["Cancelled", "Cancelled"]
    assert seen["most_endless"] == 1

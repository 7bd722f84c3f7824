# SPDX-License-Identifier: Apache-2.0
"""Clients and frameworks of others, unchanged, each in an environment of its own: each shows the thought, and shows it once."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from s1_client import EngineFailed, InvalidRequest

pytestmark = pytest.mark.xdist_group("clients")
HERE = Path(__file__).parent
THINKING = ("one two", " three", " four")
ONCE, TWICE = "one twoWait three", "one twoWait threeWait four"  # with one refused end, as the model has it, and with two
ANSWER = {"answer": "five"}


def prompts(server, last):
    """The prompts whose last message is that one."""
    found = [request.prompt for request in list(server.requests) if isinstance(request.prompt, list)]
    return [prompt for prompt in found if prompt[-1]["content"] == last]


def output_of(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def npm(root, gateway, server):
    """What openai for npm and Vercel's AI SDK showed."""
    if shutil.which("node") is None or not (root / ".s1/npm/installed").is_file():
        pytest.skip("python3 build/local.py test installs these clients where npm is")
    server.says(to="npm", thinking=THINKING, answer="five")
    server.says(to="npm engine failed", error=EngineFailed("out of blocks"))
    return output_of(["node", HERE / "npm_program.mjs", root / ".s1/npm", f"{gateway.url}/v1"])


@pytest.fixture(scope="module")
def tools(root, gateway, server):
    """What litellm, LangChain and openai-agents showed."""
    python = root / ".s1/tools/bin/python"
    if not python.exists():
        pytest.skip("python3 build/local.py test makes the environment of these tools")
    server.says(to="which tools", thinking=THINKING, answer="five")
    server.says(to="too long", error=InvalidRequest("messages", '"5000 tokens"', "at most 1524 tokens: the context holds 2048"))
    return output_of([python, HERE / "tools_program.py", f"{gateway.url}/v1"])


def test_openai_for_npm(npm, server):
    assert npm["openaiChat"] == {"thought": TWICE, "reasoning": 6, **ANSWER}
    assert npm["openaiResponses"] == {"text": "one two", "isComplete": True}
    assert npm["openaiErrors"] == {
        "refused": ["BadRequestError", 400, "num_ignor", "unknown_field"],
        "failed": ["InternalServerError", 500, None, "engine_failed"],
    }
    assert len(prompts(server, "npm engine failed")) == 1  # it was not tried again


def test_the_ai_sdk_with_a_compatible_provider_sends_the_thought_back(npm, server):
    assert npm["aiChat"] == {"thought": ONCE, "reasoning": 4, "again": "five", **ANSWER}
    (again,) = prompts(server, "npm again")
    assert [message["content"] for message in again] == ["npm", "five", "npm again"]


def test_the_ai_sdk_with_openais_provider_shows_the_summary(npm):
    assert npm["aiResponses"] == {"thought": ONCE, "streamed": ONCE, **ANSWER}


@pytest.mark.parametrize("name", ["litellm_openai", "litellm_vllm"])
def test_litellm_passes_our_fields_and_the_thought(tools, name):
    assert tools[name] == {"thought": TWICE, "streamed": TWICE, "reasoning": 6, **ANSWER}


def test_langchain_shows_the_thought_of_responses_and_of_its_deepseek_client(tools):
    assert tools["langchain_responses"] == {"thought": ONCE, "streamed": ONCE, **ANSWER}
    assert tools["langchain_deepseek"] == {"thought": TWICE, "streamed": TWICE, **ANSWER}
    assert tools["langchain_chat"] == {"reasoning": 4, **ANSWER}  # its client of the chat API drops every thought


def test_a_prompt_that_is_too_long_is_an_error_of_that_name(tools):
    assert tools["too_long"] == [True, True]


@pytest.mark.parametrize("name", ["agents_chat", "agents_responses"])
def test_openai_agents_passes_the_thought_on_once(tools, name):
    assert tools[name] == {"thoughts": [ONCE], **ANSWER}

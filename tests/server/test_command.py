# SPDX-License-Identifier: Apache-2.0
"""The command ``s1`` on a terminal, with a real server behind it."""

import re

import pytest

from client.cli.running import call
from client.cli.terminal import Terminal
from s1_client.cli import port
from server.waiting import wait_until

END = 2


@pytest.fixture
def asking(triton, scripts, a):
    """``s1 ask`` on a terminal, whose model thinks for long and then answers with so many tokens; and its script."""
    terminals = []

    def run(num_answered):
        script = scripts.write([a] * 5000, [*[a] * num_answered, END], delay_ms=5)
        arguments = ("ask", script.question, "--url", triton.grpc_url, "--model", "s1_scripted", "--max-thinking-tokens", "5000")
        terminals.append(Terminal(*arguments))
        terminals[-1].wait_for(lambda _: re.search(r"thinking \d+/5,000", terminals[-1].last_row()))
        return terminals[-1], script

    yield run
    for terminal in terminals:
        terminal.__exit__(None, None, None)


def test_the_readmes_question_is_answered_wrong_at_once_and_right_after_wait(triton):
    """With the default model: a thought that is checked once corrects what the first look overlooks."""
    question = ("ask", "How many r in raspberry", "--url", triton.grpc_url)
    at_once, checked = call(*question, "--max-thinking-tokens", "0"), call(*question)
    assert re.fullmatch(r"Final Answer: [12]", at_once.stdout.strip())
    assert "[Wait]" in checked.stderr
    assert checked.stdout.strip() == "Final Answer: 3"


def test_ctrl_c_once_makes_the_model_answer_now(asking):
    terminal, script = asking(num_answered=3)
    terminal.press_ctrl_c()
    assert terminal.wait_for_end() == 0
    text = terminal.text()
    assert "s1: answering now; press Ctrl-C again to cancel" in text
    assert "thinking cut: answer now" in text
    assert "(answer_now end)" in text and "answer 3 tokens (stop end)" in text
    wait_until(lambda: script.notes("stopped") or script.notes("cancelled"), seconds=5)


def test_ctrl_c_twice_ends_the_request_and_the_engines_call(asking):
    terminal, script = asking(num_answered=5000)
    terminal.press_ctrl_c()
    terminal.wait_for("thinking cut: answer now")
    terminal.press_ctrl_c()
    assert terminal.wait_for_end() == 130
    assert terminal.last_row() == "s1: the request was cancelled"
    wait_until(lambda: len(script.notes("stopped") + script.notes("cancelled")) == 2, seconds=5)


def test_tritons_other_ports_are_told_from_grpcs(triton):
    """A client that is given one of them sees a connection that closes, or nothing that it can read."""
    host, ports = triton.grpc_url.rpartition(":")[0], triton.ports
    assert port.listener(triton.grpc_url) == port.GRPC
    assert port.listener(f"{host}:{ports.metrics}") == port.METRICS
    http = f"{host}:{ports.http}"
    failed = call("ask", "hi", "--url", http, "--max-retries", "0", code=3)
    said, advice = failed.stderr.splitlines()
    assert said.startswith(f"s1: {http} closed the connection: it is not Triton's gRPC port")
    assert advice.startswith(f"    -> {http} is Triton's HTTP port; Triton's gRPC port is ")


def test_a_chat_goes_on_behind_an_empty_answer(triton, scripts, a):
    """The server refuses a message without text, so that such a turn must not be sent again."""
    empty, other = scripts.write([a, a, END], [END]), scripts.write([a, a, END], [a, END])
    arguments = ("chat", "--url", triton.grpc_url, "--model", "s1_scripted", "--answer-prefix-policy", "never", "--num-ignore", "0")
    done = call(*arguments, input=f"{empty.question}\n{other.question}\n")
    assert "the answer is empty" in done.stderr
    assert len(done.stdout.split()) == 1


def test_a_chat_with_a_model_that_is_not_there_does_not_begin(triton):
    assert "model 'nope' is not ready" in call("chat", "--url", triton.grpc_url, "--model", "nope", code=4, input="hi\n").stderr

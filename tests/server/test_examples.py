# SPDX-License-Identifier: Apache-2.0
"""The programs in client/examples, which the pages show, run against the real server; and outputs that the pages show."""

import contextlib
import io
import json
import re
import runpy
import shlex
import subprocess

import pytest
from click.testing import CliRunner

from contract import generated, picture
from s1_client.cli.app import s1

PROGRAMS = [
    "ask",
    "stream",
    "chat",
    "many",
    "batch",
    "async_many",
    "cancel",
    "answer_now",
    "errors",
    "rebase",
    "nvidia_client",
    "read_summary",
]


@pytest.fixture
def run(root, triton, monkeypatch):
    """Run an example program; its output."""
    monkeypatch.setenv("S1_URL", triton.grpc_url)

    def output(name):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(str(root / f"client/examples/{name}.py"), run_name="__main__")
        return printed.getvalue()

    return output


@pytest.fixture
def curl(triton):
    """Run an example of curl; its output."""

    def output(name):
        command = generated.program(f"client/examples/curl/{name}.sh").replace("localhost:8000", triton.http_url)
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip()

    return output


@pytest.fixture(scope="module")
def shown(root):
    """The output that a page shows under ``<!-- response of: NAME -->`` or ``<!-- output of: NAME -->``."""

    def find(page, name):
        found = re.search(rf"<!-- (?:response|output) of: {name} -->\n```\w+\n(.*?)```", (root / page).read_text(), re.S)
        return found.group(1).strip()

    return find


def test_every_program_is_run(root):
    """The other one is run by the tests of the client."""
    there = {path.stem for path in (root / "client/examples").glob("*.py")}
    assert there == {*PROGRAMS, "test_with_fake_server"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_and_prints(run, name):
    assert run(name).strip()


def test_the_first_program_prints_the_answer_and_then_a_stream(run):
    first, marker, answer = run("ask").rpartition("Final Answer:")  # of the stream, which comes last
    assert "Final Answer: 3" in first
    assert marker and answer.strip()


def test_nvidias_client_prints_the_reply_and_its_tokens(run):
    printed = run("nvidia_client")
    assert "Final Answer:" in printed
    assert int(printed.splitlines()[-1]) <= 40


def test_answer_now_prints_what_its_comment_says(run):
    assert run("answer_now") == "answer_now\n"


def test_a_cancelled_stream_has_what_had_arrived(run):
    assert re.match(r"False \['.+'\]", run("cancel"))


def test_each_error_is_told_apart(run):
    refused, late, answer = run("errors").strip().split("\n", 2)
    assert refused == "top_p: got 7.0, allowed: 0 < top_p <= 1"
    assert late.startswith("too slow; so far:")
    assert answer


def test_a_batch_prints_replies_as_json(run):
    assert all(json.loads(line)["result"]["usage"] for line in run("batch").splitlines())


def test_generate_answers_with_what_is_shown(curl, shown):
    """The same keys; the same thought (greedy, short); ids and results are shortened on the page."""
    reply, expected = json.loads(curl("generate")), json.loads(shown("docs/protocol.md", "generate"))
    assert list(expected) == sorted(reply)
    assert expected["thinking_output"].partition("Wait")[0] == reply["thinking_output"].partition("Wait")[0]


def test_generate_stream_sends_what_is_shown(curl, shown):
    events = [line for line in curl("generate_stream").splitlines() if line]
    for line in shown("docs/protocol.md", "generate_stream").splitlines()[:2]:
        assert line in events
    assert json.loads(events[-1].removeprefix("data: "))["event"] == "done"


@pytest.mark.parametrize("name", ["refused_value", "unknown_field", "cancel"])
def test_a_refusal_reads_as_shown(curl, shown, name):
    assert curl(name) == shown("docs/protocol.md", name)


def test_the_chat_by_curl_is_answered_and_found_by_its_id(root, triton, curl):
    """jq's program is its own; it makes the same message as our client."""
    code = generated.program("client/examples/curl/chat.sh").replace("localhost:8000", triton.http_url)
    made = re.search(r"\| \{messages: tojson, (.*)\}'", code).group(1)
    body = json.loads(re.sub(r"(\w+):", r'"\1":', f"{{{made}}}")) | {
        "messages": json.dumps([{"role": "user", "content": "What is 479 + 384?"}])
    }
    url = re.search(r"\S+/generate", code).group(0)
    done = subprocess.run(["curl", "-s", url, "-d", json.dumps(body)], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(json.loads(done.stdout)["result"])["request_id"] == "mine"
    assert "the id of a running request" in curl("cancel")
    assert "the id of a running request" in curl("answer_now")


def test_the_pictures_command_prints_what_the_picture_shows(root, triton):
    """The recorded run against the test server: the same shape of the last line, and the answer behind its prefix."""
    command = [".s1/env/bin/s1", *picture.COMMAND, "--url", triton.grpc_url]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)

    def account(text):
        return re.sub(r"\d+", "0", " ".join(text[text.rindex("\nthinking ") :].split()))

    assert account(done.stderr) == account(picture.text())
    assert "[Wait]" in done.stderr
    assert done.stdout.strip() == "Final Answer: 3"


def test_the_first_command_of_the_readme_is_answered(root, triton):
    text = (root / "README.md").read_text()
    question = re.search(r"python3 build/local.py ask (\".*?\")", text).group(1)
    command = [".s1/env/bin/s1", "ask", *shlex.split(question), "--url", triton.grpc_url]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    assert "[Wait]" in done.stderr
    assert done.stdout.strip() == "Final Answer: 3"


def test_the_doctor_finds_nothing_wrong(triton, shown):
    """With the real server, and in the lines that are shown."""
    done = CliRunner().invoke(s1, ["doctor", "--url", triton.grpc_url])
    expected = shown("docs/cli/doctor.md", "doctor").splitlines()
    assert [line.split()[:2] for line in done.output.splitlines()] == [line.split()[:2] for line in expected]
    assert done.exit_code == 0


def test_the_sweeps_table_looks_as_it_is_shown(root, triton, tmp_path):
    """Its figures are another day's."""
    expected = generated.sweep_output().splitlines()[1:]
    grid = ["--max-thinking-tokens", "0,8", "--num-ignore", "0", "--max-tokens", "8", "--out", str(tmp_path)]
    questions = str(root / "client/examples/arithmetic.jsonl")
    done = CliRunner().invoke(s1, ["sweep", "--file", questions, *grid, "--url", triton.grpc_url])
    assert done.exit_code == 0, done.output
    printed = done.stdout.splitlines()
    assert [line.split() for line in printed[:2]] == [line.split() for line in expected[:2]]
    assert [line.split()[:3] for line in printed[3:5]] == [["0", "0", "24"], ["8", "0", "24"]]
    assert (tmp_path / "sweep.png").stat().st_size


def test_the_list_of_models_says_what_they_are(triton):
    """Of a server that keeps its list to itself: the model of the requests and its engine."""
    done = CliRunner().invoke(s1, ["models", "--url", triton.grpc_url, "--json"])
    kinds = {model["name"]: model["kind"] for model in map(json.loads, done.output.splitlines())}
    assert kinds == {"s1": "budget forcing", "embedded_llm": "engine"}

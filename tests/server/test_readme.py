# SPDX-License-Identifier: Apache-2.0
"""The README's commands and snippets, run as they stand (with the test server's address)."""

import contextlib
import io
import json
import re
import shlex
import subprocess

import pytest
from click.testing import CliRunner

from s1_client.cli.app import s1


@pytest.fixture(scope="module")
def snippet(root, triton):
    """The code behind ``<!-- run: NAME -->``, and the output shown under it if there is any."""
    text = (root / "README.md").read_text()

    def find(name):
        code, rest = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```\n(.*)", text, re.S).groups()
        shown = re.match(r"\s*```(?:json|text)\n(.*?)```", rest, re.S)
        code = code.replace("127.0.0.1:8001", triton.grpc_url).replace("localhost:8000", triton.http_url)
        return code.strip(), shown and shown.group(1).strip()

    return find


@pytest.fixture(scope="module")
def curl(snippet):
    def run(name):
        command, shown = snippet(name)
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip(), shown

    return run


def test_the_python_snippet_runs(snippet):
    code, _ = snippet("python")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})
    _, marker, answer = printed.getvalue().rpartition("Final Answer:")  # of the stream, which comes last
    assert marker and answer.strip()


def test_nvidias_client_does_it_too(snippet):
    code, _ = snippet("tritonclient")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})
    assert "Final Answer:" in printed.getvalue()
    assert int(printed.getvalue().splitlines()[-1]) <= 40


@pytest.mark.parametrize("name", ["think", "stream", "map", "async", "rebase"])
def test_the_clients_snippets_run(root, triton, monkeypatch, name):
    monkeypatch.setenv("S1_URL", triton.grpc_url)
    (code,) = re.findall(rf"<!-- run: {name} -->\n```python\n(.*?)```", (root / "client/README.md").read_text(), re.S)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code.replace("127.0.0.1:8001", triton.grpc_url), "client/README.md", "exec"), {})
    assert printed.getvalue()


def test_the_doctor_finds_nothing_wrong(root, triton):
    """With the real server, and in the lines that are shown."""
    shown = re.search(r"<!-- output of: doctor -->\n```text\n(.*?)```", (root / "client/README.md").read_text(), re.S).group(1)
    done = CliRunner().invoke(s1, ["doctor", "--url", triton.grpc_url])
    assert [line.split()[:2] for line in done.output.splitlines()] == [line.split()[:2] for line in shown.splitlines()]
    assert done.exit_code == 0


def test_the_sweeps_table_looks_as_it_is_shown(root, triton, tmp_path):
    """Its figures are another day's."""
    shown = re.search(r"<!-- output of: sweep -->\n```text\n(.*?)```", (root / "client/README.md").read_text(), re.S).group(1)
    grid = ["--max-thinking-tokens", "0,8", "--num-ignore", "0", "--max-tokens", "8", "--out", str(tmp_path)]
    questions = str(root / "client/examples/arithmetic.jsonl")
    done = CliRunner().invoke(s1, ["sweep", "--file", questions, *grid, "--url", triton.grpc_url])
    assert done.exit_code == 0, done.output
    printed = done.stdout.splitlines()
    assert [line.split() for line in printed[:2]] == [line.split() for line in shown.splitlines()[:2]]
    assert [line.split()[:3] for line in printed[3:5]] == [["0", "0", "24"], ["8", "0", "24"]]
    assert (tmp_path / "sweep.png").stat().st_size


def test_the_list_of_models_says_what_they_are(triton):
    done = CliRunner().invoke(s1, ["models", "--url", triton.grpc_url, "--json"])
    kinds = {model["name"]: model["kind"] for model in map(json.loads, done.output.splitlines())}
    assert (kinds["s1"], kinds["s1_scripted"], kinds["embedded_llm"]) == ("budget forcing", "budget forcing", "engine")


def test_the_answer_now_snippet_prints_what_its_comment_says(snippet):
    code, _ = snippet("answer_now")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == "answer_now\n"


def test_generate_answers_with_what_is_shown(curl):
    """The same keys; the same thought (greedy, short); ids and results are shortened in the README."""
    output, shown = curl("generate")
    reply = json.loads(output)
    assert list(json.loads(shown)) == sorted(reply)
    assert json.loads(shown)["thinking_output"].partition("Wait")[0] == reply["thinking_output"].partition("Wait")[0]


def test_generate_stream_sends_what_is_shown(curl):
    output, shown = curl("generate_stream")
    events = [line for line in output.splitlines() if line]
    for line in shown.splitlines()[:2]:
        assert line in events
    assert json.loads(events[-1].removeprefix("data: "))["event"] == "done"


@pytest.mark.parametrize("name", ["refused", "unknown"])
def test_a_refusal_reads_as_shown(curl, name):
    output, shown = curl(name)
    assert output == shown


def test_the_chat_by_curl_is_answered_and_found_by_its_id(snippet, curl):
    """jq's program is its own; what it makes is what our client sends."""
    code, _ = snippet("messages")
    made = re.search(r"\| \{messages: tojson, (.*)\}'", code).group(1)
    body = json.loads(re.sub(r"(\w+):", r'"\1":', f"{{{made}}}")) | {
        "messages": json.dumps([{"role": "user", "content": "What is 17 * 23?"}])
    }
    url = re.search(r"\S+/generate", code).group(0)
    done = subprocess.run(["curl", "-s", url, "-d", json.dumps(body)], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(json.loads(done.stdout)["result"])["request_id"] == "mine"
    assert "that of a running request" in curl("cancel")[0]


def test_the_first_command_prints_what_is_shown(root, triton):
    """``s1 ask`` against the test server: the same shape, line by line."""
    shown = re.search(r"<!-- output of: ask .*? -->\n```text\n(.*?)```", (root / "README.md").read_text(), re.S).group(1)
    command = [".s1/env/bin/s1", "ask", "How many r in raspberry", "--url", triton.grpc_url]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)

    def shape(text):
        return re.sub(r"\d+", "0", text.strip().splitlines()[-1])

    assert shape(done.stderr) == shape(shown)
    assert "[Wait]" in done.stderr
    assert done.stdout.startswith("Final Answer:")

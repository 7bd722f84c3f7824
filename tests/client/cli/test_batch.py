# SPDX-License-Identifier: Apache-2.0
"""``s1 batch``: every line asked once, whatever happens in between."""

import io
import json
import re
import signal
from pathlib import Path

import pytest
from rich.console import Console

from client.cli.running import by_id, call, entries, start, write_lines
from s1_client import ConnectionFailed, EngineFailed, Outcome, Overloaded, Request, ServerNotReady, Stream
from s1_client.cli.progress import TerminalProgress
from s1_client.runs import MAX_UNREACHED, Refused, Tally, duration, entries_in
from s1_client.testing import FakeServer
from server.waiting import wait_until


@pytest.fixture
def server():
    with FakeServer() as server:
        server.says(thinking=" it is so", answer=" 3")
        yield server


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    write_lines(path, *({"id": f"q{number}", "prompt": f"question {number}."} for number in range(12)))
    return path


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def batch(server, source, target):
    """Run it over these files."""

    def run(*arguments, **rest):
        return call("batch", source, target, "--url", server.url, "--max-retries", 0, *arguments, **rest)

    return run


def num_asked(server, prompt):
    return sum(asked.prompt == prompt for asked in server.requests)


# --- what comes out -------------------------------------------------------------------------------


def test_a_line_of_results_has_the_whole_reply(batch, source, target):
    write_lines(source, {"prompt": "why", "meta": {"from": "here"}, "max_thinking_tokens": 2})
    batch("--num-ignore", 3)
    (entry,) = entries(target)
    assert set(entry) == {"id", "line", "request", "meta", "reply"}
    assert (entry["line"], entry["meta"]) == (1, {"from": "here"})
    assert (entry["reply"]["thinking"], entry["reply"]["answer"]) == (" it is", "Final Answer: 3")
    result = entry["reply"]["result"]
    assert (result["thinking_end"], result["answer_end"]) == ("budget", "stop")
    assert result["usage"]["num_thinking_tokens"] == 2
    assert [one["phase"] for one in result["rounds"]] == ["thinking", "answer"]
    assert (result["effective"]["num_ignore"], result["total_ms"]) == (3, 1.0)


def test_a_line_that_failed_has_the_error_and_what_had_come(batch, server, source, target):
    write_lines(source, "why")
    server.says(thinking=" it is so", error=EngineFailed("out of blocks"), error_after=2)
    batch(code=1)
    (entry,) = entries(target)
    assert set(entry) == {"id", "line", "request", "error", "partial", "so_far"}
    assert (entry["error"]["error"], entry["error"]["message"]) == ("EngineFailed", "out of blocks")
    assert entry["partial"] == [{"thinking": " it is", "answer": "", "index": 0}]


def test_all_samples_of_a_request_are_in_its_line(batch, source, target):
    write_lines(source, {"prompt": "why", "num_samples": 3, "temperature": 1})
    batch()
    (entry,) = entries(target)
    assert [entry["reply"]["index"], *(reply["index"] for reply in entry["other_replies"])] == [0, 1, 2]


def test_options_given_are_defaults_for_lines_without_them(batch, server, source):
    chat = [{"role": "user", "content": "how"}]
    write_lines(source, {"prompt": "why", "num_ignore": 0}, {"messages": chat}, {"prompt": "who", "num_ignore": None})
    batch("--num-ignore", 2, "--temperature", 0.5)
    asked = {str(one.prompt): one.options for one in server.requests}
    assert [asked[prompt].get("num_ignore") for prompt in ("why", str(chat), "who")] == [0, 2, None]
    assert {one["temperature"] for one in asked.values()} == {0.5}


def test_it_reads_stdin(batch, target, server):
    call("batch", "-", target, "--url", server.url, input='"why"\n"how"\n')
    assert sorted(asked.prompt for asked in server.requests) == ["how", "why"]


def test_many_run_at_once_and_results_come_as_they_end(server, source, target):
    """The first request ends last, and is the last in the file."""
    server.says(to="question 0.", thinking=" and so on" * 1000, token_delay_s=0.01)
    with start("batch", source, target, "--url", server.url, "--concurrency", 3) as process:
        wait_until(lambda: target.exists() and len(entries(target)) == 11, seconds=30)
        process.send_signal(signal.SIGINT)
    assert "q0" not in by_id(target)


def test_not_more_run_at_once_than_allowed(batch, monkeypatch):
    running, most, replies = set(), [], Stream.replies

    def counting(stream):
        running.add(stream)
        most.append(len(running))
        try:
            return replies(stream)
        finally:
            running.remove(stream)

    monkeypatch.setattr(Stream, "replies", counting)
    batch("--concurrency", 2)
    assert len(most) == 12 and max(most) <= 2


# --- going on -------------------------------------------------------------------------------------


def test_what_has_a_reply_is_not_asked_again(batch, server, target):
    batch()
    before = target.read_bytes()
    result = batch()
    assert len(server.requests) == 12
    assert target.read_bytes() == before
    assert "0 done, 12 skipped (already there), 0 failed" in result.stderr


def test_lines_may_be_moved_and_added(batch, server, source, target):
    """Their derived ids are by what they ask."""
    lines = [f"question {number}." for number in range(5)] + ["question 0."]
    write_lines(source, *lines)
    batch()
    write_lines(source, "new", *reversed(lines), {"prompt": "newer", "seed": 1})
    batch()
    assert len(server.requests) == len(by_id(target)) == 8


def test_what_failed_is_asked_again_and_has_one_line(batch, server, target):
    server.says(to="question 1", error=Overloaded("too many"))  # 1, 10 and 11
    result = batch(code=1)
    assert "9 done, 0 skipped (already there), 3 failed (Overloaded 3)" in result.stderr
    assert sum("error" in entry for entry in by_id(target).values()) == 3
    server.says(to="question 1", answer=" 4")
    assert "3 done, 9 skipped" in batch().stderr
    assert len(by_id(target)) == 12
    assert not any("error" in entry for entry in entries(target))
    assert num_asked(server, "question 10.") == 2
    assert num_asked(server, "question 2.") == 1


def test_what_failed_and_is_not_in_the_file_any_more_stays(batch, server, source, target):
    server.says(to="question 1.", error=Overloaded("too many"))
    server.says(to="question 2.", error=Overloaded("too many"))
    batch(code=1)
    write_lines(source, {"id": "q2", "prompt": "question 2."})
    batch(code=1)
    assert {entry["id"] for entry in entries(target) if "error" in entry} == {"q1", "q2"}
    assert len(by_id(target)) == 12


def test_a_request_that_failed_may_be_mended(batch, server, source, target):
    """Only a reply binds its id to what was asked."""
    write_lines(source, {"id": "q", "prompt": "why", "top_p": 7})
    server.says(error=EngineFailed("no"))
    batch(code=1)
    server.says()
    write_lines(source, {"id": "q", "prompt": "why", "top_p": 0.7})
    batch()
    assert "reply" in by_id(target)["q"]


@pytest.mark.parametrize("cut", [1, 40, "newline"])
def test_a_torn_last_line_is_asked_again(batch, server, target, cut):
    batch()
    whole = target.read_bytes()
    *lines, last = whole.splitlines(keepends=True)
    target.write_bytes(whole.removesuffix(b"\n") if cut == "newline" else b"".join(lines) + last[:cut])
    result = batch()
    assert len(server.requests) == (12 if cut == "newline" else 13)
    assert ("incomplete" in result.stderr) == (cut != "newline")
    assert len(by_id(target)) == 12
    assert target.read_bytes().endswith(b"}\n")


def test_a_run_that_is_killed_while_it_tidies_up_loses_nothing(batch, server, target, monkeypatch):
    """Lines go away by writing a new file beside the old one, which stays until then."""

    def killed(self, there):
        raise KeyboardInterrupt

    batch()
    with target.open("a") as file:
        file.write('{"torn')
    before = target.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        batch(code=130)
    assert target.read_bytes() == before
    batch()
    assert len(by_id(target)) == len(server.requests) == 12
    assert list(target.parent.glob("*.new")) == []


def test_an_id_that_is_there_twice_is_there_once_afterwards(batch, source, target):
    """Files that were put together by hand."""
    batch()
    target.write_bytes(target.read_bytes() * 2)
    batch()
    assert len(by_id(target)) == 12


def test_a_run_that_is_killed_is_gone_on_with(server, source, target):
    """Killed again and again: every id is there once, and what had a reply was not asked again."""
    write_lines(source, *({"id": number, "prompt": f"question {number}."} for number in range(60)))
    server.says(thinking=" it is so", answer=" 3", token_delay_s=0.005)
    command = ("batch", source, target, "--url", server.url, "--concurrency", 4)
    times_asked = {}
    for few in (5, 20, 35):
        with start(*command) as process:
            wait_until(lambda few=few: target.exists() and target.read_bytes().count(b"\n") >= few, seconds=30)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        replied = [json.loads(line)["id"] for line in target.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        for number in replied:
            times_asked.setdefault(number, num_asked(server, f"question {number}."))
    call(*command)
    assert sorted(by_id(target)) == list(range(60))
    assert len(times_asked) >= 35
    assert times_asked == {number: num_asked(server, f"question {number}.") for number in times_asked}


def test_ctrl_c_stops_cancels_and_says_how_to_go_on(server, source, target):
    server.says(to="question 3", thinking=" and so on" * 1000, token_delay_s=0.01)
    with start("batch", source, target, "--url", server.url) as process:
        wait_until(lambda: target.exists() and len(entries(target)) == 11, seconds=30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "11 done, 0 skipped (already there), 0 failed, 1 not ended" in err
    assert "the same command continues" in err
    assert err.splitlines()[-1] == "s1: interrupted"
    wait_until(lambda: all(asked.end for asked in server.requests), seconds=5)
    assert {asked.prompt: asked.end for asked in server.requests}["question 3."] == "Cancelled"
    server.says(to="question 3")
    call("batch", source, target, "--url", server.url)
    assert len(by_id(target)) == 12 and len(server.requests) == 13


# --- what is refused ------------------------------------------------------------------------------


def test_bad_lines_are_told_and_the_others_are_asked(batch, source, target):
    source.write_text('"why"\nnope\n\n{"prompt": "a", "max_token": 3}\n{"id": 1, "prompt": "b"}\n{"id": 1, "prompt": "c"}\n')
    result = batch(code=2)
    told = [line.removeprefix(f"{source}:") for line in result.stderr.splitlines() if line.startswith(str(source))]
    assert [line.partition(",")[0][:40] for line in told] == [
        "2: not JSON: Expecting value at column 1",
        "4: unknown key 'max_token'",
        "6: duplicate id 1",
    ]
    assert "3 bad lines" in result.stderr
    assert [entry["line"] for entry in sorted(entries(target), key=lambda entry: entry["line"])] == [1, 5]


def test_a_json_array_is_asked_like_lines(batch, source, target):
    source.write_text(json.dumps(["why", {"prompt": "how", "expected": 1, "grading": "integer", "meta": "kept"}], indent=1))
    batch()
    assert sorted((entry["line"], entry.get("meta")) for entry in entries(target)) == [(2, None), (3, "kept")]


def test_another_format_is_refused_in_one_sentence(batch, source, server):
    source.write_text("prompt,expected\nWhat is 1 + 1?,2\n")
    told = batch(code=2).stderr
    assert f"{source}:1: not JSON Lines, and nothing below was read; JSON Lines has an object on each line" in told
    assert server.requests == []


@pytest.mark.parametrize("change", ["default", "prompt", "option", "model"])
def test_a_reply_to_another_request_is_not_taken_for_this_ones(batch, server, source, target, change):
    write_lines(source, "first", {"id": "q", "prompt": "why", "seed": 1})
    batch("--num-ignore", 1)
    before = target.read_bytes()
    other = {"prompt": "how", "option": "why", "default": "why", "model": "why"}[change]
    write_lines(source, {"id": "q", "prompt": other, "seed": 2 if change == "option" else 1})
    arguments = ["--num-ignore", 2 if change == "default" else 1, "--model", "other" if change == "model" else "s1"]
    said = batch(*arguments, code=2).stderr
    assert f"{source}:1: id 'q' is in {target} already" in said
    assert "give another file, or --overwrite" in said
    assert target.read_bytes() == before
    assert len(server.requests) == 2


def test_overwrite_begins_anew(batch, server, source, target):
    batch()
    write_lines(source, "other")
    batch("--overwrite")
    assert [entry["line"] for entry in entries(target)] == [1]


def test_overwrite_takes_a_file_that_is_none_of_results(batch, target):
    target.write_text("something else\n")
    batch("--overwrite")
    assert len(by_id(target)) == 12


def test_a_refused_command_line_does_not_touch_what_is_there(batch, target):
    target.write_text("something else\n")
    batch("--overwrite", "--max-tokens", 2**40, code=2)
    assert target.read_text() == "something else\n"


@pytest.mark.parametrize("line", ["something else", "[]", '{"id": "q", "reply": {}, "error": {}}', '{"reply": {}}'])
def test_a_file_that_is_none_of_results_is_refused(batch, target, line):
    target.write_text(f"{line}\n")
    assert f"{target}:1: not a line of results" in batch(code=2).stderr
    assert target.read_text() == f"{line}\n"


def test_blank_lines_and_the_ends_of_another_system_are_taken_in_results(batch, server, target):
    batch()
    whole = target.read_bytes()
    target.write_bytes(b"\xef\xbb\xbf" + whole.replace(b"\n", b"\r\n\r\n"))
    server.requests.clear()
    batch()
    assert server.requests == [] and target.read_bytes() == whole


def test_a_whole_last_line_is_a_result_without_its_end_and_a_torn_one_is_none(tmp_path):
    """What a new run takes for done is shown, too."""
    path = tmp_path / "out.jsonl"
    path.write_text('{"id": "a", "reply": {}}\n{"id": "b", "reply": {}}')
    assert [entry["id"] for entry in entries_in(path)] == ["a", "b"]
    path.write_text('{"id": "a", "reply": {}}\n{"id": "b", "rep')
    assert [entry["id"] for entry in entries_in(path)] == ["a"]
    path.write_text('{"id": "a", "reply": {}}\n{"id": "b", "rep\n')
    with pytest.raises(Refused, match=":2: not a line of results"):
        list(entries_in(path))


def test_two_runs_do_not_write_one_file(server, source, target):
    """Not even when the first has put another file in its place meanwhile."""
    target.write_text('{"torn')
    server.says(thinking=" and so on" * 1000, token_delay_s=0.01)
    with start("batch", source, target, "--url", server.url) as process:
        wait_until(lambda: len(server.requests) == 12, seconds=30)
        assert "another run is writing it" in call("batch", source, target, "--url", server.url, code=2).stderr
        process.send_signal(signal.SIGINT)
    server.says()
    call("batch", source, target, "--url", server.url)
    assert len(by_id(target)) == 12


def test_a_link_stays_a_link(batch, server, target, tmp_path):
    real = tmp_path / "real.jsonl"
    real.write_text('{"torn')
    target.symlink_to(real)
    batch()
    assert target.is_symlink() and len(by_id(real)) == 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{source}", "-"], "OUT.jsonl: got -, allowed: a file"),
        (["{source}", "{source}"], "is both IN.jsonl and OUT.jsonl"),
        (["{source}", "/dev/null"], "not a file"),
        (["{source}", "no/such/folder"], "No such file"),
        (["nowhere.jsonl", "out"], "does not exist"),
        (["{source}", "{target}", "--concurrency", "0"], "x>=1"),
    ],
)
def test_files_that_cannot_be(source, target, arguments, said):
    assert said in call("batch", *(one.format(source=source, target=target) for one in arguments), code=2).stderr


def test_a_full_disk_stops_the_run(batch, monkeypatch, target):
    def full(self, outcome):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("s1_client.runs._results.Results.write", full)
    said = batch(code=1).stderr
    assert f"{target}: No space left on device" in said and "the same command continues" in said


# --- servers that are not there -------------------------------------------------------------------


@pytest.mark.parametrize(("error", "code"), [(ConnectionFailed("nobody"), 3), (ServerNotReady("no engine"), 4)])
def test_without_a_server_a_run_stops_soon(server, batch, source, target, error, code):
    write_lines(source, *map(str, range(150)))
    server.says(error=error)
    said = batch("--concurrency", 2, code=code).stderr
    assert f"{MAX_UNREACHED} failed" in said and "130 not ended" in said
    assert f"requests that have a reply in {target} are not sent again" in said
    assert "the same command continues" in said and str(error) in said
    server.says()
    assert "150 done, 0 skipped" in batch().stderr
    assert len(by_id(target)) == 150


def test_failures_that_come_with_successes_do_not_stop_it(server, batch, source):
    write_lines(source, *(f"{word} {number}" for number in range(40) for word in ("good", "bad", "bad")))
    server.says(to="bad", error=ConnectionFailed("nobody"))
    assert "40 done, 0 skipped (already there), 80 failed (ConnectionFailed 80)" in batch("--concurrency", 1, code=1).stderr


# --- what it tells meanwhile ----------------------------------------------------------------------


def outcome(reply=None, error=None):
    return Outcome(index=0, request=Request(prompt=""), replies=(reply,) if reply else (), error=error)


def test_progress_is_a_line_now_and_then(capsys):
    tally = Tally(num_to_do=8, num_done=1, num_thinking_tokens=300, num_answer_tokens=100)
    tally.add(outcome(error=Overloaded("x")))
    assert tally.progress(4.0) == "2 of 8 in 4.0 s, 1 failed, 100 tokens/s, 12.0 s left"
    with TerminalProgress(Console(file=io.StringIO()), period_s=0.001).show(tally):
        wait_until(lambda: "2 of 8 in" in capsys.readouterr().err, seconds=5)
    assert capsys.readouterr().err.splitlines()[-1].startswith("1 done, 0 skipped (already there), 1 failed (Overloaded 1), 6 not ended;")


def test_on_a_terminal_it_is_a_bar():
    screen = io.StringIO()
    tally = Tally(num_to_do=3, num_skipped=1)
    with TerminalProgress(Console(file=screen, force_terminal=True, width=100)).show(tally) as changed:
        tally.num_done = 2
        tally.failed["Overloaded"] = 1
        changed()
    drawn = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue())
    assert "4/4" in drawn and "1 failed" in drawn and "tokens/s" in drawn


def test_the_summary_says_where_tokens_went(batch):
    line = batch("--num-ignore", 0).stderr.splitlines()[-1]
    assert line.startswith("12 done, 0 skipped (already there), 0 failed; 36 thinking tokens, 12 answer tokens; ")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7380, "2 h 03 min")]
)
def test_durations_are_told_as_people_do(seconds, said):
    assert duration(seconds) == said


def test_nothing_goes_to_stdout(batch):
    assert batch().stdout == ""

# SPDX-License-Identifier: Apache-2.0
"""The benchmark of peers: equal work is given, and what was not equal is seen. Nothing is timed."""

import importlib.util
import io
import json
import sys
from types import SimpleNamespace

import library_loops
import peer_table
import peers
import pytest
from peer_work import Counts, FixedWork, Prompt, ReplayedWork, Round, count_calls
from scripted_pipeline import ScriptedPipeline

from budgetforce.engine.cpu.embedded import EmbeddedEngine
from budgetforce.engine.token_engine import ModelLimits, TokenCall

STOP = 9
PROMPTS = [Prompt("1", (1,) * 40), Prompt("2", (2,) * 41)]
ROUNDS = (Round(32, True, (7,)), Round(16))


@pytest.fixture
def fixed(root, monkeypatch):
    """FixedRounds with ends behind 4 ids, around an engine that counts from 5 up; and what it notes."""
    spec = importlib.util.spec_from_file_location("fixed_rounds", root / "tests/benchmarks/fixed_rounds/1/model.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fixed_rounds", module)
    spec.loader.exec_module(module)
    pipeline = ScriptedPipeline(lambda call: [i for i in range(5, 50) if (i,) not in call.sampling.bad_words])
    engine = EmbeddedEngine(lambda: pipeline, ModelLimits(vocab_size=100, max_seq_len=100))
    log = io.StringIO()
    return module.FixedRounds(engine, 4, log), log


@pytest.mark.parametrize(
    ("num_ids", "stop_words", "said"),
    [
        (20, ((STOP,), (8,)), [5, 6, 7, STOP]),  # a thought: ends where the benchmark wants, with a terminator
        (4, ((STOP,), (6,)), [5, 7, 8, 10]),  # an answer: runs to its length, never says a terminator
        (6, (), [5, 6, 7, 8, 9, 10]),  # a loop that asks for a length
    ],
)
def test_the_engine_ends_calls_where_the_benchmark_says(fixed, num_ids, stop_words, said):
    engine, log = fixed
    engine.submit(TokenCall(input_ids=(1, 2, 3), max_new_tokens=num_ids, stop_words=stop_words))
    progress = engine.step()
    while not progress[-1].finished:
        progress += engine.step()
    assert [i for one in progress for i in one.ids] == said
    assert json.loads(log.getvalue()) == {"num_prompt_ids": 3, "num_sampled": len(said), "num_reused_blocks": 0}


class Parrot:
    """A library that says 5s, and keeps the first ``num_kept`` ids of every context."""

    about = "parrot"

    def __init__(self, num_kept):
        self.seen, self._num_kept = [], num_kept

    def begin(self):
        self.seen.clear()

    def generate(self, contexts, num_ids):
        self.seen.append([list(ids) for ids in contexts])
        return [[5] * (num_ids - 1) + [STOP] for _ in contexts], self._num_kept * len(contexts)


@pytest.mark.parametrize(("num_kept", "num_recomputed"), [(0, 2 * 3 + 2 * 1), (3, 2)])
def test_a_librarys_loop_carries_ids_over_and_counts(num_kept, num_recomputed):
    """Prompts of 3 ids, of which 2 are said and 1 dropped, 2 put in: the next call's prompt has 6, of which 4 were there."""
    parrot = Parrot(num_kept)
    done = library_loops.run(parrot, [[1, 2, 3], [4, 5, 6]], [(2, True, [7, 7]), (1, False, [])])
    assert parrot.seen[1] == [[1, 2, 3, 5, 7, 7], [4, 5, 6, 5, 7, 7]]
    del done["wall_s"]
    assert done == {"num_sampled": 6, "num_injected": 4, "num_recomputed": num_recomputed}


def calls(*triples):
    return [dict(zip(("num_prompt_ids", "num_sampled", "num_reused_blocks"), one, strict=True)) for one in triples]


def test_an_engines_log_tells_what_a_batch_took():
    """31 of 32 sampled ids are kept, one is put in; 64 ids of one later prompt were found, of the other none."""
    noted = calls((41, 32, 0), (40, 32, 1), (72, 16, 2), (73, 16, 0))
    counts = count_calls(noted, PROMPTS, ROUNDS)
    assert counts == Counts(num_sampled=96, num_injected=2, num_recomputed=72 - 64 + 73 - 2)


def test_other_prompts_than_were_given_are_seen():
    with pytest.raises(ValueError, match=r"prompts of \[40, 41\] ids came as \[40, 40\]"):
        count_calls(calls((40, 32, 0), (40, 32, 0), (72, 16, 2), (72, 16, 2)), PROMPTS, ROUNDS)


@pytest.mark.parametrize(
    ("num_sampled", "num_injected", "is_equal"), [(0, 0, True), (0, -2, True), (1, 0, False), (0, 1, False), (0, -3, False)]
)
def test_unequal_work_is_refused(tokenizer, num_sampled, num_injected, is_equal):
    """The line break before an answer may be missing in each of the two replies."""
    work = FixedWork(tokenizer)
    wanted = [2 * sum(one.num_ids for one in work.rounds), 2 * sum(len(one.injected) for one in work.rounds)]
    counts = Counts(num_sampled=wanted[0] + num_sampled, num_injected=wanted[1] + num_injected)
    if is_equal:
        work.check(PROMPTS, counts)
    else:
        with pytest.raises(ValueError, match="not 224 ids sampled and 24 put in"):
            work.check(PROMPTS, counts)


def test_at_a_server_the_loop_repeats_the_calls_of_s1():
    """Lengths of prompts tell what was put in between."""
    work = ReplayedWork({})
    rounds = [
        SimpleNamespace(num_prompt_tokens=n, num_sampled_tokens=s, terminator_id=t) for n, s, t in [(30, 9, 2), (40, 5, None), (52, 3, 2)]
    ]
    work.note(PROMPTS[0], SimpleNamespace(rounds=rounds))
    first, calls = work.calls_of(PROMPTS[0])
    assert len(first) == 30
    assert [(one.num_ids, one.drops_last, len(one.injected)) for one in calls] == [(9, True, 2), (5, False, 7), (3, True, 0)]
    work.check(PROMPTS[:1], Counts(num_sampled=17, num_injected=9))
    with pytest.raises(ValueError, match="not 17 ids sampled, as by s1"):
        work.check(PROMPTS[:1], Counts(num_sampled=16, num_injected=9))


def test_ratios_are_those_of_one_turn():
    speeds = {(0, "s1"): 100, (0, "other"): 50, (1, "s1"): 10, (1, "other"): 20, (2, "s1"): 10, (2, "other"): 30}
    same = {"num_streams": 4, "request_s": 1, "first_token_ms": None, "num_recomputed": 3.0}
    cells = [{"turn": turn, "contestant": name, "tokens_per_s": speed, **same} for (turn, name), speed in speeds.items()]
    assert peer_table.line(4, "other", cells) == "| 4 | other | 1.00 | 30 | 20 to 50 | 2.00 | – | 3 |"


def test_what_is_told_above_the_table():
    where = {"num_cores": 4, "cpu": "X", "date": "2026-01-01", "triton": "2", "load_average_before": 1.5, "load_average_after": 2.0}
    shown = peer_table.report({"machine": where, "contestants": {"a": "one", "b": "two", "c": "one"}, "cells": []})
    assert shown.startswith("4 cores of an X, 2026-01-01, Triton 2, turns: 0, load average 1.5 before, 2.0 after.\n")
    assert "\n* one: a; c\n* two: b\n" in shown


def test_each_turn_begins_with_another_one_unless_the_first_is_repeated(tokenizer):
    names = ["a", "b", "c"]
    assert [peers.in_turn(names, turn, FixedWork(tokenizer))[0] for turn in range(4)] == ["a", "b", "c", "a"]
    assert peers.in_turn(names, 1, ReplayedWork({})) == names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--contestants", "s1;sglang"], "--contestants: got 'sglang', allowed: s1; client loop;"),
        (["--contestants", "vLLM"], "s1 must be one of them"),
        (["--contestants", "s1", "--engine-url", "a:1"], "--contestants: not with --engine-url"),
        (["--engine-model", "x"], "only with --engine-url"),
        (["--levels", "1,0"], "got '0', allowed: a whole number from 1"),
    ],
)
def test_an_option_that_cannot_be_is_refused(capsys, arguments, told):
    with pytest.raises(SystemExit):
        peers.parse(arguments)
    assert told in capsys.readouterr().err

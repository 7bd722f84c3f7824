# SPDX-License-Identifier: Apache-2.0
"""The curve of the model that comes with the server, measured again: its accuracy rises with the budget and with refused ends.

The margins are those measured over many held-out problems, less what chance can take from a sample of this size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from budgetforce.launcher.options import parse_options
from budgetforce.launcher.ports import choose_ports
from budgetforce.launcher.serving_env import serving_environment
from budgetforce.launcher.triton_server import TritonServer
from client.cli.running import call, entries
from s1_client.evaluation import Report, report_of

NUM_QUESTIONS, NUM_OF_SECOND_LIBRARY = 90, 30
NATURAL, ONE, TWO = "budget context", "budget context + 1 refused", "budget context + 2 refused"
PROTOCOL = ("--max-thinking-tokens", "0,16,64,-1", "--num-ignore", "0,1,2", "--ignore-at", "-1")


def evaluate(url: str, folder: Path, number: int, *protocol: Any) -> Report:
    call("eval", "puzzles", "--num-questions", number, *protocol, "--concurrency", 256, "--out", folder, "--url", url)
    return report_of((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def folder(triton: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation, whose questions all ran at once."""
    made = tmp_path_factory.mktemp("curve") / "openvino"
    evaluate(triton.grpc_url, made, NUM_QUESTIONS, *PROTOCOL)
    return made


@pytest.fixture(scope="module")
def accuracy(folder: Path) -> dict[str, float]:
    rows = report_of((folder / "summary.json").read_text()).rows
    assert {row.num_graded for row in rows} == {NUM_QUESTIONS} and {row.num_failed for row in rows} == {0}
    return {row.setting: 100 * row.accuracy.value for row in rows if row.accuracy}


def test_accuracy_rises_from_no_thinking_to_the_natural_end_and_on_with_refused_ends(accuracy: dict[str, float]) -> None:
    assert accuracy["budget 0"] <= accuracy[NATURAL] - 20
    assert accuracy["budget 16"] <= accuracy[NATURAL] - 10
    assert accuracy[ONE] >= accuracy[NATURAL] + 8
    assert accuracy[TWO] >= accuracy[NATURAL] + 8


def test_the_second_refused_end_loses_no_more_than_chance(folder: Path) -> None:
    comparisons = report_of((folder / "summary.json").read_text()).comparisons
    pair = next(pair for pair in comparisons if (pair.first, pair.second) == (ONE, TWO))
    assert pair.high >= 0


def test_the_answer_is_the_last_result_of_the_thinking(folder: Path) -> None:
    """Also with many replies at once, whose prompts begin alike and differ in their last tokens: no KV block is mixed up."""
    replies = [entry["reply"] for entry in entries(folder / "samples.jsonl") if entry["meta"]["setting"] in (NATURAL, ONE, TWO)]
    pairs = [(re.findall(r"-?\d+", reply["thinking"]), re.findall(r"-?\d+", reply["answer"])) for reply in replies]
    repeated = [thought[-1:] == answered[-1:] for thought, answered in pairs]
    assert sum(repeated) >= 0.97 * len(repeated)


def test_the_figure_shows_both_parts_of_the_curve(folder: Path) -> None:
    drawn = (folder / "curve.svg").read_text()
    assert all(words in drawn for words in ("without thinking: ", "natural end", "1 refused", "2 refused"))


@pytest.fixture(scope="module")
def llamacpp(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server whose engine computes with the other library."""
    pytest.importorskip("xllamacpp")
    ports = choose_ports(http=0, grpc=0, metrics=0)
    options = parse_options([f"--cache={root / '.s1/models'}", "--library=llamacpp"])
    with TritonServer(
        repositories=[root / "model_repository"],
        models=["s1", "embedded_llm"],
        ports=ports,
        log=tmp_path_factory.mktemp("log") / "triton.log",
        environment=serving_environment(options, ports.grpc, lambda _: None),
        deadline_s=120,
    ) as server:
        yield server


def test_both_libraries_have_the_same_accuracy(folder: Path, llamacpp: TritonServer, tmp_path: Path) -> None:
    """Question by question, within the intervals: the engine has no part in what the model knows."""
    other, out = tmp_path / "llamacpp", tmp_path / "comparison"
    evaluate(llamacpp.grpc_url, other, NUM_OF_SECOND_LIBRARY, "--max-thinking-tokens", "-1", "--num-ignore", "0,1")
    call("eval", "--show", folder, "--show", other, "--out", out)
    pairs = {pair["setting"]: pair["comparison"] for pair in json.loads((out / "comparison.json").read_text())["pairs"]}
    assert pairs.keys() == {NATURAL, ONE}
    assert all(pair["num_questions"] == NUM_OF_SECOND_LIBRARY and pair["low"] <= 0 <= pair["high"] for pair in pairs.values())

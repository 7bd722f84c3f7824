# SPDX-License-Identifier: Apache-2.0
"""The published set's files: the tables of the card sum up, and equal rows give equal files."""

import json
import random

import pyarrow.parquet as parquet
import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import decontaminate, published, select
from budgetforce.curating.card import CardSettings, write_set
from budgetforce.curating.card_text import card_text, table
from budgetforce.curating.contamination import TestSet
from budgetforce.curating.rows import Outcome
from budgetforce.curating.tiny_tokenizer import write_tokenizer
from budgetforce.curating.tokens import Tokens
from budgetforce.errors import ConfigError
from curating.sample_rows import history, publish, row, rows


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tokenizer(folder)
    return Tokens(folder)


LEAK = "one two three four five six seven eight nine"


def mixed():
    """60 rows of three sources and four domains, one contaminated and some too easy."""
    draw = random.Random(3)
    found = [
        row(
            f"r{index:02d}",
            source=draw.choice(["web", "book | two", "exam"]),
            licence=draw.choice(["MIT", "CC0-1.0"]),
            domain=draw.choice("abcd"),
            is_correct=draw.random() < 0.5,
            weak_correct={"7b": draw.random() < 0.3},
            num_thinking_tokens=draw.randrange(9, 900),
        )
        for index in range(59)
    ]
    return [*found, row("leak", source="web", question=LEAK, weak_correct={"7b": False})]


def stages():
    """The outcomes of decontaminate and select on the mixed rows."""
    given, draw = mixed(), random.Random(0)
    tests = [TestSet(name="AIME", questions={"3": LEAK}, origin="aime.jsonl")]
    clean = decontaminate.run(given, decontaminate.DecontaminateSettings(), draw, tests)
    chosen = select.run(clean.rows, select.SelectSettings(method="s1k-paper", target=25, weak_models=("7b",)), draw)
    return [("collect", 60, Outcome(rows=given)), ("decontaminate", 60, clean), ("select", 59, chosen)], chosen.rows


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """The folder of a set."""
    folder = tmp_path_factory.mktemp("made") / "set"
    before, chosen = stages()
    publish(folder, tiny, chosen, before=before)
    return folder


def tables(text):
    """The tables of a card by their section, without heads: lists of cells."""
    found = {}
    for section in text.split("\n## ")[1:]:
        lines = [line[1:-1].replace("\\|", "¦").split("|") for line in section.split("\n") if line.startswith("| ")]
        found[section.partition("\n")[0]] = [[cell.strip() for cell in line] for line in lines[2:]]
    return found


def numbers(lines, column):
    return [int(line[column].replace(",", "")) for line in lines]


def test_the_tables_of_sources_and_domains_sum_up(made):
    found = tables((made / "README.md").read_text())
    for name, columns in (("Sources", {3: 60, 4: 25}), ("Domains", {1: 25})):
        *lines, last = found[name]
        assert len(lines) >= 3
        for column, total in columns.items():
            assert sum(numbers(lines, column)) == total == numbers([last], column)[0]


def test_the_funnel_has_a_line_for_each_filter_and_every_line_sums_up(made):
    lines = tables((made / "README.md").read_text())["Selection"]
    names = ["collect", "decontaminate", "select: missing-feature", "select: bad-string", "select: too-easy", "select: s1k-paper", "render"]
    assert [line[0] for line in lines] == names
    rows_in, rows_out, left_out = (numbers(lines, column) for column in (1, 2, 3))
    assert [a - b for a, b in zip(rows_in, rows_out, strict=True)] == left_out
    assert rows_in[1:] == rows_out[:-1]
    assert lines[1][4] == "contaminated 1"


def test_the_report_of_contamination_names_source_set_and_example(made):
    lines = tables((made / "README.md").read_text())["Contamination"]
    assert ["web", "AIME", "1"] in [[*line[:2], line[3]] for line in lines]
    assert [line[4] for line in lines if line[4]] == ["`one two three four five six seven eight` in the question, AIME 3"]
    assert sum(numbers(lines, 2)) == 60


def test_a_set_without_test_sets_says_so(tiny, tmp_path):
    publish(tmp_path / "set", tiny, rows(3))
    assert "No test set was compared with these rows." in (tmp_path / "set" / "README.md").read_text()


def test_the_description_counts_the_rows_of_the_parquet_file(made, tiny):
    description = json.loads((made / "dataset.json").read_text())
    table = parquet.read_table(made / "data.parquet").to_pylist()
    labels = [label for one in table for label in one["labels"]]
    assert description["num_rows"] == len(table) == 25
    assert description["num_tokens"] == len(labels)
    assert description["num_loss_tokens"] == sum(label >= 0 for label in labels)
    assert description["max_tokens"] == max(len(one["input_ids"]) for one in table)
    assert description["tokenizer_sha256"] == tiny.sha256 == Tokens(made / "tokenizer").sha256
    assert description["sha256"] == published.file_sha256(made / "data.parquet")


def test_rows_come_back_as_they_were(made):
    _, chosen = stages()
    for before, after in zip(chosen, published.read_data(made / "data.parquet"), strict=True):
        assert {name: after[name] for name in before} == before


def test_equal_rows_give_equal_files(made, tiny, tmp_path):
    before, chosen = stages()
    publish(tmp_path / "set", tiny, chosen, before=before)
    names = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert {"data.parquet", "dataset.json", "README.md", "funnel.png", "domains.png", "lengths.png"} < {str(name) for name in names}
    assert [name for name in names if (made / name).read_bytes() != (tmp_path / "set" / name).read_bytes()] == []


@pytest.mark.parametrize(
    ("licences", "own", "whole"),
    [
        (["MIT"], "", "mit"),
        (["MIT", "CC0-1.0"], "", "other"),
        ([None], "", "other"),
        (["MIT"], "CC-BY-4.0", "cc-by-4.0"),
        (["free: ask us\n- first"], "", "other"),
    ],
)
def test_the_licence_of_the_whole_set(licences, own, whole):
    given = [row(str(number), licence=licence, input_ids=[1], labels=[1]) for number, licence in enumerate(licences)]
    text = card_text(given, "", "", own, history([]), {"num_tokens": 1, "num_loss_tokens": 1})
    assert f"\nlicense: {whole}\n" in text


def test_cells_cannot_break_a_table():
    assert table(("a", "b"), [("x|y", "1\n2")], align="lr").split("\n")[2] == "| x\\|y | 1 2 |"


def test_no_row_is_no_set(tmp_path, tiny):
    with pytest.raises(BuildFailed, match="no row is left"):
        write_set(tmp_path, [], CardSettings(), history([]), tiny.folder)


def test_a_field_of_a_wrong_type_is_named_by_its_row(tmp_path):
    given = [row("good", input_ids=[1], labels=[1]), row("bad", input_ids=[1], labels=[1], num_thinking_tokens="many")]
    with pytest.raises(BuildFailed, match="row bad"):
        published.write_data(tmp_path / "data.parquet", given)


@pytest.mark.parametrize(("field", "value"), [("title", "a\nb"), ("licence", "MIT or so")])
def test_a_bad_setting_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field}: got"):
        CardSettings(**{field: value})

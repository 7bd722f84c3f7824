# SPDX-License-Identifier: Apache-2.0
"""Domain, length of the thought and verdicts of weak models are found for each row, whatever the other rows are."""

import random

import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import features
from budgetforce.curating.answers import Answers
from budgetforce.curating.domain_model import DomainModel
from budgetforce.curating.domains import OTHER, code_in, domain_prompt, domains, nearest_domains
from budgetforce.curating.features import FeaturesSettings
from budgetforce.curating.rows import question_id
from budgetforce.curating.tiny_tokenizer import write_tokenizer
from budgetforce.curating.tokens import Tokens
from budgetforce.curating.weak import WeakColumn, WeakFile
from budgetforce.errors import ConfigError
from curating.fake_chat_api import FakeChatApi, completion
from curating.recipe_files import write_lines

QUESTIONS = {
    "Find the area of triangle ABC with sides 3, 4 and 5.": "plane-geometry",
    "A fair coin is tossed 5 times. What is the probability of 3 heads?": "probability",
    "What is the major product of the reaction of benzene with bromine?": "organic-chemistry",
    "A ball of mass 2 kg rolls down an inclined plane. Find its velocity.": "mechanics",
    "In how many ways can 8 people be seated around a table? Count the arrangements.": "combinatorics",
    "Qwx zzz?": OTHER,
}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return Tokens(folder)


def row(question, **more):
    return {"id": question_id(question), "question": question, "thinking": "So 4.", "metadata": {}, **more}


@pytest.fixture
def describe(tokens, tmp_path):
    def run(*rows, **settings):
        return features.run(rows, FeaturesSettings(**settings), tokens, Answers(folder=tmp_path / "answers"))

    return run


def test_domain_and_length_are_found(describe, tokens):
    rows = [row("a", metadata={"domain": "sums"}, columns={"x": 1}), row("b", thinking="Wait, So 4.")]
    outcome = describe(*rows)
    assert [(found["domain"], found["num_thinking_tokens"]) for found in outcome.rows] == [
        ("sums", tokens.count(["So 4."])[0]),
        (None, tokens.count(["Wait, So 4."])[0]),
    ]
    assert not any("columns" in found for found in outcome.rows)
    assert outcome.found["domains"] == {"None": 1, "sums": 1}


def test_a_published_column_can_give_the_domain(describe):
    assert describe(row("a", columns={"domain": "Geometry"}), domain_column="domain").rows[0]["domain"] == "Geometry"


def test_a_column_that_no_row_has_is_refused(describe):
    with pytest.raises(BuildFailed, match="features.domain_column: got 'domian', which no row has; allowed: domain"):
        describe(row("a", columns={"domain": "Geometry"}), domain_column="domian")
    with pytest.raises(BuildFailed, match="features.weak, column: got 'x', which no row has; allowed: none"):
        describe(row("a"), weak={"qwen": WeakColumn(kind="column", column="x")})


def test_tfidf_finds_the_obvious_domains_in_any_order():
    found = nearest_domains(list(QUESTIONS))
    assert found == list(QUESTIONS.values())
    turned = random.Random(1).sample(list(QUESTIONS), len(QUESTIONS))
    assert nearest_domains(turned) == [QUESTIONS[question] for question in turned]


def test_domains_have_codes_of_their_own():
    codes = [domain.code for domain in domains()]
    assert len(codes) == len(set(codes))
    assert OTHER not in codes
    assert all(f"{domain.code}: {domain.title}" in domain_prompt("2+2?") for domain in domains())


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("It has dice.\n\n**probability**\n", "probability"),
        ("probability", "probability"),
        ("probability\nbecause of the dice", None),
        ("60", None),
        ("other", None),
        ("", None),
    ],
)
def test_only_a_code_of_the_list_is_taken_from_a_reply(reply, code):
    assert code_in(reply) == code


def test_a_language_model_chooses_domains_and_is_asked_again_for_a_code(describe):
    with FakeChatApi() as api:
        replies = iter([completion("60: probability"), completion("Dice.\nprobability"), *[completion("?")] * 2, (200, b"garbage")])
        api.reply = lambda _: next(replies)
        model = DomainModel(model="m", url=api.url, concurrency=1, pause_s=0.0)
        for _ in range(2):  # the second run finds all replies kept
            outcome = describe(row("a"), row("b"), domain="llm", llm=model)
            assert [found["domain"] for found in outcome.rows] == ["probability", None]
        assert len(api.requests) == 5


@pytest.mark.parametrize("settings", [{"domain": "llm"}, {"domain": "tfidf", "domain_column": "x"}])
def test_settings_that_contradict_each_other_are_refused(settings):
    with pytest.raises(ConfigError, match="allowed: a "):
        FeaturesSettings(**settings)


def test_weak_models_verdicts_come_from_columns_and_files(describe, tmp_path):
    path = write_lines(tmp_path / "weak.jsonl", [{"question": "b", "is_correct": "No"}, {"id": question_id("a"), "is_correct": True}])
    weak = {"small": WeakColumn(kind="column", column="isqwen7bcorrect"), "large": WeakFile(kind="file", path=path)}
    outcome = describe(row("a", columns={"isqwen7bcorrect": False}), row("b"), row("c"), weak=weak)
    assert [found["weak_correct"] for found in outcome.rows] == [
        {"small": False, "large": True},
        {"small": None, "large": False},
        {"small": None, "large": None},
    ]
    assert outcome.found["weak_correct"] == {"small": 0, "large": 1}


def test_a_file_of_verdicts_that_is_no_utf8_is_named_with_its_line(describe, tmp_path):
    path = tmp_path / "weak.jsonl"
    path.write_bytes(b'{"question": "a", "is_correct": true}\n\xff\xfe\n')
    with pytest.raises(BuildFailed, match=r"weak.jsonl:2: 'utf-8' codec can't decode"):
        describe(row("a"), weak={"weak": WeakFile(kind="file", path=path)})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"is_correct": True}, "question: missing"),
        ({"question": "a"}, "is_correct: missing"),
        ({"question": "a", "is_correct": 3}, "is_correct: got 3, allowed"),
        ("no json", "not JSON"),
    ],
)
def test_a_broken_file_of_verdicts_is_named(describe, tmp_path, line, message):
    path = write_lines(tmp_path / "weak.jsonl", [{"question": "a", "is_correct": True}, line])
    with pytest.raises(BuildFailed, match=f"weak.jsonl(:| row )?.*2: .*{message}"):
        describe(row("a"), weak={"weak": WeakFile(kind="file", path=path)})

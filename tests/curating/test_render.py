# SPDX-License-Identifier: Apache-2.0
"""Text, ids and labels are the authors', id for id; nothing that would spoil the format gets through."""

import json
import random
from itertools import islice

import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import masking, render, rule_teacher, tiny_tokenizer
from budgetforce.curating.render import RenderSettings
from budgetforce.curating.tokens import Tokens
from budgetforce.errors import ConfigError
from curating import authors_collator
from curating.sample_rows import row, shuffled
from s1_client.evaluation.tasks.puzzles import FAMILIES, puzzles

TRACES = (
    "At a glance 3.",
    "\n  First, $x^2$.\n\nThen   so.\n\n\nWait, no. \n",
    "Naïve – 東京 🙂\n\n" + "and so on. " * 40,
    "Answer: is what the user said\nassistant",
)


@pytest.fixture(scope="module")
def qwen(qwen_as_published, tmp_path_factory):
    """Qwen2.5's tokenizer, which is s1's."""
    folder = tmp_path_factory.mktemp("qwen")
    qwen_as_published.save_pretrained(folder)
    return Tokens(folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tokenizer of s1-tiny."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_tokenizer.write_tokenizer(folder)
    return Tokens(folder)


def run(rows, tokens, **settings):
    return render.run(rows, RenderSettings(**settings), random.Random(0), tokens)


def texts(number=40):
    """Rows of many kinds."""
    draw = random.Random(5)
    answers = ("3", " Final Answer: 4\n", "Answer: x", "The\nresult")
    return [
        row(f"r{index:02d}", question=draw.choice(TRACES).strip(), thinking=draw.choice(TRACES), attempt=draw.choice(answers))
        for index in range(number)
    ]


def test_plain_rows_are_the_authors_id_for_id(qwen, qwen_as_published):
    for given, found in zip(texts(), run(texts(), qwen).rows, strict=True):
        text = authors_collator.rendered(qwen_as_published, given["question"], [given["thinking"]], given["attempt"])
        assert found["text"] == text
        assert found["input_ids"] == qwen_as_published(text)["input_ids"]
        assert found["labels"] == authors_collator.labels(qwen_as_published, text)
        assert (found["variant"], found["bucket"]) == ("plain", None)


@pytest.mark.parametrize("variant", ["plain", "token", "step"])
def test_masks_are_the_authors_in_every_variant(qwen, qwen_as_published, variant):
    for found in run(texts(), qwen, variant=variant).rows:
        assert found["labels"] == authors_collator.labels(qwen_as_published, found["text"])
        assert found["input_ids"] == qwen_as_published(found["text"])["input_ids"]
        assert (found["bucket"] is None) == (variant == "plain")


def puzzle_rows(number):
    draw = random.Random(0)
    for family in FAMILIES:
        for puzzle in islice(puzzles(family, 3, held_out=False), number):
            thinking, result = rule_teacher.write_thinking(puzzle.facts, draw)
            yield row(puzzle.core, question=puzzle.question, thinking=thinking, attempt=f"Final Answer: {result}")


def test_masks_of_the_puzzles_are_the_authors(tiny):
    """With the tokenizer of s1-tiny as transformers loads it."""
    for found in run(list(puzzle_rows(40)), tiny, answer_prefix="").rows:
        assert found["labels"] == authors_collator.labels(tiny.chat_template, found["text"])
        assert found["input_ids"] == tiny.chat_template(found["text"])["input_ids"]
        assert found["text"].endswith("<|im_end|>\n")


def test_the_loss_begins_at_the_thinking_marker_and_ends_at_the_last_line_break(qwen):
    """Ids of the raspberry prompt as the reference states them; token ids of Qwen2.5."""
    [found] = run([row("a", question="How many r in raspberry", thinking="3", attempt="3")], qwen).rows
    behind = [label for label in found["labels"] if label != masking.NO_LOSS]
    assert found["labels"].count(masking.NO_LOSS) == 34
    assert behind[:3] == [151644, 26865, 198]
    assert behind[-2:] == [151645, 198]
    assert found["input_ids"][34:] == behind


def test_the_order_of_the_rows_changes_nothing(tiny):
    assert run(texts(), tiny) == run(shuffled(texts()), tiny)


# --- texts that are refused ------------------------------------------------------------------


@pytest.mark.parametrize("field", ["question", "thinking", "attempt"])
@pytest.mark.parametrize("control", ["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
def test_a_control_token_is_refused_or_dropped(tiny, field, control):
    rows = [row("clean"), row("bad", **{field: f"so {control}answer"})]
    with pytest.raises(BuildFailed, match="row bad") as caught:
        run(rows, tiny)
    assert f"control token {control} in '{field}'" in caught.value.args[0]
    outcome = run(rows, tiny, on_control="drop")
    assert [one["id"] for one in outcome.rows] == ["clean"]
    assert [(drop.id, drop.reason, drop.detail) for drop in outcome.dropped] == [("bad", "control-token", f"{control} in '{field}'")]


@pytest.mark.parametrize("field", ["question", "thinking", "attempt"])
@pytest.mark.parametrize("value", [None, "", " \n", 3])
def test_a_row_without_a_text_is_refused(tiny, field, value):
    with pytest.raises(BuildFailed, match=f"row a \\(words\\): no text in '{field}'"):
        run([row("a", **{field: value})], tiny)


def test_variant_token_needs_the_length_of_the_trace(tiny):
    with pytest.raises(BuildFailed, match="row a .*num_thinking_tokens"):
        run([row("a", num_thinking_tokens=None)], tiny, variant="token")


# --- rows that are too long ---------------------------------------------------------------------


LONG = [row("short"), row("long", thinking="so " * 200), row("longer", thinking="so " * 300)]


def test_rows_that_are_too_long_are_refused_by_default(tiny):
    longest = len(run(LONG, tiny).rows[1]["input_ids"])
    with pytest.raises(BuildFailed) as caught:
        run(LONG, tiny, max_tokens=300)
    assert (
        f"2 of 3 rows have more than render.max_tokens = 300 tokens; the longest, row longer (words), has {longest} tokens"
        in caught.value.args[0]
    )


def test_a_row_of_exactly_the_limit_is_kept(tiny):
    longest = run(LONG, tiny).found["longest"]
    assert len(run(LONG, tiny, max_tokens=longest).rows) == 3


def test_rows_that_are_too_long_are_dropped_and_counted(tiny):
    outcome = run(LONG, tiny, max_tokens=300, on_too_long="drop")
    assert [one["id"] for one in outcome.rows] == ["short"]
    assert [(drop.id, drop.reason) for drop in outcome.dropped] == [("long", "too-long"), ("longer", "too-long")]
    assert outcome.found["num_too_long"] == 2
    assert outcome.found["num_tokens"] == len(outcome.rows[0]["input_ids"])


def test_rows_that_are_too_long_are_cut_and_counted(tiny):
    whole, outcome = run(LONG, tiny), run(LONG, tiny, max_tokens=300, on_too_long="cut")
    assert outcome.found["num_too_long"] == 2
    for before, after in zip(whole.rows, outcome.rows, strict=True):
        assert (after["input_ids"], after["labels"]) == (before["input_ids"][:300], before["labels"][:300])


def test_a_row_without_any_loss_is_not_cut_but_refused(tiny):
    with pytest.raises(BuildFailed, match="row long .*: cut to render.max_tokens = 30 tokens it has no token with a loss"):
        run(LONG, tiny, max_tokens=30, on_too_long="cut")


def test_a_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match="max_tokens: got 0"):
        RenderSettings(max_tokens=0)


# --- chat templates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "harm",
    [
        lambda template: template.replace("message.content", "message.content | trim"),
        lambda template: template.replace("<|im_start|>", "## ").replace("<|im_end|>", ""),
        lambda template: template.replace("message.content", "message.content | upper"),
        lambda template: template.replace(
            "+ message.content", "+ ('<think></think>' if message.role == 'assistant' else '') + message.content"
        ),
    ],
)
def test_a_chat_template_unlike_qwens_is_refused(tmp_path, harm):
    tiny_tokenizer.write_tokenizer(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    harmed = harm(config["chat_template"])
    assert harmed != config["chat_template"]
    path.write_text(json.dumps(config | {"chat_template": harmed}))
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(BuildFailed, match="its chat template is not like Qwen2.5's"):
        run([row("a")], Tokens(tmp_path))

# SPDX-License-Identifier: Apache-2.0
"""Render rows as training text, with its ids and loss mask, which training takes as they are.

The mask follows the authors' collator (DataCollatorForCompletionOnlyLM of trl 0.12): every id behind the assistant marker has
a loss, up to ``<|im_end|>`` and the line break behind it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from budgetforce.building.stage import BuildFailed
from budgetforce.curating import traces
from budgetforce.curating.masking import NO_LOSS, ChatFormat
from budgetforce.curating.rows import Drop, Outcome, Row
from budgetforce.curating.settings import check
from budgetforce.curating.tokens import Tokens

_BATCH = 5_000  # rows that are rendered together
_RENDERED = ("question", "thinking", "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """The format of the training text.

    Attributes:
        answer_prefix: put before an answer in which it does not occur: "Answer: " as the authors, "" for none.
        max_tokens: ids of a row, at most. Training refuses longer rows, so the pipeline counts them.
        on_too_long: what happens with a longer row. A row that is cut never shows its answer to the model.
        on_control: what happens with a row whose question, trace or answer spells a control token.
    """

    variant: Literal["plain", "token", "step"] = "plain"
    answer_prefix: str = "Answer: "
    max_tokens: int = 32768
    on_too_long: Literal["refuse", "drop", "cut"] = "refuse"
    on_control: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        check("max_tokens", self.max_tokens, self.max_tokens >= 1, "an integer >= 1")


def run(
    rows: Sequence[Row],
    settings: RenderSettings,
    rng: random.Random,  # noqa: ARG001  # every stage has one
    tokens: Tokens,
) -> Outcome:
    """Return the rows, sorted by id, with ``text``, ``input_ids``, ``labels`` (-100: no loss), ``variant`` and ``bucket``.

    Raises BuildFailed naming the row that lacks a text, spells a control token or is too long, unless the settings drop it.
    """
    chat = ChatFormat.of(tokens)
    spelt = {row["id"]: _controls(row, tokens) for row in rows}
    dropped = [_refuse_or_drop_control(row, spelt[row["id"]], settings) for row in _sorted(rows) if spelt[row["id"]]]
    clean = [row for row in _sorted(rows) if not spelt[row["id"]]]
    rendered = [row for start in range(0, len(clean), _BATCH) for row in _render(clean[start : start + _BATCH], settings, chat)]
    kept, too_long = _fit(rendered, settings)
    dropped += [Drop(id=row["id"], source=row["source"], reason="too_long", detail=_num_tokens(row)) for row in too_long]
    return Outcome(rows=kept, dropped=dropped, found=_facts(rendered, kept, settings))


def _sorted(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=itemgetter("id"))


def _name(row: Row) -> str:
    return f"row {row['id']} ({row['source']})"


def _controls(row: Row, tokens: Tokens) -> str:
    """Return the first control token that a text of the row spells and where, "" if there is none."""
    for field in _RENDERED:
        text = row.get(field)
        if not isinstance(text, str) or not text.strip():
            raise BuildFailed(f"stage render: {_name(row)}: no text in {field!r}")
        if found := tokens.controls_in(text):
            return f"{found[0]} in {field!r}"
    return ""


def _refuse_or_drop_control(row: Row, spelt: str, settings: RenderSettings) -> Drop:
    if settings.on_control == "refuse":
        raise BuildFailed(f"stage render: {_name(row)}: control token {spelt}: correct the text, or set render.on_control = 'drop'")
    return Drop(id=row["id"], source=row["source"], reason="control_token", detail=spelt)


def _render(rows: Sequence[Row], settings: RenderSettings, chat: ChatFormat) -> Iterator[Row]:
    """Yield the rows with their text, ids and labels."""
    turns = [_turns(row, settings) for row in rows]
    texts = chat.texts([(turn.question, turn.reply) for turn in turns])
    for row, turn, text, ids in zip(rows, turns, texts, chat.tokens.encode_marked(texts), strict=True):
        labels = chat.labels(ids)
        if labels is None:
            raise BuildFailed(f"stage render: {_name(row)}: a part of its text is taken for the marker of a turn")
        yield {**row, "text": text, "input_ids": ids, "labels": labels, "variant": settings.variant, "bucket": turn.bucket}


def _turns(row: Row, settings: RenderSettings) -> traces.Turns:
    question, trace = row["question"], row["thinking"]
    answer = traces.with_prefix(row["attempt"], settings.answer_prefix)
    if settings.variant == "step":
        return traces.with_step_limit(question, trace, answer)
    if settings.variant == "plain":
        return traces.plain(question, trace, answer)
    num_tokens = row.get("num_thinking_tokens")
    if not isinstance(num_tokens, int):
        raise BuildFailed(f"stage render: {_name(row)}: variant 'token' needs 'num_thinking_tokens', which stage features counts")
    return traces.with_token_limit(question, trace, answer, num_tokens)


def _fit(rows: list[Row], settings: RenderSettings) -> tuple[list[Row], list[Row]]:
    """Return the rows to keep and those to drop. Raises BuildFailed if a row is too long and none may be."""
    limit = settings.max_tokens
    too_long = [row for row in rows if len(row["input_ids"]) > limit]
    if too_long and settings.on_too_long == "refuse":
        longest = max(too_long, key=lambda row: len(row["input_ids"]))
        raise BuildFailed(
            f"stage render: {len(too_long)} of {len(rows)} rows have more than render.max_tokens = {limit} tokens; the longest,"
            f" {_name(longest)}, has {_num_tokens(longest)}: raise the limit, or set render.on_too_long to 'drop' or 'cut'"
        )
    if settings.on_too_long == "cut":
        return [_cut(row, limit) for row in rows], []
    return [row for row in rows if len(row["input_ids"]) <= limit], too_long


def _cut(row: Row, limit: int) -> Row:
    """Return a row with at most ``limit`` ids, of which at least one has a loss."""
    labels = row["labels"][:limit]
    if all(label == NO_LOSS for label in labels):
        raise BuildFailed(f"stage render: {_name(row)}: cut to render.max_tokens = {limit} tokens it has no token with a loss")
    return {**row, "input_ids": row["input_ids"][:limit], "labels": labels}


def _num_tokens(row: Row) -> str:
    return f"{len(row['input_ids'])} tokens"


def _facts(rendered: Sequence[Row], kept: Sequence[Row], settings: RenderSettings) -> dict[str, Any]:
    lengths = [len(row["input_ids"]) for row in rendered]
    return {
        "variant": settings.variant,
        "max_tokens": settings.max_tokens,
        "on_too_long": settings.on_too_long,
        "num_too_long": sum(length > settings.max_tokens for length in lengths),
        "longest": max(lengths, default=0),
        "num_tokens": sum(len(row["input_ids"]) for row in kept),
        "num_loss_tokens": sum(len(row["labels"]) - row["labels"].count(NO_LOSS) for row in kept),
    }

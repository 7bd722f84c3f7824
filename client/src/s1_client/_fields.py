# SPDX-License-Identifier: Apache-2.0
"""The table of request fields: a row a field, which the wire, the command, the fake server and the docs read.

The server has the fields' declaration (model_repository/s1/config.pbtxt) and checks their values; tests/contract/test_fields.py
holds this table to both, and ``Options`` to this table. What a field means in full stands in the documentation of the request fields.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

THINKING, ANSWER, SAMPLING, SCHEDULING = "Thinking", "Answer", "Sampling", "Scheduling"
THINKING_SAMPLING = "Sampling of the thinking alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A request field: its tensor, its place in the help, and the values that the server accepts.

    Attributes:
        datatype: KServe's name of its tensor's type.
        section: heading of the help under which it is listed.
        help: its effect, special values and default, as ``--help`` shows them.
        is_list: it holds several texts, and its option may be repeated.
        default: value that the FakeServer applies where a request has none. ``help`` names the real server's.
        default_of: the field whose value applies where a request has none; "" if there is no such field.
        values: the words that are allowed; empty = any.
        least, most: bounds of its number; None = those of its tensor's type.
        excludes_least: whether ``least`` itself is refused.
        note: the meaning of a special number, for the message of a refusal.
    """

    name: str
    datatype: str
    section: str
    help: str
    is_list: bool = False
    default: Any = None
    default_of: str = ""
    values: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    excludes_least: bool = False
    note: str = ""

    def accepts(self, value: Any) -> bool:
        """Return whether the server takes a value of the right type, as far as that depends on this field alone."""
        if self.values:
            return value in self.values
        is_enough = self.least is None or (value > self.least if self.excludes_least else value >= self.least)
        return is_enough and (self.most is None or value <= self.most)

    @property
    def allowed(self) -> str:
        """The values that are allowed, in the words of the server's refusal."""
        if self.values:
            return f"one of {', '.join(self.values)}"
        if self.least is None:
            return "any value"
        if self.most is not None:
            return f"{self.least:g} < {self.name} <= {self.most:g}" if self.excludes_least else f"{self.least:g} to {self.most:g}"
        kind, comparison = "a number" if self.datatype == "FP32" else "an integer", ">" if self.excludes_least else ">="
        return f"{kind} {comparison} {self.least:g}" + (f" ({self.note})" if self.note else "")


_SAMPLING = (
    Field(
        name="temperature",
        datatype="FP32",
        section=SAMPLING,
        help="sampling temperature; 0 = greedy (default: the preset's)",
        default=0.0,
        least=0,
        note="0 = greedy",
    ),
    Field(
        name="top_k",
        datatype="INT32",
        section=SAMPLING,
        help="sample from the k most likely tokens; 0 = off (default: the preset's, else 0)",
        least=0,
        note="0 = off",
    ),
    Field(
        name="top_p",
        datatype="FP32",
        section=SAMPLING,
        help="sample from the most likely tokens that make up probability p, 0 < p <= 1 (default: the preset's, else 1)",
        least=0,
        most=1,
        excludes_least=True,
    ),
    Field(
        name="seed",
        datatype="UINT64",
        section=SAMPLING,
        help="seed of the sampling (default: drawn at random and reported)",
    ),
    Field(
        name="repetition_penalty",
        datatype="FP32",
        section=SAMPLING,
        help="penalty on tokens of prompt and reply, above 0; 1 = none (default: the preset's, else 1)",
        least=0,
        excludes_least=True,
    ),
    Field(
        name="presence_penalty",
        datatype="FP32",
        section=SAMPLING,
        help="penalty on tokens that occurred, -2 to 2; 0 = none (default: the preset's, else 0)",
        least=-2,
        most=2,
    ),
    Field(
        name="frequency_penalty",
        datatype="FP32",
        section=SAMPLING,
        help="penalty for each occurrence of a token, -2 to 2; 0 = none (default: the preset's, else 0)",
        least=-2,
        most=2,
    ),
    Field(name="bad_words", datatype="BYTES", section=SAMPLING, help="word that is never sampled (repeatable)", is_list=True, default=()),
)

_TABLE = (
    Field(
        name="max_thinking_tokens",
        datatype="INT32",
        section=THINKING,
        help="thinking budget: hard cap in tokens; -1 = what the context allows, 0 = answer at once (default: the preset's)",
        default=-1,
        least=-1,
        note="-1 = what the context allows",
    ),
    Field(
        name="reasoning_effort",
        datatype="BYTES",
        section=THINKING,
        help="thinking budget by a word of the preset's table, in place of a number; shrinks to the context (default: none)",
        values=("minimal", "low", "medium", "high", "xhigh", "max"),
    ),
    Field(
        name="min_thinking_tokens",
        datatype="INT32",
        section=THINKING,
        help="refuse every end of thinking before this many tokens (default: 0)",
        default=0,
        least=0,
    ),
    Field(
        name="num_ignore",
        datatype="INT32",
        section=THINKING,
        help="number of ends of thinking to refuse (default: the preset's)",
        default=1,
        least=0,
    ),
    Field(
        name="ignore_str",
        datatype="BYTES",
        section=THINKING,
        help='ignore string, put in place of a refused end (default: "Wait"; repeatable: used in turn)',
        is_list=True,
        default=("Wait",),
    ),
    Field(
        name="grace_tokens",
        datatype="INT32",
        section=THINKING,
        help="tokens beyond the budget in which a cut waits for the end of a sentence (default: 0)",
        default=0,
        least=0,
    ),
    Field(
        name="thinking",
        datatype="BYTES",
        section=THINKING,
        help="forced, free (the model opens and closes its thinking itself) or off (default: forced)",
        default="forced",
        values=("forced", "free", "off"),
    ),
    Field(
        name="preset",
        datatype="BYTES",
        section=THINKING,
        help="model preset: markers, strings and defaults of a model (default: the server's)",
        default="fake",
    ),
    Field(
        name="max_tokens",
        datatype="INT32",
        section=ANSWER,
        help="cap of the answer in tokens (default: the preset's)",
        default=1024,
        least=1,
    ),
    Field(
        name="max_total_tokens",
        datatype="INT32",
        section=ANSWER,
        help="cap of thinking and answer together in tokens (default: none)",
        least=1,
    ),
    Field(
        name="answer_prefix",
        datatype="BYTES",
        section=ANSWER,
        help="first words of the answer, injected by the server (default: the preset's)",
        default="Final Answer:",
    ),
    Field(
        name="answer_prefix_policy",
        datatype="BYTES",
        section=ANSWER,
        help="when the prefix is injected: auto (only after a cut of the thinking), always or never (default: the preset's)",
        default="auto",
        values=("auto", "always", "never"),
    ),
    Field(
        name="stop_words",
        datatype="BYTES",
        section=ANSWER,
        help="text that ends the answer and is not shown (repeatable)",
        is_list=True,
        default=(),
    ),
    *_SAMPLING,
    Field(
        name="num_samples",
        datatype="INT32",
        section=SAMPLING,
        help="independent replies to the prompt, 1 to 64 (default: 1)",
        default=1,
        least=1,
        most=64,
    ),
    *(
        replace(
            row,
            name=f"thinking_{row.name}",
            section=THINKING_SAMPLING,
            help=f"{row.name} of the thinking alone{' (repeatable)' if row.is_list else ''} (default: that of the answer)",
            default=None,
            default_of=row.name,
        )
        for row in _SAMPLING
    ),
    Field(
        name="timeout_ms",
        datatype="INT32",
        section=SCHEDULING,
        help="time limit of the request in ms, on the server's clock (default: none; s1_client sends the rest of its deadline_s)",
        least=1,
    ),
    Field(
        name="on_timeout",
        datatype="BYTES",
        section=SCHEDULING,
        help="cancel, or answer: think shorter to answer in time (default: cancel)",
        default="cancel",
        values=("cancel", "answer"),
    ),
    Field(
        name="priority",
        datatype="INT32",
        section=SCHEDULING,
        help="of the waiting requests, those with a higher priority start first (default: 0)",
        default=0,
    ),
)

FIELDS: dict[str, Field] = {row.name: row for row in _TABLE}

# Keys of a result's ``effective`` that are not request fields, with their meaning.
EFFECTIVE_ONLY = {
    "thinking_prefix": "first words of the thinking that the preset injects; None if the budget does not hold them",
    "max_context_tokens": "tokens that prompt and reply may have together",
    "num_masked_ids": "ids without a token, which are never sampled",
    "engine_model": "name of the engine model on the server",
}


def in_section(*sections: str) -> list[str]:
    """Return the names of the fields of these sections, in the order of the help."""
    return [row.name for row in _TABLE if row.section in sections]

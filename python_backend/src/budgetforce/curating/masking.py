# SPDX-License-Identifier: Apache-2.0
"""A tokenizer's chat format: the text of a question with its reply, and which of its ids have a loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.tokens import Tokens

NO_LOSS = -100  # the label that torch's cross entropy ignores


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """What a tokenizer's chat template writes around a question and its reply.

    Attributes:
        opening: text before a question: the default system prompt and the user marker.
        between: text from the question to the reply: its end and the assistant marker.
        closing: text behind a reply, such as ``<|im_end|>`` ⏎.
        user_ids: ids that open a question, such as ``<|im_start|>user``; the authors' instruction template.
        marker_ids: ids that open a reply, such as ``<|im_start|>assistant`` ⏎; the authors' response template.
    """

    tokens: Tokens
    opening: str
    between: str
    closing: str
    user_ids: tuple[int, ...]
    marker_ids: tuple[int, ...]

    @classmethod
    def of(cls, tokens: Tokens) -> ChatFormat:
        """Return the format of a tokenizer. Raises BuildFailed if its template changes texts, or has no markers like Qwen2.5's."""
        question, reply = " question \n", " reply \n"  # a template that strips texts does not keep these
        whole = _render(tokens, question, reply)
        opening, _, rest = whole.partition(question)
        between, _, closing = rest.partition(reply)
        user, marker = opening.rfind("<|"), between.rfind("<|")
        if min(user, marker) < 0 or not closing:
            raise BuildFailed(f"tokenizer {tokens.folder}: its chat template is not like Qwen2.5's, it renders {whole!r}")
        user_ids, marker_ids = tokens.encode_marked([opening[user:].rstrip(), between[marker:]])
        return cls(tokens=tokens, opening=opening, between=between, closing=closing, user_ids=tuple(user_ids), marker_ids=tuple(marker_ids))

    def texts(self, turns: Sequence[tuple[str, str]]) -> list[str]:
        """Return the text of each (question, reply).

        The template itself renders the first, for comparison: jinja takes longer than the encoding. Raises BuildFailed if
        the two differ.
        """
        texts = [f"{self.opening}{question}{self.between}{reply}{self.closing}" for question, reply in turns]
        if turns and texts[0] != _render(self.tokens, *turns[0]):
            raise BuildFailed(f"tokenizer {self.tokens.folder}: its chat template changes the text of a question or reply")
        return texts

    def labels(self, ids: Sequence[int]) -> list[int] | None:
        """Return the ids behind the assistant marker, NO_LOSS before it; None unless one question and one reply are marked.

        For such a row this is the result of trl 0.12's DataCollatorForCompletionOnlyLM with both templates.
        """
        starts = list(find_all(ids, self.marker_ids))
        if len(starts) != 1 or len(list(find_all(ids, self.user_ids))) != 1:
            return None
        num_prompt = starts[0] + len(self.marker_ids)
        return [NO_LOSS] * num_prompt + list(ids[num_prompt:])


def find_all(ids: Sequence[int], wanted: Sequence[int]) -> Iterator[int]:
    """Yield each position in ``ids`` at which ``wanted`` begins."""
    pattern, position = list(wanted), -1
    while True:
        try:
            position = ids.index(pattern[0], position + 1)
        except ValueError:
            return
        if list(ids[position : position + len(pattern)]) == pattern:
            yield position


def _render(tokens: Tokens, question: str, reply: str) -> str:
    chat = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    return str(tokens.chat_template.apply_chat_template(chat, tokenize=False))

# SPDX-License-Identifier: Apache-2.0
"""The authors' two implementations of budget forcing, rewritten as plainly as possible.

For comparison only: no line is shared with ``budgetforce``. ``generate(context, max_tokens,
min_tokens, stop_ids)`` is vLLM as they call it: it returns (ids, finish), with the stop id as the
last of ids if finish is "stop"; the first ``min_tokens`` ids are no stop ids. With ``until``, it
also stops at the first ids for which ``until`` is true.

Both return (context of every thinking call, context of the answer's call, ids of the answer).
Where the originals crash, they continue as the presets' files describe.
"""

from __future__ import annotations

IM_START, IM_END = 151644, 151645
THINK, ANSWER = [IM_START, 26865], [IM_START, 9217]
FORCED_ANSWER = [IM_START, 9217, 198, 19357, 21806, 25]
LINE_BREAK = 198
STOPS = {IM_START, IM_END}


def evaluation(prompt, generate, decode, *, budget, num_ignore, ignore_ids, context_len, answer_cap):
    """The evaluation code (lm_eval/models/vllm_causallms.py), one prompt."""
    context = prompt + THINK
    contexts, thought = [], []
    last_round = num_ignore
    for number in range(last_round + 1):
        contexts.append(list(context))
        room = min(budget, context_len - len(context))
        if num_ignore > 0:
            ids, finish = generate(context, room, 1, STOPS)
        else:  # stop strings, not ids: they also fire when spelt with other tokens
            ids, finish = generate(context, room, 0, STOPS, until=lambda ids: "<|im_start|>" in decode(ids) or "<|im_end|>" in decode(ids))
        if finish == "length" or number == last_round:
            thought = thought + ids
            break
        ids = strip(ids) + ignore_ids
        thought = thought + ids
        context = context + ids
    text = decode(strip(thought))
    thought = strip(thought[:budget])
    if finish == "length":
        line_break = [] if text.endswith("\n") else [LINE_BREAK]
        answer_context = prompt + THINK + thought + line_break + FORCED_ANSWER
    else:
        answer_context = prompt + THINK + thought + ANSWER
    answer, _ = generate(answer_context, min(answer_cap, context_len - len(answer_context)), 0, {IM_END})
    return contexts, answer_context, answer


def strip(ids):
    """Return ids without a final <|im_start|>, then without a final <|im_end|>."""
    if ids and ids[-1] == IM_START:
        ids = ids[:-1]
    if ids and ids[-1] == IM_END:
        ids = ids[:-1]
    return ids


def readme(prompt, generate, decode, encode, *, budget, num_ignore, ignore_str, context_len, answer_cap):
    """The README's loop: everything is text, encoded anew for each call."""
    text = decode(prompt + THINK)
    contexts = [encode(text)]
    left = budget
    ids, finish = generate(contexts[-1], min(left, context_len - len(contexts[-1])), 0, STOPS)
    for _ in range(num_ignore):
        left = left - len(ids)
        if left <= 0:  # pull request 120; the seed raises here
            break
        text = text + shown(ids, finish, decode) + ignore_str
        contexts.append(encode(text))
        ids, finish = generate(contexts[-1], min(left, context_len - len(contexts[-1])), 1, STOPS)
    text = text + shown(ids, finish, decode)
    answer_context = encode(text)
    answer, _ = generate(answer_context, min(answer_cap, context_len - len(answer_context)), 0, {IM_END})
    return contexts, answer_context, answer


def shown(ids, finish, decode):
    """vLLM's text: without the stop token."""
    return decode(ids[:-1] if finish == "stop" else ids)

# SPDX-License-Identifier: Apache-2.0
"""The authors' rendering and label mask, rewritten as plainly as possible, for comparison. Shares no line with ``budgetforce``.

Rendering: data/tokenization.py of simplescaling/s1 @77272c6. Mask: DataCollatorForCompletionOnlyLM of trl 0.12.0 with an
instruction and a response template, for one sequence without padding.
"""

from __future__ import annotations

INSTRUCTION, RESPONSE = "<|im_start|>user", "<|im_start|>assistant\n"


def rendered(tokenizer, question, trajectories, answer):
    answer = "Answer: " + answer if "Answer:" not in answer else answer
    reply = "<|im_start|>think\n" + "\n".join(trajectories).strip() + "\n<|im_start|>answer\n" + answer.strip()
    chat = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    return tokenizer.apply_chat_template(chat, tokenize=False)


def labels(tokenizer, text):
    """The labels of a text; all are -100 if a template is missing."""
    ids = tokenizer(text)["input_ids"]
    instruction = tokenizer.encode(INSTRUCTION, add_special_tokens=False)
    response = tokenizer.encode(RESPONSE, add_special_tokens=False)
    humans = [at for at in range(len(ids)) if ids[at : at + len(instruction)] == instruction]
    responses = [at + len(response) for at in range(len(ids)) if ids[at : at + len(response)] == response]
    found = list(ids)
    if not humans or not responses:
        return [-100] * len(ids)
    if humans[0] > responses[0]:
        humans = [0, *humans]
    for number, (start, end) in enumerate(zip(humans, responses, strict=False)):
        first = start if number else 0
        found[first:end] = [-100] * (end - first)
    if len(responses) < len(humans):
        found[humans[-1] :] = [-100] * (len(ids) - humans[-1])
    return found

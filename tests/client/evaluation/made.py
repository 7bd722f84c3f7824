# SPDX-License-Identifier: Apache-2.0
"""Hand-made result lines and a small task for the tests of evaluations."""

from s1_client.evaluation import Question, Task

TASK = Task(
    name="made", questions=tuple(Question(id=f"q{number}", prompt=f"{number}?", expected=7, grading="integer") for number in range(8))
)


def reply(answer="7", *, thinking=" a thought", end="natural", answer_end="stop", thought=10, answered=2, ignored=0, **rest):
    usage = {"num_thinking_tokens": thought, "num_answer_tokens": answered, "num_ignored": ignored, "num_prompt_tokens": 5}
    result = {"thinking_end": end, "answer_end": answer_end, "usage": usage, "effective": {"preset": "made", **rest}}
    return {"thinking": thinking, "answer": answer, "result": result}


def entry(question, setting, response=None, *, repeat=0, attempt=0):
    """Return a result line; without a reply that of a failed request."""
    meta = {"question": question, "setting": setting, "repeat": repeat, "attempt": attempt}
    return {
        "id": f"{question}/{setting}/r{repeat}/t{attempt}",
        "meta": meta,
        **({"error": {}} if response is None else {"reply": response}),
    }


def entries(setting, *replies):
    """Return result lines for the first questions of ``TASK``, one per reply."""
    return [entry(question.id, setting, response) for question, response in zip(TASK.questions, replies, strict=False)]

# SPDX-License-Identifier: Apache-2.0
"""Lines of results, made by hand."""

from s1_client.evaluation import Question, Task

TASK = Task(
    name="made", questions=tuple(Question(id=f"q{number}", prompt=f"{number}?", expected=7, grading="integer") for number in range(8))
)


def reply(answer="7", *, thinking=" a thought", end="natural", answer_end="stop", thought=10, answered=2, ignored=0, **rest):
    usage = {"num_thinking_tokens": thought, "num_answer_tokens": answered, "num_ignored": ignored, "num_prompt_tokens": 5}
    result = {"thinking_end": end, "answer_end": answer_end, "usage": usage, "effective": {"preset": "made", **rest}}
    return {"thinking": thinking, "answer": answer, "result": result}


def entry(question, setting, said=None, *, repeat=0, attempt=0):
    """A line; without ``said`` of a request that failed."""
    meta = {"question": question, "setting": setting, "repeat": repeat, "attempt": attempt}
    return {"id": f"{question}/{setting}/r{repeat}/t{attempt}", "meta": meta, **({"error": {}} if said is None else {"reply": said})}


def entries(setting, *replies):
    """A line for each question, in turn."""
    return [entry(question.id, setting, said) for question, said in zip(TASK.questions, replies, strict=False)]

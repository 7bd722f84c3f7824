# SPDX-License-Identifier: Apache-2.0
"""Plants bugs in the core, one at a time, and checks that a test fails for each.

    python tests/mutations.py            # all; exit code 1 if one survives
    python tests/mutations.py cap wait   # those whose name contains a word

Works on a copy of the sources. ``tests/core/test_mutations.py`` checks that the list fits the sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "python_backend" / "src"
# Rules and whole samples first; the worlds, which take longer, run only for bugs that pass those.
TESTS = [f"tests/core/test_{name}.py" for name in ("forcer", "rounds", "transcript", "budget", "markers")]
TESTS += ["tests/serving/test_audit_presets.py", "tests/core/test_worlds.py"]


class Mutation(NamedTuple):
    """A planted bug: ``old``, which occurs once in ``budgetforce/core/<file>.py``, is replaced by ``new``."""

    name: str
    file: str
    old: str
    new: str


MUTATIONS = [
    Mutation("the cap is one too high", "budget", "return self.cap - self.spent", "return self.cap - self.spent + 1"),
    Mutation("the cap is one too low", "budget", "return self.cap - self.spent", "return self.cap - self.spent - 1"),
    Mutation("Wait is not counted", "budget", "BudgetRule.EXACT: (1, 1, 0)", "BudgetRule.EXACT: (1, 0, 0)"),
    Mutation("a consumed terminator is counted", "budget", "BudgetRule.EXACT: (1, 1, 0)", "BudgetRule.EXACT: (1, 1, 1)"),
    Mutation("the README's terminators are free", "budget", "BudgetRule.SAMPLED: (1, 0, 1)", "BudgetRule.SAMPLED: (1, 0, 0)"),
    Mutation("Wait needs no room behind it", "budget", "self.left > len(ids)", "self.left >= len(ids)"),
    Mutation(
        "a terminator stays in the context",
        "forcer",
        "        self._transcript.consume_terminator()\n",
        "        self._transcript.consume_terminator()\n        self._transcript.context.append(token_id)\n",
    ),
    Mutation(
        "a terminator is shown",
        "forcer",
        "            return self._consume(record, token_id)\n        if stops:",
        "            return self._consume(record, token_id) + self._keep(record, token_id)\n        if stops:",
    ),
    Mutation(
        "the newline rule is inverted", "forcer", "cut and self._transcript.context[-1] not in", "cut and self._transcript.context[-1] in"
    ),
    Mutation("a natural end gets a line break", "forcer", "needs_break = cut and", "needs_break ="),
    Mutation("the prefix follows every end", "forcer", "if cut or plan.prefix_after_natural_end else ()", "if True else ()"),
    Mutation("the prefix never follows a cut", "forcer", "if cut or plan.prefix_after_natural_end", "if plan.prefix_after_natural_end"),
    Mutation(
        "one ignore too many", "forcer", "ledger.num_ignored < plan.num_ignore and fits", "ledger.num_ignored <= plan.num_ignore and fits"
    ),
    Mutation("a refused end may come back first", "forcer", "min_tokens = 1 if self.ledger.num_ignored else 0", "min_tokens = 0"),
    Mutation("the first round may not end at once", "forcer", "min_tokens = 1 if self.ledger.num_ignored else 0", "min_tokens = 1"),
    Mutation("a round runs again without the ban", "rounds", "replace(self._running()[1], may_redo=False)", "self._running()[1]"),
    Mutation(
        "every end of a round that may run again is thrown away",
        "rounds",
        "request.may_redo or record.num_sampled_tokens or",
        "request.may_redo or",
    ),
    Mutation("a redone id is not counted", "rounds", "        record.num_redone += 1\n", ""),
    Mutation(
        "ids behind a redone one pass", "rounds", "        if self._is_rejected:\n            raise", "        if False:\n            raise"
    ),
    Mutation("a sampled id is missing in its round", "transcript", "        self.round.num_sampled_tokens += 1\n", ""),
    Mutation("a cut round is redone", "rounds", "        self._is_rejected = False\n        self._transcript", "        self._transcript"),
    Mutation("an end without a string is redone", "forcer", " and bool(self._transcript.round.injected_ids)", ""),
    Mutation("audits redo", "forcer", "self._plan.budget_rule is BudgetRule.EXACT and bool(", "bool("),
    Mutation("a forbidden terminator passes", "rounds", "if stops and record.num_sampled_tokens < request.min_tokens:", "if False:"),
    Mutation(
        "the ignore strings are not used in turn",
        "forcer",
        "plan.ignore_ids[ledger.num_ignored % len(plan.ignore_ids)]",
        "plan.ignore_ids[0]",
    ),
    Mutation(
        "the floor is one too low", "forcer", "ledger.thinking < plan.min_thinking_tokens", "ledger.thinking + 1 < plan.min_thinking_tokens"
    ),
    Mutation(
        "the floor gives up where Wait does not fit",
        "forcer",
        "return RefusedFor.FLOOR, string if fits else ()",
        "return (RefusedFor.FLOOR, string) if fits else None",
    ),
    Mutation(
        "grace at a sentence end",
        "forcer",
        "if self._plan.grace_tokens and self._transcript.context[-1] not in self._plan.boundary_ids:",
        "if self._plan.grace_tokens:",
    ),
    Mutation(
        "grace runs past the sentence",
        "forcer",
        "self._plan.thinking_terminators | self._plan.boundary_ids",
        "self._plan.thinking_terminators",
    ),
    Mutation(
        "an end in the grace is a cut",
        "forcer",
        "        if record.ended_by is RoundEnd.TERMINATOR:\n            return self._close",
        "        if False:\n            return self._close",
    ),
    Mutation("a cut keeps half a character", "forcer", "        if cut:\n            self._transcript.drop_held()\n", ""),
    Mutation(
        "the answer's cut keeps half a character",
        "forcer",
        "        if ended_by in (RoundEnd.LENGTH, RoundEnd.DEADLINE):\n            self._transcript.drop_held()\n",
        "",
    ),
    Mutation(
        "a phantom stays in the context",
        "transcript",
        "            self._drop(1)\n            return []\n        if phase is",
        "            self._drop(1)\n            self.context.append(token_id)\n            return []\n        if phase is",
    ),
    Mutation(
        "a phantom is not counted",
        "transcript",
        "        if token_id >= self._plan.num_token_ids:\n            self._drop(1)\n",
        "        if token_id >= self._plan.num_token_ids:\n",
    ),
    Mutation(
        "the last token counts as a phantom",
        "transcript",
        "token_id >= self._plan.num_token_ids",
        "token_id >= self._plan.num_token_ids - 1",
    ),
    Mutation("the evaluation's cut is forgotten", "forcer", "        self._transcript.cut_overrun()\n", ""),
    Mutation(
        "the evaluation's newline looks at the cut text",
        "forcer",
        "        needs_break = cut and self._transcript.context[-1] not in plan.line_break_bearing\n"
        "        self._transcript.cut_overrun()\n",
        "        self._transcript.cut_overrun()\n"
        "        needs_break = cut and self._transcript.context[-1] not in plan.line_break_bearing\n",
    ),
    Mutation("an empty answer is a success", "forcer", "AnswerEnd.STOP if has_text else AnswerEnd.EMPTY", "AnswerEnd.STOP"),
    Mutation("answer now opens as after a natural end", "forcer", "(Cause.CUT_SHORT, end, cut=True)", "(Cause.CUT_SHORT, end, cut=False)"),
    Mutation(
        "time up ends thinking and the answer at once",
        "forcer",
        "ThinkingEnd.DEADLINE) or self._cut_answer()",
        "ThinkingEnd.DEADLINE) + self._cut_answer()",
    ),
    Mutation(
        "time up takes an answer's own end away",
        "forcer",
        "return [] if is_over else self._finish(RoundEnd.DEADLINE",
        "return self._finish(RoundEnd.DEADLINE",
    ),
    Mutation("an id below 0 is taken", "rounds", "if token_id < 0:", "if False:"),
    Mutation(
        "answer now reaches into the answer",
        "forcer",
        "if self.state not in (State.THINKING, State.GRACE) and not thinks_unforced:",
        "if self.state is State.IDLE:",
    ),
    Mutation(
        "a thought opens again",
        "markers",
        "        if self._at_start and self.phase is Phase.ANSWER:",
        "        if self.phase is Phase.ANSWER:",
    ),
    Mutation(
        "half a marker is lost",
        "forcer",
        "            released = transcript.release()  # the matched",
        "            transcript.release()  # the matched",
    ),
    Mutation(
        "the context's end is one too far",
        "forcer",
        "return self._plan.max_context_tokens - len(self._transcript.context)",
        "return self._plan.max_context_tokens - len(self._transcript.context) + 1",
    ),
    Mutation(
        "ids behind a terminator pass",
        "rounds",
        "        if record.ended_by is not None:\n            raise",
        "        if False:\n            raise",
    ),
]


def is_caught(mutation: Mutation) -> bool:
    """Return whether a test fails with this bug."""
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "src"
        shutil.copytree(SOURCES, sources, ignore=shutil.ignore_patterns("__pycache__"))
        path = sources / "budgetforce" / "core" / f"{mutation.file}.py"
        path.write_text(path.read_text().replace(mutation.old, mutation.new))
        environment = {**os.environ, "PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *TESTS]
        return subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 1


def main(words: list[str]) -> int:
    chosen = [mutation for mutation in MUTATIONS if not words or any(word in mutation.name for word in words)]
    survivors = 0
    for mutation in chosen:
        caught = is_caught(mutation)
        survivors += not caught
        print(f"{'caught  ' if caught else 'SURVIVED'}  {mutation.name}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

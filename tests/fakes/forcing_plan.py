# SPDX-License-Identifier: Apache-2.0
"""A small vocabulary and a ``ForcingPlan`` over it, shared by the tests of the core."""

from budgetforce.core import ForcingPlan

PROMPT, A, B, NL, DOT, WAIT, HMM, OPEN, CUT, PREFIX = (100, 101), 1, 2, 10, 11, 50, 51, 60, 61, 62
END, EOS = 90, 91  # terminators of both phases
HEAD, TAIL = 20, 21  # of a character of two bytes
THINK, ANSWER = 70, 71  # END + one of them is a marker
PHANTOM = 200  # an id without a token


def make_plan(**changes):
    """Return a plan with a budget of 8 ids, an answer of 4 and no refusals, with ``changes``."""
    defaults = {
        "prompt_ids": PROMPT,
        "thinking_terminators": frozenset({END, EOS}),
        "answer_terminators": frozenset({END, EOS}),
        "max_thinking_tokens": 8,
        "num_ignore": 0,
        "ignore_ids": ((WAIT,),),
        "max_answer_tokens": 4,
        "max_context_tokens": 1000,
        "answer_ids": (OPEN,),
        "cut_answer_ids": (OPEN, CUT),
        "answer_prefix_ids": (PREFIX,),
        "line_break_ids": (NL,),
        "line_break_bearing": frozenset({NL}),
        "boundary_ids": frozenset({NL, DOT}),
        "fragments": {HEAD: b"\xc3", TAIL: b"\xa9"},
        "num_token_ids": PHANTOM,
        "thinking_marker_ids": (END, THINK),
        "answer_marker_ids": (END, ANSWER),
    }
    return ForcingPlan(**{**defaults, **changes})

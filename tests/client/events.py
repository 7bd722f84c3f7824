# SPDX-License-Identifier: Apache-2.0
"""A result and its parts, for tests that need them."""

from typing import Any

from s1_client import Result, Round, Usage

USAGE = Usage(
    num_prompt_tokens=9, num_output_ids=9, num_thinking_tokens=3, num_thinking_sampled=2, num_thinking_injected=1, num_grace_tokens=0,
    num_answer_tokens=1, num_answer_injected=4, num_terminators=2, num_dropped=0, num_ignored=1,
)  # fmt: skip
RESULT = Result(
    request_id="r",
    thinking_end="natural",
    answer_end="stop",
    usage=USAGE,
    rounds=(),
    effective={"thinking": "forced", "max_thinking_tokens": 80, "num_ignore": 1},
    total_ms=1000.0,
)


def round_with(**parts: Any) -> Round:
    """A round of thinking, of which only these parts matter."""
    return Round(**{
        "phase": "thinking", "num_prompt_tokens": 9, "num_sampled_tokens": 1, "num_dropped_tokens": 0, "ended_by": "terminator",
        "terminator_id": None, "refused_for": None, "injected_ids": [], "num_engine_calls": 1, "num_outages": 0,
        "kv_reused_blocks": None, "gap_ms": 0.0, "first_token_ms": None, "engine_ms": 0.0, **parts,
    })  # fmt: skip

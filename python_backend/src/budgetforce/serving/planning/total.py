# SPDX-License-Identifier: Apache-2.0
"""The cap of thinking and answer together, ``max_total_tokens``: what it leaves each of them. Independent of Triton."""

from __future__ import annotations

from budgetforce.errors import InvalidRequest
from budgetforce.serving.planning.defaults import value_or_default
from budgetforce.serving.requests.request import ReplyRequest


def refuse_parts_beyond_total(request: ReplyRequest) -> None:
    """Raise InvalidRequest for a part that alone exceeds ``max_total_tokens``, or for a thinking budget that leaves no answer."""
    total, grace = request.max_total_tokens, value_or_default(request.grace_tokens, 0)
    if total is None:
        return
    where = f"max_total_tokens {total} bounds thinking and answer together"
    if request.max_tokens is not None and request.max_tokens > total:
        raise InvalidRequest("max_tokens", request.max_tokens, f"1 to {total}: {where}")
    if grace >= total:
        raise InvalidRequest("grace_tokens", grace, f"0 to {total - 1}: {where}")
    if request.max_thinking_tokens is not None and request.max_thinking_tokens + grace >= total:
        raise InvalidRequest("max_thinking_tokens", request.max_thinking_tokens, f"-1 to {total - 1 - grace}: {where}")


def thinking_room(request: ReplyRequest, reserve: int) -> int | None:
    """Return the most that ``max_total_tokens`` leaves a thought, None without it.

    A budget of the request leaves the answer a single token. A default of the preset, which nobody chose for this total, leaves the
    answer its ``reserve``, or half of a total that is too small for that.
    """
    total, grace = request.max_total_tokens, request.grace_tokens or 0
    if total is None:
        return None
    is_chosen = request.max_thinking_tokens is not None and request.max_thinking_tokens >= 0
    least_answer = 1 if is_chosen else max(1, min(reserve, total // 2))
    return max(0, total - least_answer - grace)

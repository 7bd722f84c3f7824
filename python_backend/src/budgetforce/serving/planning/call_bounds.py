# SPDX-License-Identifier: Apache-2.0
"""Refusals of sampling values that exceed what the engine's library supports in a call, by the request's field. Independent of Triton."""

from __future__ import annotations

from collections.abc import Mapping

from budgetforce.core import Phase
from budgetforce.engine.base import Sampling
from budgetforce.engine.call_limits import CallLimits
from budgetforce.errors import InvalidRequest
from budgetforce.serving.requests.request import ReplyRequest, field_of


def check_call_bounds(limits: CallLimits, request: ReplyRequest, sampling: Mapping[Phase, Sampling], always_banned: frozenset[int]) -> None:
    """Raise InvalidRequest for a top-k or for bad words that the engine would silently cut, or crash on.

    ``always_banned``: ids that a call may ban in addition to bad words: rows without a token, and the terminators.
    """
    for phase, values in sampling.items():
        if limits.max_top_k is not None and (values.top_k or 0) > limits.max_top_k:
            allowed = f"0 to {limits.max_top_k}, which is this engine's limit (0 = off)"
            raise InvalidRequest(field_of("top_k", phase, request.thinking_sampling), values.top_k, allowed)
        if limits.max_banned_ids is not None:
            _check_banned(limits.max_banned_ids, field_of("bad_words", phase, request.thinking_sampling), values, always_banned)


def _check_banned(max_banned_ids: int, field: str, sampling: Sampling, always_banned: frozenset[int]) -> None:
    words = {word[0] for word in sampling.bad_words if len(word) == 1} - always_banned
    room = max_banned_ids - len(always_banned)
    if words and len(words) > room:
        allowed = f"at most {room}: this engine bans {max_banned_ids} ids in a call, and {len(always_banned)} are banned anyway"
        raise InvalidRequest(field, f"{len(words)} tokens", allowed)

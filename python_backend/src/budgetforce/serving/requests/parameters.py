# SPDX-License-Identifier: Apache-2.0
"""Refuses request parameters, the values beside the tensors, by name: they would have no effect. Independent of Triton.

Triton gives a model as request parameters: over HTTP, every key of the JSON body that is not an input tensor, including ``id``; over
gRPC, the ``parameters`` map without the keys that Triton uses itself (``sequence_id``, ``sequence_start``, ``sequence_end``,
``priority``, ``timeout`` and those that begin with ``triton_``); and the headers that the operator lets it forward. (Triton's server,
releases 24.10 and 26.07: src/http_server.cc, src/grpc/infer_handler.cc.)
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from budgetforce.errors import InvalidRequest, shorten
from budgetforce.serving.requests.tenant import HEADERS

MAX_BYTES = 16384  # of all request parameters together, including forwarded headers
# Names that other servers use for our fields, where the spelling alone does not suggest ours.
NAMES_ELSEWHERE = {
    "n": "num_samples",
    "stop": "stop_words",
    "prompt": "text_input",
    "random_seed": "seed",
    "runtime_top_k": "top_k",
    "runtime_top_p": "top_p",
    "thinking_budget": "max_thinking_tokens",
    "thinking_token_budget": "max_thinking_tokens",
    "max_new_tokens": "max_tokens",
    "request_output_len": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "timeout": "timeout_ms",
}


def refuse_parameters(
    parameters: Iterable[tuple[str, Any]], fields: Sequence[str], *, request_id: str, forwarded: re.Pattern[str] | None = None
) -> None:
    """Raise InvalidRequest for the first request parameter, if there is any; it suggests the field that may have been meant.

    Args:
        parameters: names and values; those that name the tenant are allowed.
        fields: the names of the model's input tensors.
        request_id: allowed as parameter ``id``, which HTTP requests have.
        forwarded: matches the names of forwarded headers, which are allowed.
    """
    for name, value in parameters:
        if (name == "id" and value == request_id) or name.lower() in HEADERS or (forwarded and forwarded.search(name)):
            continue
        raise InvalidRequest(shorten(name)[1:-1] or "request parameter", value, _allowed_instead(name, fields))


def read_parameters(parameters: str) -> Sequence[tuple[str, Any]]:
    """Return the names and values of a JSON object, as Triton gives it; a name may come twice, from a header and from the request.

    Raises InvalidRequest if it is too long, or not JSON.
    """
    if len(parameters) > MAX_BYTES:
        raise InvalidRequest("request parameters", f"{len(parameters)} characters", f"at most {MAX_BYTES}")
    try:
        read: Sequence[tuple[str, Any]] = json.loads(parameters or "{}", object_pairs_hook=list)
    except ValueError:
        raise InvalidRequest("request parameters", parameters, "numbers, strings and booleans that JSON can hold") from None
    return read


def _allowed_instead(name: str, fields: Sequence[str]) -> str:
    if name in fields:
        return f"nothing as a request parameter: {name} is an input tensor"
    near = NAMES_ELSEWHERE.get(name) or next(iter(difflib.get_close_matches(name.lower(), fields, 1)), None)
    return "the name of an existing field" + (f"; did you mean {near}?" if near else "")

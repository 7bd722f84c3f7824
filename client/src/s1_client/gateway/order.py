# SPDX-License-Identifier: Apache-2.0
"""An order: a caller's request as the server's fields, and the way in which the caller wants the reply. The common part of all APIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, create_model

from s1_client._fields import FIELDS
from s1_client._options import Prompt
from s1_client.gateway.errors import contradiction
from s1_client.gateway.shapes import neutral
from s1_client.gateway.spellings import BudgetFields, Names, budget_of

Fields = TypeVar("Fields", bound="OrderFields")
Text = Annotated[str, Field(max_length=512)]
Total = Annotated[int, Field(ge=1, le=2**31 - 1)]
MAX_MESSAGES = 2048  # the server's own limit unless its config.pbtxt says otherwise; 20,000 would block the other streams for 40 ms
NO_TOOLS = "this server has no tools"
NO_SCHEMA = "this server cannot hold an answer to a schema"
NO_LOGPROBS = "this server returns no log probabilities"
NO_STORE = "this server stores nothing"
NOT_HERE = "this server has no such function"


class OrderFields(BudgetFields):
    """Fields that all APIs share. Those that are declared by ``neutral`` are of other servers, and have no effect.

    Attributes of the class:
        totals: names of the fields that bound thinking and answer together.
    """

    totals: ClassVar[tuple[str, ...]] = ()

    model: str
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: Text | None = None
    metadata: dict[str, str | None] | None = None
    safety_identifier: Text | None = None
    prompt_cache_key: Text | None = None
    service_tier: neutral("auto", "default", why=NOT_HERE) = None  # type: ignore[valid-type]
    store: neutral(False, why=NO_STORE) = None  # type: ignore[valid-type]
    # ours, beside the server's request fields
    max_total_tokens: Total | None = None
    max_answer_tokens: Total | None = None
    reasoning_field: Names | None = None
    include_events: bool | None = None


# Names of OpenAI's -> request fields of the server. The server's max_tokens bounds the answer alone, OpenAI's bounds the whole reply.
RENAMED = {"n": "num_samples", "stop": "stop_words", "stop_sequences": "stop_words", "max_answer_tokens": "max_tokens"}
_TYPES: dict[str, Any] = {"INT32": int, "UINT64": int, "FP32": float, "BYTES": str}


def with_server_fields(model: type[Fields]) -> type[Fields]:
    """Return a request model with all request fields of the server that it does not declare itself, under their own names."""
    taken = {*model.model_fields, *RENAMED.values()}
    declared: dict[str, Any] = {}
    for row in FIELDS.values():
        if row.name not in taken:
            kind = str | list[str] if row.is_list else _TYPES[row.datatype]
            declared[row.name] = (kind | None, Field(None, description=row.help))
    return create_model(model.__name__.removeprefix("_"), __base__=model, __doc__=model.__doc__, **declared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the server gets, and what the caller wants back.

    Attributes:
        prompt: a text, or chat messages.
        options: request fields of the server.
        spelled: request field -> its path in the caller's body.
        dropped: paths of the parts of the body that have no meaning for the model; the account names them.
        num_samples: choices of the reply.
        is_streamed: whether the caller wants events.
        is_shown: whether the thought is sent.
        reasoning_field: the name of the thought in a reply; None = the gateway's default.
        include_events: whether each chunk says which event of the server it is.
    """

    prompt: Prompt
    options: Mapping[str, Any]
    spelled: Mapping[str, str]
    dropped: tuple[str, ...]
    num_samples: int
    is_streamed: bool
    is_shown: bool
    reasoning_field: str | None
    include_events: bool


def order_of(request: OrderFields, prompt: Prompt, prompt_path: str, dropped: Sequence[str] = ()) -> Order:
    """Return the order of a request. Raises Refusal (400) for fields that contradict each other.

    ``prompt``: the request's prompt in the server's words; it stands at ``prompt_path`` of the body.
    """
    options, spelled = _plain_options(request)
    budget = budget_of(request)
    bounds, names = _bounds(request)
    options = {**options, **budget.options, **bounds}
    return Order(
        prompt=prompt,
        options=options,
        spelled={**spelled, **budget.spelled, **names, "text_input": prompt_path, "messages": prompt_path},
        dropped=tuple(dropped),
        num_samples=options.get("num_samples", 1),
        is_streamed=bool(request.stream),
        is_shown=budget.is_shown,
        reasoning_field=request.reasoning_field,
        include_events=bool(request.include_events),
    )


def _plain_options(request: OrderFields) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the request fields of the server that are set under their own or OpenAI's name, with their names in the body."""
    others = {*BudgetFields.model_fields, *request.totals}
    options: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for name in type(request).model_fields:
        field = RENAMED.get(name, name)
        if name not in others and field in FIELDS:
            if field != name:
                spelled[field] = name
            if (value := getattr(request, name)) is not None:
                options[field] = value
    return options, spelled


def _bounds(request: OrderFields) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options that bound the whole reply, with the path that set them. What they leave a budget is the server's rule."""
    given = [(name, value) for name in request.totals if (value := getattr(request, name)) is not None]
    if not given:
        return {}, {}
    (name, total), *others = given
    for other, value in others:
        if value != total:
            raise contradiction(name, other, "both set the tokens of thinking and answer together")
    return {"max_total_tokens": total}, {"max_total_tokens": name}

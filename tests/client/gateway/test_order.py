# SPDX-License-Identifier: Apache-2.0
"""The bound of thinking and answer together, for a server that knows it and for one that does not."""

import pytest

from s1_client.gateway import order
from s1_client.gateway.errors import Refusal
from s1_client.gateway.order import OrderFields, total_options
from s1_client.gateway.shapes import validated
from s1_client.gateway.spellings import budget_of


def bounds(total, options=(), **fields):
    budget = budget_of(validated(OrderFields, {"model": "s1", **fields}))
    return total_options("max_tokens", total, budget, dict(options))


def test_a_server_that_knows_the_bound_gets_it(monkeypatch):
    monkeypatch.setattr(order, "FIELDS", {**order.FIELDS, "max_total_tokens": None})
    assert bounds(100, reasoning_effort="low") == ({"max_total_tokens": 100}, {"max_total_tokens": "max_tokens"})


@pytest.fixture
def without(monkeypatch):
    """A server without the field."""
    monkeypatch.setattr(order, "FIELDS", {name: row for name, row in order.FIELDS.items() if name != "max_total_tokens"})


@pytest.mark.parametrize(
    ("total", "fields", "expected"),
    [
        (256, {}, {"max_thinking_tokens": 128, "max_tokens": 128}),
        (4096, {}, {"max_thinking_tokens": 3584, "max_tokens": 512}),
        (1, {}, {"max_thinking_tokens": 0, "max_tokens": 1}),
        (100, {"thinking_budget": 99}, {"max_thinking_tokens": 99, "max_tokens": 1}),
        (100, {"thinking_budget": 0}, {"max_thinking_tokens": 0, "max_tokens": 100}),
        (100, {"thinking_budget": -1}, {"max_thinking_tokens": 50, "max_tokens": 50}),
        (100, {"enable_thinking": False}, {"max_tokens": 100}),
    ],
)
@pytest.mark.usefixtures("without")
def test_another_server_gets_two_parts_that_add_up(total, fields, expected):
    options, spelled = bounds(total, **fields)
    assert options == expected
    assert set(spelled.values()) == {"max_tokens"}


@pytest.mark.usefixtures("without")
def test_two_parts_cannot_hold_an_effort_or_a_cap_of_the_answer():
    for fields, options in (({"think": "low"}, {}), ({}, {"max_tokens": 5})):
        with pytest.raises(Refusal, match="it has no field max_total_tokens"):
            bounds(100, options, **fields)

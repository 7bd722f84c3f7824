# SPDX-License-Identifier: Apache-2.0
"""The bound of thinking and answer together is the server's field, under every name and beside every budget."""

import pytest

from s1_client.gateway.order import OrderFields, order_of
from s1_client.gateway.shapes import validated


class Fields(OrderFields):
    """A request with two names of the bound."""

    totals = ("max_completion_tokens", "max_total_tokens")
    max_completion_tokens: int | None = None


@pytest.mark.parametrize("name", Fields.totals)
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"think": "low"}, {"reasoning_effort": "low"}),
        ({"thinking_budget": 9}, {"max_thinking_tokens": 9}),
        ({"think": False}, {"thinking": "off"}),
    ],
)
def test_the_bound_is_sent_as_it_is(name, fields, expected):
    order = order_of(validated(Fields, {"model": "s1", name: 100, **fields}), "hi", "messages")
    assert order.options == {"max_total_tokens": 100, **expected}
    assert order.spelled["max_total_tokens"] == name

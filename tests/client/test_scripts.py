# SPDX-License-Identifier: Apache-2.0
"""The scripts of a fake server's model. (The replies to them: behaviour.py, which also runs against the real server.)"""

import pytest

from s1_client import Client, Overloaded
from s1_client.testing import FakeServer, Script


@pytest.mark.parametrize("wrong", [
    {"thinking": None}, {"thinking": ()}, {"thinking": ["a"]}, {"thinking": ("a", 5)}, {"answer": 3}, {"error": ValueError("x")},
    {"error": Overloaded}, {"start_delay_s": -1}, {"token_delay_s": float("nan")}, {"error_after": -1},
])  # fmt: skip
@pytest.mark.parametrize("method", ["says", "will_say"])
def test_a_script_that_no_model_could_follow_is_refused_where_it_is_written(method, wrong):
    (name,) = wrong
    with pytest.raises((TypeError, ValueError), match=f"{name}: got .*, allowed: "):
        getattr(FakeServer(), method)(**wrong)


@pytest.mark.parametrize("method", ["says", "will_say"])
def test_every_part_of_a_script_is_a_parameter(method):
    expected = {"thinking": ("a", "b"), "answer": "c", "start_delay_s": 0.01, "token_delay_s": 0.02, "error": None, "error_after": 0}
    assert set(expected) == set(Script.__dataclass_fields__)
    with FakeServer() as server, Client(server.url) as client:
        getattr(server, method)(**expected)
        reply = client.think("hi", num_ignore=1, ignore_str="-")
        assert (reply.thinking, reply.answer) == ("a-b", "c")

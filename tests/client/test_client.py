# SPDX-License-Identifier: Apache-2.0
"""The client without a server. (With one: tests/server.)"""

import pytest

from s1_client import Client, ConnectionFailed


def test_a_closed_client_says_so():
    """Not in gRPC's words, nor as its error."""
    with Client("127.0.0.1:1") as client:
        pass
    with pytest.raises(ConnectionFailed, match="has been closed"):
        client.think("hi")


def test_think_is_for_one_sample():
    with Client("127.0.0.1:1") as client, pytest.raises(TypeError, match=r"samples\(\)"):
        client.think("hi", num_samples=2)

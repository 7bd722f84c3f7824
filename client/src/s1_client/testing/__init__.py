# SPDX-License-Identifier: Apache-2.0
"""A fake server for the tests of programs that use this library: in the test's own process, without Triton or a model.

from s1_client import Client
from s1_client.testing import FakeServer

with FakeServer() as server, Client(server.url) as client:
    server.will_say(thinking="three r, I think", answer=" 3")
    assert client.think("How many r in raspberry").answer == " 3"
    assert server.requests[-1].prompt == "How many r in raspberry"

It sends the real server's messages over a real connection, and enforces budgets: on words instead of tokens. It refuses a
field's value as the real server does, as far as that depends on the field alone, not on a model or a preset.
"""

from s1_client.testing._forcing import Script
from s1_client.testing._server import FakeServer, ReceivedRequest

__all__ = ["FakeServer", "ReceivedRequest", "Script"]

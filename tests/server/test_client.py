# SPDX-License-Identifier: Apache-2.0
"""The clients and the real server. (The same against the fake one: tests/client/test_fake_server.py.)"""

import pytest

from client.behaviour import *  # noqa: F403  # the tests
from client.network import *  # noqa: F403  # those with a bad network

END, EOS = 2, 0


class Served:
    """The real server over the scripted engine, for the suite."""

    model = "s1_scripted"

    def __init__(self, url, scripts, tokenizer):
        self.url = url
        self._scripts, self._tokenizer = scripts, tokenizer
        self._written = {}

    def says(self, *, thinking=" one two three", answer=" four", num_ends=1, delay_ms=0, error_after=None):
        faults = {} if error_after is None else {"error_after": error_after}
        script = self._scripts.write(*self._thoughts(thinking, num_ends), [*self._ids(answer), EOS], delay_ms=delay_ms, **faults)
        self._written[script.question] = script
        return script.question

    def _thoughts(self, thinking, num_ends):
        return [] if thinking is None else [[*self._ids(thinking), END]] * num_ends

    def _ids(self, text):
        return self._tokenizer.encode(text)

    def was_stopped(self, question):
        script = self._written[question]
        return script.notes("stopped") or script.notes("cancelled")


@pytest.fixture
def served(triton, scripts, tokenizer):
    return Served(triton.grpc_url, scripts, tokenizer)

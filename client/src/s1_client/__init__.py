# SPDX-License-Identifier: Apache-2.0
"""Ask a reasoning model on Triton, with a thinking budget.

from s1_client import Client

with Client("127.0.0.1:8001") as client:
    reply = client.think("How many r in raspberry", max_thinking_tokens=200, num_ignore=1)
print(reply.answer)
"""

from s1_client._client import Client
from s1_client._errors import (
    Cancelled,
    ConnectionFailed,
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    Overloaded,
    S1Error,
    ServerFailed,
    ServerUnavailable,
)
from s1_client._types import AnswerDelta, AnswerOpened, Done, Event, Injected, Reply, Result, Round, ThinkingDelta, ThinkingOpened, Usage

__all__ = [
    "AnswerDelta",
    "AnswerOpened",
    "Cancelled",
    "Client",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Done",
    "EngineFailed",
    "Event",
    "Injected",
    "InvalidRequest",
    "Overloaded",
    "Reply",
    "Result",
    "Round",
    "S1Error",
    "ServerFailed",
    "ServerUnavailable",
    "ThinkingDelta",
    "ThinkingOpened",
    "Usage",
]

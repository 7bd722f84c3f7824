# SPDX-License-Identifier: Apache-2.0
"""Client library for reasoning models on Triton, with a thinking budget.

from s1_client import Client

with Client("127.0.0.1:8001") as client:
    reply = client.think("How many r in raspberry", max_thinking_tokens=200, num_ignore=1)
print(reply.answer)
"""

import logging

from s1_client._aio import AsyncClient
from s1_client._aio_stream import AsyncStream
from s1_client._batch import Outcome, Request
from s1_client._client import Client
from s1_client._errors import (
    AccessDenied,
    Cancelled,
    ConnectionFailed,
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    Overloaded,
    S1Error,
    ServerFailed,
    ServerNotReady,
)
from s1_client._options import CallOptions, Options, Prompt
from s1_client._settings import TLS
from s1_client._stream import Stream
from s1_client._types import (
    AnswerDelta,
    AnswerOpened,
    Done,
    Event,
    Injected,
    Partial,
    Reply,
    Result,
    Round,
    RoundEnded,
    ThinkingDelta,
    ThinkingOpened,
    TrainingRecord,
    Usage,
)

__all__ = [
    "TLS",
    "AccessDenied",
    "AnswerDelta",
    "AnswerOpened",
    "AsyncClient",
    "AsyncStream",
    "CallOptions",
    "Cancelled",
    "Client",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Done",
    "EngineFailed",
    "Event",
    "Injected",
    "InvalidRequest",
    "Options",
    "Outcome",
    "Overloaded",
    "Partial",
    "Prompt",
    "Reply",
    "Request",
    "Result",
    "Round",
    "RoundEnded",
    "S1Error",
    "ServerFailed",
    "ServerNotReady",
    "Stream",
    "ThinkingDelta",
    "ThinkingOpened",
    "TrainingRecord",
    "Usage",
]

logging.getLogger("s1_client").addHandler(logging.NullHandler())

# SPDX-License-Identifier: Apache-2.0
"""The wire protocol, without a connection, a thread or a clock: requests to messages, messages to events, statuses to errors."""

from s1_client._wire.messages import (
    MODEL,
    OPTIONS,
    answer_to_command,
    check_options,
    command_request,
    event_of,
    id_of_attempt,
    infer_request,
    name_of,
    raise_error,
    read_events,
    streaming_method,
)
from s1_client._wire.routing import routing_headers

__all__ = [
    "MODEL",
    "OPTIONS",
    "answer_to_command",
    "check_options",
    "command_request",
    "event_of",
    "id_of_attempt",
    "infer_request",
    "name_of",
    "raise_error",
    "read_events",
    "routing_headers",
    "streaming_method",
]

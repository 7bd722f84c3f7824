# SPDX-License-Identifier: Apache-2.0
"""Cancel a stream, and read what had arrived by then."""

from s1_client import Cancelled, Client, ThinkingDelta

with Client() as client:
    try:
        with client.stream("Tell me a long story", min_thinking_tokens=1400) as stream:
            for event in stream:
                if isinstance(event, ThinkingDelta):
                    stream.cancel()  # from any thread
    except Cancelled as error:
        print(error.retryable, [partial.thinking for partial in error.partial])

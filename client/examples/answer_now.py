# SPDX-License-Identifier: Apache-2.0
"""Close the thinking of a running request by its id; the answer follows at once."""

from s1_client import Client, ThinkingDelta

with Client() as client:
    is_sent = False
    for event in client.stream("Tell me a long story", request_id="story", min_thinking_tokens=1500, max_tokens=8):
        if isinstance(event, ThinkingDelta) and not is_sent:
            client.answer_now("story")
            is_sent = True
    print(event.result.thinking_end)  # answer_now

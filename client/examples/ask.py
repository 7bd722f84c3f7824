# SPDX-License-Identifier: Apache-2.0
"""Ask one question, then stream a reply to another."""

from s1_client import AnswerDelta, Client, Injected, ThinkingDelta

with Client() as client:  # at 127.0.0.1:8001, or $S1_URL
    reply = client.think("How many r in raspberry", max_thinking_tokens=100, num_ignore=1)
    print(reply.answer, reply.usage.num_thinking_tokens, reply.thinking_end)

    for event in client.stream("What is 479 + 384?", num_ignore=1):
        if isinstance(event, ThinkingDelta | Injected | AnswerDelta):
            print(event.text, end="", flush=True)

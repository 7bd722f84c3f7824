# SPDX-License-Identifier: Apache-2.0
"""Show each kind of event of a stream."""

from s1_client import AnswerDelta, Client, Injected, RoundEnded, ThinkingDelta

with Client() as client, client.stream("What is 479 + 384?", max_thinking_tokens=60) as stream:
    for event in stream:
        match event:
            case ThinkingDelta(text=text) | AnswerDelta(text=text):
                print(text, end="", flush=True)
            case Injected(text=text):  # by the server: "Wait", "Final Answer:"
                print(f"[{text}]", end="")
            case RoundEnded(round=finished):
                print(f"({finished.ended_by} after {finished.num_sampled_tokens})", end="")
    print(stream.reply().usage)

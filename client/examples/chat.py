# SPDX-License-Identifier: Apache-2.0
"""Hold a chat of two turns; earlier answers go back to the model without the injected prefix."""

from s1_client import Client

messages = [{"role": "system", "content": "Answer in one sentence."}]
with Client() as client:
    for question in ("What is the capital of France?", "And of Italy?"):
        messages.append({"role": "user", "content": question})
        reply = client.think(messages, max_thinking_tokens=60, max_tokens=30)
        messages.append({"role": "assistant", "content": reply.answer_text or "(no answer)"})
        print(reply.answer_text)

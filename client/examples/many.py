# SPDX-License-Identifier: Apache-2.0
"""Send many requests over one connection, and set options for several calls."""

from s1_client import Client, Request

questions = ["What is 2 + 2?", Request(prompt="Name a prime", options={"num_ignore": 2}), Request(prompt="Hi", options={"top_p": 7.0})]
with Client() as client:
    for outcome in client.map(questions, concurrency=64, max_thinking_tokens=30, max_tokens=8):
        print(outcome.index, outcome.error or outcome.reply.answer)

    terse = client.with_options(max_thinking_tokens=10, max_tokens=8, deadline_s=60)
    print([reply.answer for reply in terse.samples("Say a number", num_samples=3, temperature=1.0)])
    print(terse.think("Say a word", deadline_s=20, max_retries=0).answer_text)

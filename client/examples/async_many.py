# SPDX-License-Identifier: Apache-2.0
"""Stream, answer early and send many requests with asyncio."""

import asyncio

from s1_client import AsyncClient


async def main():
    async with AsyncClient() as client:
        async with client.stream("What is 479 + 384?", max_thinking_tokens=30, max_tokens=8) as stream:
            async for event in stream:
                print(event.text, end="", flush=True)
            print((await stream.reply()).usage)
        async with client.stream("Tell me a long story", min_thinking_tokens=200, max_tokens=8) as stream:
            await stream.answer_now()
            print((await stream.reply()).thinking_end)
        async for outcome in client.map(["one", "two"], max_thinking_tokens=10, max_tokens=4):
            print(outcome.reply.answer)


asyncio.run(main())

# SPDX-License-Identifier: Apache-2.0
"""The asynchronous client behind the interface of the other client, so that a single suite tests both."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from s1_client import AsyncClient


class Loop:
    """An event loop that runs on a thread of its own."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, awaitable):
        async def awaited():
            return await awaitable

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()

    def call(self, function, *arguments, **options):
        """Call a function on the loop's thread, and return its result."""

        if self._loop.is_closed():
            raise RuntimeError("the loop has stopped")

        async def called():
            return function(*arguments, **options)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result()

    def drop(self, attributes):
        """Release the last references on the loop's thread, whichever thread the collector runs on."""
        self._loop.call_soon_threadsafe(attributes.clear)

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class BlockingStream:
    def __init__(self, loop, stream):
        self._loop, self._stream = loop, stream

    def __iter__(self):
        return self

    def __next__(self):
        async def following():
            return await anext(self._stream, None)

        event = self._loop.run(following())
        if event is None:
            raise StopIteration
        return event

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        with contextlib.suppress(RuntimeError):  # the loop has stopped, and all with it
            self._loop.drop(self.__dict__.copy())

    def __getattr__(self, name):
        value = getattr(self._stream, name)
        return (lambda *a: self._loop.run(value(*a))) if asyncio.iscoroutinefunction(value) else value


class BlockingClient:
    """``Client``, made of ``AsyncClient``."""

    def __init__(self, *arguments, loop=None, client=None, **settings):
        self._loop = loop or Loop()
        self._client = client or self._loop.call(AsyncClient, *arguments, **settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self._loop.stop()

    def stream(self, *arguments, **options):
        return BlockingStream(self._loop, self._loop.call(self._client.stream, *arguments, **options))

    def with_options(self, **changes):
        return BlockingClient(loop=self._loop, client=self._client.with_options(**changes))

    def map(self, *arguments, **options):
        outcomes = self._client.map(*arguments, **options)

        async def following():
            return await anext(outcomes, None)

        try:
            while (outcome := self._loop.run(following())) is not None:
                yield outcome
        finally:
            self._loop.run(outcomes.aclose())

    def __getattr__(self, name):
        value = getattr(self._client, name)
        return lambda *arguments, **options: self._loop.run(value(*arguments, **options))

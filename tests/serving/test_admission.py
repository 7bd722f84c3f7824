# SPDX-License-Identifier: Apache-2.0
"""Admission limits running replies and their tokens; other requests queue in order, and a full queue rejects them."""

import asyncio

import pytest

from budgetforce.errors import InvalidRequest, Overloaded
from budgetforce.serving.admission import Admission
from budgetforce.serving.room import Limits
from budgetforce.serving.room import Room as Policy


class Room:
    """An admission and requests that stay until they are let go; the order in which they came in."""

    def __init__(self, *, max_replies=2, max_kv_tokens=0, max_waiting=10):
        self.admission = Admission(Limits(max_replies=max_replies, max_kv_tokens=max_kv_tokens, max_waiting=max_waiting))
        self.inside = []
        self._exits = {}

    async def request(self, name, *, num_replies=1, num_tokens=1, priority=0):
        exit_, task = asyncio.Event(), None

        async def stay():
            async with self.admission.admit(num_replies=num_replies, num_tokens=num_tokens, priority=priority):
                self.inside.append(name)
                await exit_.wait()

        task = asyncio.ensure_future(stay())
        self._exits[name] = exit_, task
        await asyncio.sleep(0)
        return task

    async def leave(self, name):
        exit_, task = self._exits[name]
        exit_.set()
        await task
        for _ in range(3):
            await asyncio.sleep(0)


def test_as_many_run_as_there_is_room_for_and_the_others_come_in_order():
    async def scenario():
        room = Room()
        for name in "abcd":
            await room.request(name)
        assert (room.inside, room.admission.num_running, room.admission.num_waiting) == (["a", "b"], 2, 2)
        await room.leave("b")
        await room.leave("a")
        assert room.inside == ["a", "b", "c", "d"]
        await room.leave("c")
        await room.leave("d")
        assert (room.admission.num_running, room.admission.num_waiting) == (0, 0)

    asyncio.run(scenario())


def test_a_higher_priority_goes_first_and_equals_keep_their_order():
    async def scenario():
        room = Room(max_replies=1)
        await room.request("first")
        for name, priority in (("low", -1), ("a", 0), ("high", 5), ("b", 0)):
            await room.request(name, priority=priority)
        for name in ("first", "high", "a", "b", "low"):
            assert room.inside[-1] == name
            await room.leave(name)

    asyncio.run(scenario())


class Samples:
    """Requests whose samples run until they are told to end; the order in which samples began."""

    def __init__(self, *, max_replies, max_kv_tokens=0, max_waiting=10):
        self.admission = Admission(Limits(max_replies=max_replies, max_kv_tokens=max_kv_tokens, max_waiting=max_waiting))
        self.begun, self._ends = [], {}

    async def request(self, name, num_samples, *, num_tokens=1, priority=0):
        async def sample(admitted):
            async with admitted.sample():
                self.begun.append(name)
                end = self._ends.setdefault(name, asyncio.Semaphore(0))
                await end.acquire()

        async def run():
            async with self.admission.admit(num_replies=num_samples, num_tokens=num_tokens, priority=priority) as admitted:
                await asyncio.gather(*(sample(admitted) for _ in range(num_samples)))

        task = asyncio.ensure_future(run())
        await self._settle()
        return task

    async def end_one(self, name):
        self._ends[name].release()
        await self._settle()

    async def _settle(self):
        for _ in range(10):
            await asyncio.sleep(0)


def test_a_request_of_many_samples_leaves_room_for_the_first_sample_of_another():
    """Four of 64 samples each do not fill 256 places: a new request begins at once, not when one of them has ended."""

    async def scenario():
        room = Samples(max_replies=256)
        for name in "abcd":
            await room.request(name, 64)
        assert room.admission.num_running == 224
        await room.request("new", 1)
        assert room.begun[-1] == "new"
        assert room.admission.num_waiting == 0

    asyncio.run(scenario())


def test_a_free_place_goes_to_the_request_with_the_fewest_running_samples():
    async def scenario():
        room = Samples(max_replies=8)  # seven of them for further samples
        await room.request("a", 8)
        await room.request("b", 3)
        assert room.begun == ["a"] * 7 + ["b"]
        for _ in range(2):
            await room.end_one("a")
        assert room.begun[8:] == ["b"]  # the first of the two was the place kept free
        await room.end_one("a")
        assert room.begun[9:] == ["b"]
        await room.end_one("a")
        assert room.begun[10:] == ["a"]

    asyncio.run(scenario())


def test_a_request_of_many_samples_is_not_starved_by_small_ones_that_keep_coming():
    """When none of its samples runs, its turn is that of the time at which it came."""

    async def scenario():
        room = Samples(max_replies=2)
        await room.request("first", 2)
        await room.request("large", 2)
        for number in (1, 2, 3):
            await room.request(f"small {number}", 1)
        for ended, begun in (("first", "large"), ("first", "small 1"), ("large", "large"), ("large", "small 2")):
            await room.end_one(ended)
            assert room.begun.pop() == begun
        assert room.begun == ["first"] * 2

    asyncio.run(scenario())


def test_reserved_room_is_for_new_requests_of_the_highest_waiting_priority():
    async def scenario():
        room = Samples(max_replies=8)
        await room.request("high", 8, priority=5)
        await room.request("low", 1)
        assert room.begun == ["high"] * 7
        await room.request("equal", 1, priority=5)
        assert room.begun[7:] == ["equal"]

    asyncio.run(scenario())


def test_the_samples_of_a_high_priority_are_not_starved_by_a_flood_of_new_low_ones():
    async def scenario():
        room = Samples(max_replies=16, max_waiting=100)
        for _ in range(40):
            await room.request("low", 1)
        await room.request("high", 4, priority=5)
        for _ in range(6):
            await room.end_one("low")
        assert room.begun == ["low"] * 16 + ["high"] * 4 + ["low"] * 2  # the two places that were kept free

    asyncio.run(scenario())


@pytest.mark.parametrize("num_places", range(1, 8))
def test_with_fewer_than_eight_places_none_is_reserved(num_places):
    """The samples of a request that is alone need not go one after the other."""

    async def scenario():
        room = Samples(max_replies=num_places, max_kv_tokens=10 * num_places)
        await room.request("alone", num_places, num_tokens=10 * num_places)
        assert room.begun == ["alone"] * num_places

    asyncio.run(scenario())


def test_tokens_are_reserved_too():
    async def scenario():
        room = Samples(max_replies=100, max_kv_tokens=80)
        await room.request("a", 8, num_tokens=80)
        assert room.begun == ["a"] * 7
        await room.request("b", 1, num_tokens=10)
        assert room.begun[7:] == ["b"]

    asyncio.run(scenario())


def test_tokens_are_a_limit_too():
    async def scenario():
        room = Room(max_kv_tokens=100)
        await room.request("a", num_tokens=60)
        await room.request("b", num_tokens=60)
        assert room.inside == ["a"]
        await room.leave("a")
        assert room.inside == ["a", "b"]
        with pytest.raises(InvalidRequest, match="101 tokens in all.*come to 100 tokens"):
            await (await room.request("never", num_tokens=101))

    asyncio.run(scenario())


def test_more_samples_than_can_ever_run_are_refused():
    async def scenario():
        with pytest.raises(InvalidRequest, match="num_samples.*got 3, allowed: 1 to 2"):
            await (await Room().request("many", num_replies=3))

    asyncio.run(scenario())


def test_a_full_queue_rejects_at_once_and_says_when_to_retry():
    async def scenario():
        room = Room(max_replies=1, max_waiting=1)
        await room.request("a")
        await room.request("b")
        with pytest.raises(Overloaded, match=r"1 of 1 replies run and 1 of 1 requests wait; retry after [\d.]+ s") as turned_away:
            await (await room.request("c"))
        assert turned_away.value.retry_after_s > 0
        assert room.admission.num_waiting == 1

    asyncio.run(scenario())


def test_a_burst_is_not_looked_through_for_each_of_its_requests(monkeypatch):
    """Thousands may wait for a worker at once, on the thread on which all tokens arrive."""
    looked_at = []
    choose = Policy.next

    def counted(self, waiting):
        looked_at.append(len(waiting))
        return choose(self, waiting)

    monkeypatch.setattr(Policy, "next", counted)
    begun = []

    async def scenario():
        admission = Admission(Limits(max_replies=2, max_kv_tokens=0, max_waiting=1000))

        async def serve(number):
            async with admission.admit(num_replies=1, num_tokens=1, tenant="ab"[number % 2]):
                begun.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*map(serve, range(100)))
        assert (admission.num_running, admission.num_waiting) == (0, 0)

    asyncio.run(scenario())
    assert begun == list(range(100))
    assert max(looked_at) == 2  # the oldest of each tenant
    assert len(looked_at) <= 2 * 100 + 1


def test_a_request_that_gives_up_waiting_lets_the_next_one_in():
    async def scenario():
        room = Room(max_replies=2, max_kv_tokens=100)
        await room.request("a", num_tokens=10)
        large = await room.request("large", num_tokens=100)
        await room.request("small", num_tokens=10)
        large.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert room.inside == ["a", "small"]
        assert (room.admission.num_running, room.admission.num_waiting) == (2, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("order", [("cancel", "leave"), ("leave", "cancel")])
def test_giving_up_in_the_moment_of_being_admitted_leaks_nothing(order):
    """Either may be seen first; the room is free afterwards."""

    async def scenario():
        room = Room(max_replies=1)
        await room.request("a")
        waiting = await room.request("b")
        for step in order:
            if step == "cancel":
                waiting.cancel()
            else:
                room._exits["a"][0].set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (room.admission.num_running, room.admission.num_waiting) == (0, 0)

    asyncio.run(scenario())


def test_a_request_that_fails_releases_its_room():
    async def scenario():
        admission = Admission(Limits(max_replies=1, max_kv_tokens=0, max_waiting=0))
        with pytest.raises(RuntimeError):
            async with admission.admit(num_replies=1, num_tokens=1):
                raise RuntimeError
        assert admission.num_running == 0

    asyncio.run(scenario())

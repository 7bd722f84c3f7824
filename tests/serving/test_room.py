# SPDX-License-Identifier: Apache-2.0
"""Who gets room next, over every short world: a few requests of tenants, and every order in which samples begin and end."""

import itertools

import pytest

from budgetforce.serving.room import Candidate, Limits, Room

A, B, NOBODY = "a", "b", ""


class World:
    """A room and requests that want some samples each; ``begun`` names the requests in the order in which samples began."""

    def __init__(self, requests, **limits):
        """``requests``: (tenant, number of samples, priority) of each, in the order of arrival."""
        self.room = Room(Limits(**{"max_replies": 3, "max_kv_tokens": 0, "max_waiting": 9, **limits}))
        self.wanted, self.running, self.begun = {}, {}, []
        for number, (tenant, num_samples, priority) in enumerate(requests):
            request = Candidate(tenant=self.room.arrive(tenant), priority=priority, number=number, num_tokens=1)
            self.wanted[request], self.running[request] = num_samples, 0

    @property
    def waiting(self):
        return [request for request, number in self.wanted.items() if number]

    def fill(self):
        """Give room for as long as there is any, and check the promises at every step."""
        while (request := self.room.next(self.waiting)) is not None:
            self.check(request)
            self.wanted[request] -= 1
            self.running[request] += 1
            self.room.occupy(request)
            self.begun.append(request.number)
        return self

    def end(self, request):
        self.running[request] -= 1
        self.room.vacate(request)
        return self.fill()

    def check(self, chosen):
        limits, others = self.room.limits, [request for request in self.waiting if not self.room.is_at_limit(request.tenant)]
        assert chosen in others
        assert self.room.num_replies < limits.max_replies
        assert chosen.priority == max(request.priority for request in others)
        equals = [request for request in others if request.priority == chosen.priority]
        fits_all = self.room.num_replies < limits.max_replies - limits.max_replies // 8
        rivals = equals if fits_all else [request for request in equals if request.is_newcomer]
        assert chosen.tenant.num_running == min(request.tenant.num_running for request in rivals)
        own = [request for request in rivals if request.tenant is chosen.tenant]
        assert (chosen.num_running, chosen.number) == min((request.num_running, request.number) for request in own)

    def check_accounts(self):
        assert self.room.num_replies == sum(self.running.values()) == self.room.num_tokens
        for tenant in {request.tenant for request in self.wanted}:
            assert tenant.num_running == sum(number for request, number in self.running.items() if request.tenant is tenant)

    def check_nothing_idles(self):
        """Who waits although there is a place is at a limit, or the place is kept for newcomers."""
        limits = self.room.limits
        free = limits.max_replies - self.room.num_replies
        may_start = [request for request in self.waiting if not self.room.is_at_limit(request.tenant)]
        assert not may_start or free <= limits.max_replies // 8


def walk(world, rebuild, path=()):
    """Every order in which running samples can end."""
    world.check_accounts()
    world.check_nothing_idles()
    running = [request.number for request, number in world.running.items() if number]
    if not running:
        assert not world.waiting  # nobody is left waiting in an empty room
        return 1
    worlds = 0
    for number in running:
        follower = rebuild()
        for step in (*path, number):
            follower.end(next(request for request in follower.running if request.number == step))
        worlds += walk(follower, rebuild, (*path, number))
    return worlds


REQUESTS = [(tenant, num_samples, priority) for tenant in (NOBODY, A, B) for num_samples in (1, 2) for priority in (0, 1)]


@pytest.mark.parametrize("max_tenant_replies", [0, 1, 2])
def test_in_every_short_world_the_tenant_with_the_fewest_running_samples_goes_first(max_tenant_replies):
    num_worlds = 0
    for requests in itertools.product(REQUESTS, repeat=3):
        if sum(num_samples for _, num_samples, _ in requests) <= 4:

            def rebuild(requests=requests):
                return World(requests, max_replies=2, max_tenant_replies=max_tenant_replies).fill()

            num_worlds += walk(rebuild(), rebuild)
    assert num_worlds > 3000


def test_a_place_is_kept_for_newcomers_whoever_has_work_for_all():
    """Of nine places one is kept: any four requests of the others do not take it."""
    for tenants in itertools.product((NOBODY, A, B), repeat=4):
        world = World([(tenant, 9, 0) for tenant in tenants], max_replies=9).fill()
        assert world.room.num_replies == 8
        newcomer = Candidate(tenant=world.room.arrive("c"), priority=0, number=9, num_tokens=1)
        assert world.room.next([*world.waiting, newcomer]) is newcomer


def test_a_single_named_tenant_cannot_take_all_places_even_with_new_requests():
    """Without tenants it may, as ever: then all are one."""
    named, unnamed = (World([(tenant, 1, 0)] * 300, max_replies=256).fill() for tenant in (A, NOBODY))
    assert (named.room.num_replies, unnamed.room.num_replies) == (224, 256)


def test_four_requests_of_64_samples_leave_room_and_a_free_place_goes_to_the_other_tenant():
    world = World([(A, 64, 0)] * 4 + [(B, 64, 0)], max_replies=256).fill()
    assert world.begun.count(4) == 64
    assert world.room.num_replies == 224
    first = World([(A, 64, 0)] * 4, max_replies=256).fill()
    late = Candidate(tenant=first.room.arrive(B), priority=0, number=4, num_tokens=1)
    first.wanted[late], first.running[late] = 64, 0
    first.fill()
    assert first.begun[-1:] == [4]  # from the reserve
    for _ in range(10):
        first.end(next(request for request, number in first.running.items() if number and request.tenant.name == A))
    assert first.begun[-10:] == [4] * 10 or first.begun[-9:] == [4] * 9


def test_a_tenant_at_its_limit_does_not_hold_up_a_lower_priority():
    world = World([(A, 3, 5), (B, 1, 0)], max_tenant_replies=2).fill()
    assert world.begun == [0, 0, 1]


def test_the_queue_takes_so_many_of_a_tenant_and_keeps_an_eighth_for_named_ones_that_have_none():
    room = Room(Limits(max_replies=1, max_kv_tokens=0, max_waiting=16, max_tenant_waiting=0))
    a, b, nobody = (room.arrive(name) for name in (A, B, NOBODY))

    def who_may_wait(num_of_a):
        return [room.may_wait(tenant, num_own=num_of_a * (tenant is a), num_waiting=num_of_a) for tenant in (a, b, nobody)]

    assert who_may_wait(13) == [True, True, True]
    assert who_may_wait(14) == [False, True, True]
    assert who_may_wait(16) == [False, False, False]
    capped = Room(Limits(max_replies=1, max_kv_tokens=0, max_waiting=16, max_tenant_waiting=2))
    a = capped.arrive(A)
    assert [capped.may_wait(a, num_own=number, num_waiting=number) for number in (1, 2)] == [True, False]


def test_a_tenant_without_requests_is_forgotten():
    """Names come from outside: what is kept for each must have an end."""
    room = Room(Limits(max_replies=1, max_kv_tokens=0, max_waiting=1))
    first, second = room.arrive(A), room.arrive(A)
    assert first is second
    room.depart(first)
    assert room.arrive(A) is first
    room.depart(first)
    room.depart(first)
    assert room.arrive(A) is not first

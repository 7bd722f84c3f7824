# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from dataclasses import replace
from itertools import islice, pairwise

from client.loadtest.scenarios import at_rate, scenario
from s1_client.loadtest._jobs import due_times, jobs
from s1_client.loadtest._scenario import read, shipped


def of_level(what, number, level=0):
    return list(islice(jobs(what, what.stages[level]), number))


def test_every_section_of_a_mix_has_the_shares_of_the_mix():
    mix = read(shipped()["mix"])
    asked = of_level(mix, 24)
    shares = {work.name: work.share for work in mix.work}
    for stretch in asked[:12], asked[12:], asked[6:18]:
        assert Counter(job.work.name for job in stretch) == shares
    assert len({job.work.name for job in asked[:5]}) >= 3


def test_prompts_are_unique_within_a_run_and_across_seeds():
    mix = read(shipped()["mix"])
    prompts = [job.prompt for what in (mix, replace(mix, seed=1)) for level in (0, 1) for job in of_level(what, 50, level)]
    assert len({prompt[:20] for prompt in prompts}) == len(prompts) == 200


def test_the_same_level_has_the_same_requests():
    assert of_level(scenario(), 9) == of_level(scenario(), 9)


def test_long_prompts_are_long_and_short_ones_short():
    mix = read(shipped()["mix"])
    for job in of_level(mix, 24):
        num_words = len(job.prompt.split())
        assert num_words > 800 if job.work.prompts == "long" else num_words < 50


def test_a_constant_rate_is_even_and_ends_with_its_time():
    even = scenario(load=at_rate(4, num_requests=9, max_seconds=1.6))
    assert due_times(even, even.stages[0]) == [0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]


def test_poisson_gaps_have_the_mean_and_spread_of_the_rate_and_depend_on_the_seed():
    by_chance = scenario(load=at_rate(4, num_requests=4001, max_seconds=5000, distribution="poisson"))
    times = due_times(by_chance, by_chance.stages[0])
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert abs(mean - 0.25) < 0.0125
    assert abs((sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 - 0.25) < 0.025
    assert times == due_times(by_chance, by_chance.stages[0]) != due_times(replace(by_chance, seed=1), by_chance.stages[0])

# SPDX-License-Identifier: Apache-2.0
"""Tenants in metrics: their requests, tokens and waits, with a bounded number of names."""

from budgetforce.core import Ledger, Phase
from budgetforce.errors import Overloaded
from budgetforce.serving.measurements import Measurements
from budgetforce.serving.replies.sample_facts import Arrivals, SampleFacts
from budgetforce.serving.request_measures import EndedRequest, account_of, measure
from budgetforce.serving.tenant_labels import NO_TENANT, OTHER_TENANTS, TenantLabels


def test_the_first_names_have_labels_of_their_own_and_the_rest_share_one():
    labels = TenantLabels(2)
    assert [labels.label_of(name) for name in ("a", "b", "c", "a", "d", "")] == ["a", "b", OTHER_TENANTS, "a", OTHER_TENANTS, NO_TENANT]


def counts(*requests):
    measurements = Measurements()
    for request in requests:
        measure(request, measurements)
    found = {(name, *(value for _, value in sorted(labels))): number for (name, labels), number in measurements.take().increments.items()}
    return {key: number for key, number in found.items() if key[0].startswith("s1_tenant_")}


def sample(**ledger):
    return SampleFacts(
        ledger=Ledger(prompt=7, **ledger), traces=(), arrivals={phase: Arrivals() for phase in Phase}, budget=0, call_results={}
    )


def test_requests_tokens_and_waits_are_counted_by_tenant():
    samples = [sample(thinking_sampled=5, thinking_injected=1, answer_sampled=2), sample(thinking_sampled=4, answer_injected=3)]
    done = EndedRequest(error=None, arrived=1.0, queued=1.0, admitted=3.5, ended=9.0, samples=samples, tenant="ann")
    refused = EndedRequest(error=Overloaded("full", 1.0), arrived=1.0, queued=1.0, ended=1.0, tenant="ann")
    assert counts(done, refused) == {
        ("s1_tenant_requests_total", "done", "ann"): 1,
        ("s1_tenant_requests_total", "OVERLOADED", "ann"): 1,
        ("s1_tenant_queue_seconds_total", "ann"): 2.5,
        ("s1_tenant_tokens_total", "prompt", "ann"): 7,
        ("s1_tenant_tokens_total", "thinking", "ann"): 10,
        ("s1_tenant_tokens_total", "answer", "ann"): 5,
    }


def test_the_account_of_a_request_is_its_tokens_causes_and_times():
    done = EndedRequest(error=None, arrived=1.0, queued=1.0, admitted=3.5, ended=9.0, samples=[sample(thinking_sampled=5)])
    assert account_of(done) == {
        "num_prompt_tokens": 7,
        "num_thinking_tokens": 5,
        "num_answer_tokens": 0,
        "thinking_ends": [None],
        "answer_ends": [None],
        "queue_ms": 2500.0,
        "first_token_ms": None,
    }

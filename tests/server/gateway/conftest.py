# SPDX-License-Identifier: Apache-2.0
"""Gateways in front of the one real server of this suite."""

import pytest

from client.gateway.calls import gateway


@pytest.fixture(scope="session")
def door(triton):
    """In front of ``s1`` over ``s1-tiny``, as ``s1 gateway`` starts it."""
    with gateway(triton.grpc_url) as door:
        yield door


@pytest.fixture(scope="session")
def scripted_door(triton):
    """In front of ``s1_scripted``, whose engine says what a test's script tells it to."""
    with gateway(triton.grpc_url, "--first-event-s", "0.3", model="s1_scripted") as door:
        yield door


@pytest.fixture(scope="session")
def small_door(triton):
    """In front of ``s1_small``, which has room for two replies and one that waits."""
    with gateway(triton.grpc_url, "--first-event-s", "0.3", model="s1_small") as door:
        yield door

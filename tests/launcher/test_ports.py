# SPDX-License-Identifier: Apache-2.0
"""The ports of a server: chosen, and found in use."""

import random
import socket
from pathlib import Path

import pytest

from budgetforce.launcher.ports import Ports, choose_ports, why_unusable


def test_given_ports_are_kept_and_zeros_become_different_free_ports():
    assert choose_ports(http=1, grpc=2, metrics=3) == Ports(http=1, grpc=2, metrics=3)
    free = choose_ports(http=0, grpc=0, metrics=0)
    assert len({free.http, free.grpc, free.metrics}) == 3


def test_free_ports_are_outside_the_ephemeral_range():
    free = choose_ports(http=0, grpc=0, metrics=0)
    first_of_the_systems = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(free.http, free.grpc, free.metrics) < first_of_the_systems


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(OSError, match="assign"):
        choose_ports(http=0, grpc=0, metrics=0, host="192.0.2.1")


@pytest.mark.parametrize(("host", "here"), [("127.0.0.1", "127.0.0.1:2"), ("0.0.0.0", "127.0.0.1:2"), ("10.0.0.7", "10.0.0.7:2")])
def test_the_model_finds_its_engine_wherever_the_server_listens(host, here):
    assert Ports(http=1, grpc=2, metrics=3, host=host).here == here


def test_free_ports_are_chosen_apart_even_where_a_library_has_seeded_the_random_numbers():
    random.seed(0)
    first = choose_ports(http=0, grpc=0, metrics=0)
    random.seed(0)
    assert choose_ports(http=0, grpc=0, metrics=0) != first


def test_a_port_in_use_is_named_with_the_option_that_chooses_another():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sentence = why_unusable(Ports(http=0, grpc=port, metrics=0))
        assert (
            sentence
            == f"port {port} on 127.0.0.1 cannot be used: Address already in use; choose another by --grpc-port, 0 is any free port"
        )
    assert why_unusable(Ports(http=0, grpc=0, metrics=0)) is None

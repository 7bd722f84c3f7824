# SPDX-License-Identifier: Apache-2.0
"""Flags, log errors and draining without a real Triton. (With one: tests/server/test_lifecycle.py.)"""

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from budgetforce.launcher import drain, regions
from budgetforce.launcher.ports import Ports
from budgetforce.launcher.security import Security
from budgetforce.launcher.triton_server import StartFailed, TritonServer


def server(log):
    return TritonServer(repositories=[Path("r")], models=["s1"], ports=Ports(http=1, grpc=2, metrics=3), log=log)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("noise\n2026 E 1 a.cc:1] broken\nerror: creating server: load failed\nAt: x\n", "creating server: load failed"),
        ('noise\n2026 E 1 "CudaDriverHelper has not been initialized."\n2026 E 1 a.cc:1] "broken"\n', '2026 E 1 a.cc:1] "broken"'),
        ("only noise\n", "only noise"),
        ("", "(full log:"),
    ],
)
def test_the_error_in_the_log_is_found(tmp_path, text, first):
    log = tmp_path / "log"
    log.write_text(text)
    assert server(log).log_errors().startswith(first)


def test_only_the_given_models_are_loaded_and_only_loopback_is_bound(tmp_path):
    flags = list(server(tmp_path / "log")._rank_flags(0))
    assert "--model-control-mode=explicit" in flags
    assert [flag for flag in flags if "--load-model" in flag] == ["--load-model=s1"]
    assert sum("-address=127.0.0.1" in flag for flag in flags) == 3


def test_transport_bls_takes_its_own_config_and_more_threads(tmp_path):
    one = server(tmp_path / "log")
    assert not [flag for flag in one._rank_flags(0) if "model-config-name" in flag or "thread-pool-size" in flag]
    one.transport = "bls"
    flags = list(one._rank_flags(0))
    assert "--model-config-name=bls" in flags
    assert any(flag.startswith("--backend-config=python,thread-pool-size=") for flag in flags)


@pytest.fixture
def running_server(tmp_path, monkeypatch):
    monkeypatch.setattr(regions, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(drain, "CHECK_S", 0)

    def make(*, was_ready=True, ended=None):
        one = server(tmp_path / "log")
        one._ranks, one._was_ready, one.drains = SimpleNamespace(ended=lambda: ended), was_ready, True
        return one

    return make


def test_a_server_with_a_dead_process_gets_no_time_to_drain(running_server, monkeypatch):
    """Processes that still live end their requests at once, with an error that says so."""
    one = running_server()
    one._is_broken = True
    monkeypatch.setattr(TritonServer, "_fetch", staticmethod(lambda _: ""))
    one._drain()
    assert one._drain_file.read_text() == "0\n"


def test_a_look_at_the_models_sends_the_launchers_secret(tmp_path):
    one = server(tmp_path / "log")
    one.security = Security(secret="abc", admin_secret="def")
    assert one._post("x").header_items() == [("S1-admin", "def")]


@pytest.mark.parametrize(("was_ready", "ended"), [(False, None), (True, "Triton ended with code 1")])
def test_an_ended_server_does_not_drain_another_one_on_its_ports(running_server, monkeypatch, was_ready, ended):
    """Another server may have taken its ports."""
    one = running_server(was_ready=was_ready, ended=ended)
    monkeypatch.setattr(TritonServer, "_fetch", staticmethod(lambda _: pytest.fail("asked")))
    one._drain()


def test_ports_that_are_in_use_are_refused_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        one = server(tmp_path / "log")
        one.ports = Ports(http=taken.getsockname()[1], grpc=0, metrics=0)
        with pytest.raises(StartFailed, match="cannot be used"), one:
            pass

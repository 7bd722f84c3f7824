# SPDX-License-Identifier: Apache-2.0
"""Parsing the output of nvidia-smi."""

import sys
from dataclasses import replace
from importlib import metadata

import pytest
from built_engine import TOPOLOGY, NvidiaSmi

from budgetforce.building import machine
from budgetforce.building.machine import Machine, inspect_machine


def test_two_gpus_are_seen_with_their_link():
    found = inspect_machine(NvidiaSmi(), {})
    assert [(gpu.index, gpu.name, gpu.sm, gpu.total_mib, gpu.free_mib) for gpu in found.gpus] == [
        (0, "NVIDIA H100 80GB HBM3", "9.0", 81559, 81000),
        (1, "NVIDIA H100 80GB HBM3", "9.0", 81559, 80500),
    ]
    assert (found.driver, found.cuda) == ("590.44.01", "13.1")
    assert found.links == {(0, 1): "NV18", (1, 0): "NV18"}


@pytest.mark.parametrize("change", [("", ""), ("\x1b[0m\n", "\n\x1b[0m"), ("\x1b[4m", ""), (" X ", "X")])
def test_links_are_read_despite_escape_sequences(change):
    assert inspect_machine(NvidiaSmi(topology=TOPOLOGY.replace(*change)), {}).links == {(0, 1): "NV18", (1, 0): "NV18"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1,0", [1, 0]),
        ("GPU-bbbb", [1]),
        ("", []),
        ("-1", []),
        ("1,7,0", [1]),
        ("GPU-cccc", []),
    ],
)
def test_cuda_visible_devices_chooses_and_orders(wanted, expected):
    """As CUDA reads it: an unknown entry ends the list. nvidia-smi itself shows all GPUs."""
    environment = {} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted}
    assert [gpu.index for gpu in inspect_machine(NvidiaSmi(), environment).gpus] == expected


def test_newer_drivers_label_cuda_differently():
    header = "| NVIDIA-SMI 610.57.04    KMD Version: 610.57.04     CUDA UMD Version: 13.3 |"
    assert inspect_machine(NvidiaSmi(header=header), {}).cuda == "13.3"


def test_a_machine_without_gpus_has_an_empty_list():
    found = inspect_machine(lambda _: "", {})
    assert found == replace(Machine(), tensorrt_llm=found.tensorrt_llm, tensorrt=found.tensorrt)


def test_memory_that_is_not_available_is_zero():
    """Some GPUs do not report their memory."""
    (gpu,) = inspect_machine(NvidiaSmi(gpus=("0, GPU-a, NVIDIA GB10, 12.1, [N/A], [N/A], 590.44.01",)), {}).gpus
    assert (gpu.total_mib, gpu.free_mib) == (0, 0)


def test_an_error_message_is_no_gpu():
    assert (
        inspect_machine(NvidiaSmi(gpus=("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",)), {}).gpus == ()
    )


def test_the_output_of_a_successful_command_is_used():
    assert machine._run([sys.executable, "-c", "print('so')"]) == "so\n"


@pytest.mark.parametrize("command", [["/nowhere/nvidia-smi"], [sys.executable, "-c", "print('half'); raise SystemExit(9)"]])
def test_the_output_of_a_failed_command_is_ignored(command):
    assert machine._run(command) == ""


def test_a_command_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(machine, "NVIDIA_SMI_TIMEOUT_S", 0.2)
    assert machine._run([sys.executable, "-c", "import time; time.sleep(60)"]) == ""


def test_versions_are_those_of_the_installed_packages(monkeypatch):
    monkeypatch.setattr(metadata, "version", {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48"}.__getitem__)
    found = inspect_machine(NvidiaSmi(), {})
    assert (found.tensorrt_llm, found.tensorrt) == ("1.2.1", "10.14.1.48")

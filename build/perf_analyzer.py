#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Install NVIDIA's load generator as .s1/bin/perf_analyzer, for `s1 loadtest --driver perf_analyzer`.

    python3 build/local.py serve                  # once before, makes .s1/env
    python3 build/perf_analyzer.py                # 15 s, 40 MB

The program needs glibc 2.38 (Ubuntu 24.04, Debian 13). On an older Debian the libraries of Debian 13 are unpacked beside it
for its own use; the system stays unchanged. On another old system, $DEBIAN_ARCHIVE must name a Debian archive to fetch packages
from, and debian-archive-keyring must be installed.

Exit codes: 0 installed and running, 1 something failed, 2 this machine cannot run it. Standard library only.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".s1/env/bin/python"
FOLDER, COMMAND = ROOT / ".s1/perf_analyzer", ROOT / ".s1/bin/perf_analyzer"
VERSION = "2.60.0"  # its program itself says "0.0.0"
# Explicit, because with an older glibc pip chooses version 0.1.0, which contains no program.
PLATFORM, GLIBC = "manylinux_2_38_x86_64", (2, 38)
LIBRARIES = ("libc6", "libstdc++6", "libgcc-s1", "zlib1g", "libssl3t64", "libzstd1")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIBRARY_FOLDER = "usr/lib/x86_64-linux-gnu"


def main() -> int:
    if not (ROOT / ".s1/env/installed").is_file():
        print("first: python3 build/local.py serve", file=sys.stderr)
        return 1
    reason = None if runs() else why_not()
    if reason is not None:
        print(f"build/perf_analyzer.py: {reason}", file=sys.stderr)
        return 2
    if not runs():
        make()
    print(f"ready: {COMMAND}")
    return 0 if runs() else 1


def runs() -> bool:
    return COMMAND.is_file() and subprocess.call([COMMAND, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def why_not() -> str | None:
    """Return the reason why this machine cannot run the program, or None."""
    if platform.machine() != "x86_64":
        return f"a program for x86_64 does not run on {platform.machine()}"
    if glibc() >= GLIBC:
        return None
    needed = f"glibc {'.'.join(map(str, glibc()))} is too old (2.38 is needed), and Debian 13's cannot be unpacked beside it: "
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            return f"{needed}there is no {tool}; use the image tritonserver:26.07-py3-sdk"
    if not KEYRING.is_file():
        return f"{needed}install debian-archive-keyring"
    return None if archive() else f"{needed}this is no Debian, so DEBIAN_ARCHIVE has to name a Debian archive"


def make() -> None:
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as folder:
        making = Path(folder)
        wheel = ["--no-deps", "--only-binary=:all:", "--platform", PLATFORM, "--target", str(making / "wheel")]
        run([str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", *wheel, f"perf-analyzer=={VERSION}"], making)
        if glibc() < GLIBC:
            run(["sh", "-euc", FETCH, "sh", archive(), str(KEYRING), *LIBRARIES], making)
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        for part in making.glob("[wd]*"):  # wheel and debian, not apt
            part.rename(FOLDER / part.name)
    COMMAND.parent.mkdir(exist_ok=True)
    COMMAND.write_text(f'#!/bin/sh\nexec {" ".join(program())} "$@"\n')
    COMMAND.chmod(0o755)


def program() -> list[str]:
    """Return the command of the wheel's own program, with newer libraries if needed: its Python wrapper hides the exit code."""
    binary, libraries = FOLDER / "wheel/perf_analyzer/bin/perf_analyzer", FOLDER / "debian" / LIBRARY_FOLDER
    if glibc() >= GLIBC:
        return [f'"{binary}"']
    return [f'"{libraries}/ld-linux-x86-64.so.2"', "--library-path", f'"{libraries}"', f'"{binary}"']


def glibc() -> tuple[int, ...]:
    name, _, version = os.confstr("CS_GNU_LIBC_VERSION").partition(" ")
    return tuple(map(int, version.split("."))) if name == "glibc" else (0,)


def archive() -> str:
    """Return the Debian archive: $DEBIAN_ARCHIVE, else that of this system if it is a Debian, else ""."""
    if archive_url := os.environ.get("DEBIAN_ARCHIVE"):
        return archive_url
    if platform.freedesktop_os_release().get("ID") != "debian":
        return ""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return next((line.split()[0] for line in lines if "security" not in line.lower()), "")


def run(command: list[str], cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


# apt with its state in the working folder: needs no root and leaves the system unchanged.
FETCH = """
archive=$1 keyring=$2; shift 2
mkdir -p apt/state/lists/partial apt/cache/archives/partial apt/parts debian
cd apt; top=$PWD
echo "deb [signed-by=$keyring] $archive trixie main" > sources.list
apt() {
  apt-get -q -o Dir::State="$top/state" -o Dir::State::status=/dev/null -o Dir::Cache="$top/cache" \
    -o Dir::Etc::sourcelist="$top/sources.list" -o Dir::Etc::sourceparts="$top/parts" \
    -o Dir::Etc::preferencesparts="$top/parts" -o Dir::Etc::preferences=/dev/null \
    -o Acquire::Languages=none -o APT::Sandbox::User="$(id -un)" -o APT::Architecture=amd64 "$@"
}
apt update
apt download "$@"
for package in *.deb; do dpkg -x "$package" ../debian; done
"""

if __name__ == "__main__":
    try:
        sys.exit(main())
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"build/perf_analyzer.py: {error}")

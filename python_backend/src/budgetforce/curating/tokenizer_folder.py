# SPDX-License-Identifier: Apache-2.0
"""Put a recipe's tokenizer into the work folder: s1-tiny's own, a folder's, or that of a model on the hub at a commit."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from budgetforce.building.stage import BuildFailed, Stage
from budgetforce.curating.code_version import digest_of_code
from budgetforce.curating.tiny_tokenizer import write_tokenizer
from budgetforce.errors import ConfigError
from budgetforce.text.tokenizer_files import TOKENIZER_FILES

TINY = "s1-tiny"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def tokenizer_stage(name: str, revision: str, base: Path, work: Path) -> Stage:
    """Return the stage that makes ``WORK/tokenizer``. Raises ConfigError for a tokenizer that is no folder and has no pinned commit."""
    folder = base / name
    inputs = {"name": name, "revision": revision}
    if name == TINY:
        inputs["code"] = digest_of_code()
    elif folder.is_dir():
        inputs |= {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in TOKENIZER_FILES if (folder / file).is_file()}
    elif not _COMMIT.fullmatch(revision):
        allowed = f"'{TINY}', a folder, or the id of a model on the hub with its full commit as tokenizer_revision"
        raise ConfigError(f"tokenizer: got {name!r} at revision {revision!r}, allowed: {allowed}")
    return Stage(name="tokenizer", folder=work / "tokenizer", inputs=inputs)


def write_tokenizer_folder(name: str, revision: str, base: Path, folder: Path) -> None:
    """Write the tokenizer's files into a folder. Raises BuildFailed if there are none."""
    if name == TINY:
        return write_tokenizer(folder)
    source = base / name if (base / name).is_dir() else _download(name, revision)
    for file in TOKENIZER_FILES:
        if (source / file).is_file():
            shutil.copyfile(source / file, folder / file)
    if not (folder / "tokenizer.json").is_file():
        raise BuildFailed(f"tokenizer {name}: {source} has no tokenizer.json")
    return None


def _download(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(TOKENIZER_FILES)))
    except Exception as error:  # the hub client's errors have no common base class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BuildFailed(f"tokenizer {name}: download from the hub failed: {reason}") from error

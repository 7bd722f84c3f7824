# SPDX-License-Identifier: Apache-2.0
"""The repository holds source and a single model, s1-tiny, and no build outputs."""

import subprocess

MAX_BYTES = 1_000_000
WEIGHTS, MAX_WEIGHTS_BYTES = "python_backend/src/budgetforce/models/s1_tiny/model.safetensors", 4_000_000


def test_no_tracked_file_is_large(root):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True, text=True).stdout
    files = [root / name for name in listed.split("\0") if name]
    sizes = {str(path.relative_to(root)): path.lstat().st_size for path in files if path.exists()}
    assert len(sizes) > 100
    assert sizes.pop(WEIGHTS) < MAX_WEIGHTS_BYTES
    assert {name: size for name, size in sizes.items() if size > MAX_BYTES} == {}

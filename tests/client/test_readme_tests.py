# SPDX-License-Identifier: Apache-2.0
"""The tests that the client's README shows, run as they stand."""

import re
import subprocess
import sys


def test_the_tests_that_the_readme_shows_pass(root, tmp_path):
    (code,) = re.findall(r"<!-- run: testing -->\n```python\n(.*?)```", (root / "client/README.md").read_text(), re.S)
    (tmp_path / "test_mine.py").write_text(code)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert f"{code.count('def test_')} passed" in done.stdout, done.stdout

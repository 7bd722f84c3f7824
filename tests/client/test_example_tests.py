# SPDX-License-Identifier: Apache-2.0
"""The example of tests with the FakeServer, run as it stands."""

import shutil
import subprocess
import sys


def test_the_example_of_tests_passes(root, tmp_path):
    shutil.copy(root / "client/examples/test_with_fake_server.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    num_tests = (tmp_path / "test_with_fake_server.py").read_text().count("def test_")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert f"{num_tests} passed" in done.stdout, done.stdout

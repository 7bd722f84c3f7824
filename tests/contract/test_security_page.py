# SPDX-License-Identifier: Apache-2.0
"""docs/security.md: each threat names tests, and each of them exists."""

import ast
import re


def table(root, title):
    """Return the rows of the first table below a title, each as its cells."""
    section = (root / "docs/security.md").read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.split("\n") if line.startswith("| ")]
    assert rows, title
    return rows[1:]


def named_in(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_threat_names_tests_that_exist(root):
    for *threat, tests in table(root, "Threats"):
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert named, threat
        assert [name for file, name in named if name not in named_in(root / file)] == []


def test_all_tests_that_the_page_names_exist(root):
    """Also those outside the table."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (root / "docs/security.md").read_text())
    assert named and [name for file, name in named if name not in named_in(root / file)] == []


def test_the_versions_are_those_that_are_run(root):
    page = (root / "docs/security.md").read_text()
    assert "Profile `gpu` runs **26.07**" in page and "tritonserver:26.07-" in (root / "docker-compose.yml").read_text()
    assert "run **Triton 24.10**" in page and 'TRITON, SMOLLM2 = "nvidia-pytriton==0.7.0"' in (root / "build/local.py").read_text()

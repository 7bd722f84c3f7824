# SPDX-License-Identifier: Apache-2.0
"""Docstrings say something, in English."""

import ast
import re

import pytest

SOURCES = ("python_backend/src/budgetforce", "client/src/s1_client")
FEWEST_WORDS = 5
NOT_ENGLISH = re.compile(r"\b(so manieth|for who|to who)\b")  # "for whoever", "to a caller"
NODES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(path):
    """Yield each docstring with the place where it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, NODES) and (text := ast.get_docstring(node)):
            yield f"{path.name}:{getattr(node, 'name', '')}", text


@pytest.mark.parametrize("source", SOURCES)
def test_no_docstring_only_repeats_its_name(root, source):
    """One of four words or fewer says nothing that the name does not: delete it, or make it say something."""
    found = [entry for path in sorted((root / source).rglob("*.py")) for entry in docstrings(path)]
    assert len(found) > 100
    assert [f"{place}: {text}" for place, text in found if len(text.split()) < FEWEST_WORDS] == []


def test_nothing_is_written_that_is_not_english(root):
    sources = [path for source in SOURCES for path in (root / source).rglob("*.py")]
    pages = [root / "README.md", root / "CONTRIBUTING.md", root / "SECURITY.md", *(root / "docs").rglob("*.md")]
    assert [f"{path.name}: {found[0]}" for path in [*sources, *pages] for found in NOT_ENGLISH.finditer(path.read_text())] == []

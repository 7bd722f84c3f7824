# SPDX-License-Identifier: Apache-2.0
"""Who may import whom. The core knows nothing but the standard library; client and server share no code."""

import ast
import sys

import pytest

SERVER, CLIENT = "python_backend/src/budgetforce", "client/src/s1_client"
PB_UTILS = "triton_python_backend_utils"
# Extras: a program that uses the library has none of them.
COMMANDS_OWN = {"click", "rich", "markdown_it", "matplotlib", "jinja2", "tokenizers"}
GRADINGS_OWN = {"math_verify", "lm_eval", "datasets"}  # idem, and these are large

# (folder or file, everything outside the standard library that it may import)
RULES = {
    f"{SERVER}/core": {"budgetforce.core"},
    f"{SERVER}/text": {"budgetforce.errors", "transformers", "tokenizers", "jinja2"},
    f"{SERVER}/presets": {"budgetforce.errors", "budgetforce.text"},
    f"{SERVER}/errors.py": set(),
    f"{SERVER}/config.py": {"budgetforce.errors"},
    f"{SERVER}/engine": {
        "budgetforce.engine",
        "budgetforce.errors",
        "budgetforce.config",
        "numpy",
        "pycurl",
        "google",
        "openvino",
        "openvino_genai",
    }
    | {PB_UTILS, "gguf", "tokenizers", "transformers", "huggingface_hub", "xllamacpp", "vllm", "tensorrt_llm"},
    f"{SERVER}/serving": {"budgetforce", "numpy", PB_UTILS},
    f"{SERVER}/building": {
        "budgetforce.building",
        "budgetforce.errors",
        "budgetforce.presets",
        "budgetforce.text",
        "budgetforce.triton_files",
    }
    | {"huggingface_hub"},
    "model_repository": {"budgetforce.serving"},
    CLIENT: {"s1_client", "tritonclient", "numpy", "grpc"} | COMMANDS_OWN | GRADINGS_OWN,
    "build": set(),
}


def imported(path):
    """Full names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "budgetforce":
                yield from (f"budgetforce.{alias.name}" for alias in node.names)


def files(root, where):
    place = root / where
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def is_covered(name, allowed):
    return name.partition(".")[0] in sys.stdlib_module_names or any(name == one or name.startswith(f"{one}.") for one in allowed)


@pytest.mark.parametrize("where", RULES)
def test_a_part_imports_only_what_it_may(root, where):
    paths = files(root, where)
    assert paths
    wrong = [
        f"{path.name}: {name}" for path in paths for name in imported(path) if name != "budgetforce" and not is_covered(name, RULES[where])
    ]
    assert wrong == []


def test_tritons_module_is_imported_only_by_the_shells(root):
    """Everything else runs, and is tested, without Triton."""
    users = {path.name for path in files(root, SERVER) if PB_UTILS in set(imported(path))}
    assert users == {"request_reader.py", "ports.py", "metrics.py", "model.py", "engine_model.py", "triton_bls.py"}


def test_the_library_needs_no_package_of_the_command(root):
    users = {path for path in files(root, CLIENT) if COMMANDS_OWN & {name.partition(".")[0] for name in imported(path)}}
    assert {path.parent.name for path in users} == {"cli"}
    users = {path for path in files(root, CLIENT) if GRADINGS_OWN & {name.partition(".")[0] for name in imported(path)}}
    assert {path.name for path in users} == {"_recipes.py", "functions.py", "lm_eval.py", "lm_eval_model.py", "math_worker.py"}


def test_nothing_of_ours_imports_the_tests(root):
    names = {path.stem for path in (root / "tests").rglob("*.py")} - {"conftest", "model", PB_UTILS}
    for where in (SERVER, CLIENT, "build", "model_repository"):
        for path in files(root, where):
            assert not names & set(imported(path))


def test_the_test_can_fail(root, tmp_path):
    """A rule that nothing can break would be no rule."""
    bad = tmp_path / "bad.py"
    bad.write_text("import numpy\nfrom budgetforce.text import tokenizer\n")
    assert [name for name in imported(bad) if not is_covered(name, RULES[f"{SERVER}/core"])] == ["numpy", "budgetforce.text"]

# SPDX-License-Identifier: Apache-2.0
"""Who may import whom. The core knows nothing but the standard library; client and server share no code."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

SERVER, CLIENT = "python_backend/src/budgetforce", "client/src/s1_client"
PB_UTILS = "triton_python_backend_utils"
# Extras: a program that uses the library has none of them.
COMMANDS_OWN = {"click", "rich", "markdown_it", "matplotlib", "jinja2", "tokenizers"}
GATEWAYS_OWN = {"fastapi", "starlette", "uvicorn", "pydantic", "pydantic_core", "prometheus_client"}  # idem
GRADINGS_OWN = {"math_verify", "lm_eval", "datasets"}  # idem, and these are large

TRACING = {"opentelemetry"}  # extra of the server; the client uses it only in a program that does

CPU_LIBRARIES = {"openvino", "openvino_genai", "xllamacpp"}

PLANNING = {
    "budgetforce.serving.planning",
    "budgetforce.serving.requests",
    "budgetforce.serving.result_schema",
    "budgetforce.core",
    "budgetforce.text",
    "budgetforce.presets",
    "budgetforce.engine.base",
    "budgetforce.engine.call_limits",
    "budgetforce.provenance",
    "budgetforce.errors",
}

# (folder or file, everything outside the standard library that it may import)
RULES = {
    f"{SERVER}/core": {"budgetforce.core"},
    f"{SERVER}/text": {"budgetforce.errors", "transformers", "tokenizers", "jinja2"},
    f"{SERVER}/presets": {"budgetforce.errors", "budgetforce.text"},
    f"{SERVER}/errors.py": set(),
    f"{SERVER}/engine/cpu": {"budgetforce.engine", "budgetforce.errors", "budgetforce.config", "numpy"} | CPU_LIBRARIES,
    f"{SERVER}/config.py": {"budgetforce.errors"},
    f"{SERVER}/provenance.py": {"budgetforce.errors"},
    f"{SERVER}/engine": {
        "budgetforce.engine",
        "budgetforce.errors",
        "budgetforce.provenance",
        "budgetforce.config",
        "budgetforce.text.tokenizer_files",
        "numpy",
        "pycurl",
        "google",
        "openvino",
        "openvino_genai",
    }
    | {PB_UTILS, "gguf", "tokenizers", "transformers", "huggingface_hub", "xllamacpp", "vllm", "tensorrt_llm"},
    f"{SERVER}/serving": {
        "budgetforce.serving",
        "budgetforce.core",
        "budgetforce.text",
        "budgetforce.engine",
        "budgetforce.presets",
        "budgetforce.config",
        "budgetforce.errors",
        "budgetforce.provenance",
        "budgetforce.trace_target",
        "numpy",
        PB_UTILS,
    }
    | TRACING,
    f"{SERVER}/serving/requests": {
        "budgetforce.serving.requests",
        "budgetforce.core",
        "budgetforce.presets",
        "budgetforce.errors",
        "numpy",
    },
    f"{SERVER}/serving/planning": PLANNING,
    f"{SERVER}/serving/replies": {"budgetforce.serving.replies", *PLANNING},
    f"{SERVER}/processes.py": set(),
    f"{SERVER}/trace_target.py": {"budgetforce.errors"},
    f"{SERVER}/health.py": set(),
    f"{SERVER}/building": {
        "budgetforce.building",
        "budgetforce.errors",
        "budgetforce.provenance",
        "budgetforce.presets",
        "budgetforce.text",
        "budgetforce.processes",
    }
    | {"huggingface_hub"},
    f"{SERVER}/curating": {
        "budgetforce.curating",
        "budgetforce.building",  # its stages, and the formatting of durations
        "budgetforce.text",
        "budgetforce.errors",
        "s1_client",  # the generators of puzzles, the graders and our server as a teacher: all of them at build time
    }
    | {"tokenizers", "transformers", "huggingface_hub", "pyarrow", "sklearn", "matplotlib"},
    f"{SERVER}/training": {  # PyTorch and TRL are in an environment of their own
        "budgetforce.training",
        "budgetforce.building.__main__",  # the way to run a step and to say why it failed
        "budgetforce.building.code_version",
        "budgetforce.building.gpus",
        "budgetforce.building.spec",
        "budgetforce.building.stage",
        "budgetforce.building.toolrun",
        "budgetforce.curating.masking",  # the label without a loss
        "budgetforce.curating.settings",
        "budgetforce.curating.tiny_tokenizer",
        "budgetforce.curating.tokens",
        "budgetforce.errors",
        "budgetforce.processes",
        "budgetforce.provenance",
        "budgetforce.text.tokenizer_files",
        "accelerate",
        "datasets",
        "huggingface_hub",
        "matplotlib",
        "numpy",
        "pyarrow",
        "safetensors",
        "torch",
        "transformers",
        "trl",
    },
    f"{SERVER}/launcher": {
        "budgetforce.launcher",
        "budgetforce.building",  # its preflight: checks of the machine before a start
        "budgetforce.engine",
        "budgetforce.presets",
        "budgetforce.text",
        "budgetforce.config",
        "budgetforce.errors",
        "budgetforce.provenance",
        "budgetforce.processes",
        "budgetforce.health",  # for the readiness endpoint
        "budgetforce.serving.requests.tenant",  # the headers that Triton shows the models
        "budgetforce.trace_target",
    },
    "model_repository": {"budgetforce.serving"},
    CLIENT: {"s1_client", "tritonclient", "numpy", "grpc"} | COMMANDS_OWN | GATEWAYS_OWN | GRADINGS_OWN | TRACING,
    "build": {"local", "grafana_foundation_sdk"},  # build/train.py takes steps of build/local.py
}

# package of the client -> what it must not import
FORBIDDEN = {
    f"{CLIENT}/runs": {"s1_client.cli", "s1_client.evaluation", "s1_client.loadtest"},
    f"{CLIENT}/evaluation": {"s1_client.cli", "s1_client.loadtest"},
    f"{CLIENT}/loadtest": {"s1_client.cli", "s1_client.evaluation", "s1_client.runs"},
    f"{CLIENT}/gateway": {"s1_client.cli", "s1_client.evaluation", "s1_client.loadtest", "s1_client.runs", "s1_client.testing"},
    f"{CLIENT}/testing": {"s1_client.cli", "s1_client.evaluation", "s1_client.loadtest", "s1_client.runs"},
    f"{CLIENT}/cli/plots": {f"s1_client.cli.{folder}" for folder in ("reply", "evaluate", "load", "server")},
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


def test_every_part_of_the_server_has_a_rule(root):
    parts = {path.name for path in (root / SERVER).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    rules = {where for where in RULES if where.rpartition("/")[0] == SERVER}
    assert {f"{SERVER}/{name}" for name in parts - {"__init__.py"}} == rules


def test_tritons_module_is_imported_only_by_the_shells(root):
    """Everything else runs, and is tested, without Triton."""
    users = {path.name for path in files(root, SERVER) if PB_UTILS in set(imported(path))}
    assert users == {"request_reader.py", "ports.py", "frequent_tensors.py", "metrics.py", "model.py", "engine_model.py", "triton_bls.py"}


def test_only_the_embedded_engine_knows_the_libraries_of_the_cpu(root):
    """Every other engine module runs, and is tested, without them and without the embedded engine."""
    engine = root / SERVER / "engine"
    private = (*CPU_LIBRARIES, "budgetforce.engine.cpu")
    others = [path for path in engine.rglob("*.py") if path.parent != engine / "cpu"]
    wrong = [path.name for path in others for name in imported(path) if f"{name}.".startswith(tuple(f"{library}." for library in private))]
    assert wrong == []


def test_the_library_needs_no_package_of_the_command(root):
    users = {path for path in files(root, CLIENT) if COMMANDS_OWN & {name.partition(".")[0] for name in imported(path)}}
    assert {path.relative_to(root / CLIENT).parts[0] for path in users} == {"cli"}
    users = {path for path in files(root, CLIENT) if GATEWAYS_OWN & {name.partition(".")[0] for name in imported(path)}}
    assert {path.relative_to(root / CLIENT).parts[0] for path in users} == {"gateway"}
    users = {path for path in files(root, CLIENT) if GRADINGS_OWN & {name.partition(".")[0] for name in imported(path)}}
    assert {path.name for path in users} == {"_recipes.py", "functions.py", "lm_eval.py", "lm_eval_model.py", "math_worker.py"}


def test_opentelemetry_is_imported_only_where_there_is_tracing(root):
    """Everything else runs without it; the two modules that need it are themselves loaded only then."""
    users = {
        path.name
        for part in (SERVER, CLIENT)
        for path in files(root, part)
        if TRACING & {name.partition(".")[0] for name in imported(path)}
    }
    assert users == {"otlp.py", "_tracing.py"}
    program = "import sys, budgetforce.serving.tracing, s1_client; print([name for name in sys.modules if 'opentelemetry' in name])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def is_within(name, package):
    return name == package or name.startswith(f"{package}.")


def forbidden(path, packages):
    return [f"{path.name}: {name}" for name in imported(path) if any(is_within(name, package) for package in packages)]


@pytest.mark.parametrize("where", FORBIDDEN)
def test_the_clients_packages_import_only_downwards(root, where):
    paths = files(root, where)
    assert paths
    assert [wrong for path in paths for wrong in forbidden(path, FORBIDDEN[where])] == []


def modules(root):
    """Module of the client -> the modules that it imports, also inside functions."""
    source = (root / CLIENT).parent
    paths = {".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path for path in files(root, CLIENT)}
    return {name: {one for one in imported_names(path) if one in paths} - {name} for name, path in paths.items()}


def imported_names(path):
    """Full names of all modules, and of all that is taken out of them."""
    yield from imported(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folders(graph):
    """The same of the client's folders: its top, a package, or a folder of the command. A private folder belongs to its parent."""

    packages = {module.rpartition(".")[0] for module in graph}

    def folder(module):
        package = (module if module in packages else module.rpartition(".")[0]).partition("._")[0]
        return ".".join(package.split(".")[: 3 if package.startswith("s1_client.cli.") else 2])

    found = {}
    for module, targets in graph.items():
        found.setdefault(folder(module), set()).update({folder(target) for target in targets} - {folder(module)})
    return found


def circles(graph):
    """What is left of a graph when each node that imports nothing is taken away, again and again."""
    left = {node: set(targets) for node, targets in graph.items()}
    while done := {node for node, targets in left.items() if not targets & left.keys()}:
        left = {node: targets for node, targets in left.items() if node not in done}
    return left


def test_the_clients_folders_have_no_circle(root):
    graph = folders({name: targets for name, targets in modules(root).items() if name != "s1_client.__main__"})
    assert {"s1_client", "s1_client.runs", "s1_client.evaluation", "s1_client.cli", "s1_client.cli.reply"} < graph.keys()
    assert circles(graph) == {}


def test_a_circle_and_a_forbidden_import_are_found(tmp_path):
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}).keys() == {"a", "b", "c"}
    bad = tmp_path / "bad.py"
    bad.write_text("def late():\n    from s1_client.cli.output import echo\n")
    assert forbidden(bad, FORBIDDEN[f"{CLIENT}/evaluation"]) == ["bad.py: s1_client.cli.output"]


@pytest.mark.parametrize("where", [SERVER, CLIENT])
def test_no_modules_import_each_other_in_a_circle(root, where):
    """CycleError names the circle. A package's __init__.py only gathers names and is left out."""
    source = (root / where).parent
    paths = {".".join(path.relative_to(source).with_suffix("").parts): path for path in files(root, where) if path.name != "__init__.py"}
    TopologicalSorter({name: paths.keys() & set(imported_names(path)) for name, path in paths.items()}).prepare()


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

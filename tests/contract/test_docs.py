# SPDX-License-Identifier: Apache-2.0
"""Docs that cannot lie: what they show is compared with what is. (Snippets are run in tests/server/test_readme.py.)"""

import dataclasses
import html
import json
import re
import shlex
import subprocess

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from benchmarks import chain_throughput, orchestration, peer_table
from budgetforce import errors, presets, serving_env
from budgetforce.config import OrchestratorConfig
from budgetforce.core import AnswerEnd, ThinkingEnd
from budgetforce.core.states import mermaid
from budgetforce.serving import bounds, engine_inputs, metrics, parameters
from contract import refresh_help
from s1_client.cli.app import COMMANDS, EXIT_CODES
from s1_client.cli.evaluate.eval import eval as evaluate
from s1_client.cli.reply.session import Session
from s1_client.evaluation import Protocol, load_task, report_of
from s1_client.evaluation._lm_eval_options import connection_of, option_values
from s1_client.evaluation._recipes import NAMES as RECIPES
from s1_client.loadtest._metric_definitions import TERMS
from s1_client.testing import _bounds


def test_the_readmes_fields_are_the_configs(root):
    text = (root / "model_repository/s1/config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    declared = [
        (t.name, model_config_pb2.DataType.Name(t.data_type).removeprefix("TYPE_") + ("[]" if -1 in t.dims else "")) for t in config.input
    ]
    section = (root / "README.md").read_text().partition("## Fields")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \| (\w+(?:\[\])?) \|", section, re.M)
    assert sorted(declared) == sorted(told)


def test_the_readmes_bounds_are_the_configs_and_the_codes(root):
    section = (root / "README.md").read_text().partition("Sizes are bounded")[2].partition("\n## ")[0]
    told = {name: int(number) for number, name in re.findall(r"^\| [^|]* \| (\d+)[^|]* \| `(\w+)` \|$", section, re.M)}
    names = ("max_text_bytes", "max_messages", "max_words", "max_words_bytes")
    defaults = {field.name: field.default for field in dataclasses.fields(OrchestratorConfig)}
    config = text_format.Parse((root / "model_repository/s1/config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert told == {name: defaults[name] for name in names} == {name: int(config.parameters[name].string_value) for name in names}
    assert f"{bounds.MAX_NAME_BYTES} bytes" in section and f"{bounds.MAX_ID_BYTES} bytes" in section
    assert f"{parameters.MAX_BYTES} characters" in section
    assert tuple(told[name] for name in names) == (_bounds.MAX_TEXT_BYTES, _bounds.MAX_MESSAGES, _bounds.MAX_WORDS, _bounds.MAX_WORDS_BYTES)


def test_the_readme_names_every_event(root):
    comment = re.search(r'"event".*#(.*)', (root / "model_repository/s1/config.pbtxt").read_text()).group(1)
    section = (root / "README.md").read_text().partition("## What comes back")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \|", section, re.M)
    assert told == [name.strip() for name in comment.split("|")]


def test_the_readme_names_every_preset(root):
    told = re.findall(r"^\| `([\w-]+)` \| [^|]*\| [^|]*\|$", (root / "README.md").read_text().partition("## Presets")[2], re.M)
    assert sorted(told) == presets.names()


@pytest.mark.parametrize(("phase", "ends"), [("thinking", ThinkingEnd), ("answer", AnswerEnd)])
def test_the_readme_names_every_reason_for_an_end(root, phase, ends):
    """But for "cancelled", which no reply tells."""
    row = re.search(rf"^\| {phase} \| `(.*)$", (root / "README.md").read_text(), re.M).group(0)
    assert set(re.findall(r"`(\w+)`", row)) == {end.value for end in ends} - {"cancelled"}


def test_the_readme_names_every_error_code_and_whether_to_retry(root):
    """Of those that can reach a client: a wrong configuration does not load."""
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (yes|no) \|", (root / "README.md").read_text(), re.M))
    kinds = [errors.BudgetForceError, *errors.BudgetForceError.__subclasses__()]
    assert told == {kind.code: "yes" if kind.retryable else "no" for kind in kinds if kind is not errors.ConfigError}


def test_the_readme_names_every_metric(root):
    told = re.findall(r"^\| `(s1_\w+)` \|", (root / "README.md").read_text(), re.M)
    assert set(told) == {*metrics.GAUGES, metrics.COUNTER}


def test_the_designs_diagram_is_the_table_of_states(root):
    assert f"```mermaid\n{mermaid()}\n```" in (root / "python_backend/DESIGN.md").read_text()


def test_the_engines_page_names_every_engine_and_every_input_that_our_shell_takes(root):
    engines, _, shell = (root / "python_backend/ENGINES.md").read_text().partition("## Behind our shell")
    assert sorted(re.findall(r"^\| `(\w+)` \|", engines, re.M)) == sorted(serving_env.ENGINES)
    rows = re.findall(r"^\| (`.*?) \|", shell.partition("Behind the shell stands")[0], re.M)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(engine_inputs.HONOURED | set(engine_inputs.NEUTRAL))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_in_the_clients_readme_is_the_commands(root, command):
    """tests/contract/refresh_help.py makes it so."""
    assert refresh_help.block(command) in (root / "client/README.md").read_text()


def test_the_clients_readme_and_its_example_define_every_figure_of_a_report(root):
    """tests/contract/refresh_help.py makes it so of the README; s1 report of the example."""
    assert refresh_help.terms() in (root / "client/README.md").read_text()
    page = html.unescape((root / "client/examples/loadtest/report.html").read_text())
    assert [term.title for term in TERMS.values() if term.definition not in page] == []


def test_the_clients_readme_tells_every_exit_code(root):
    table = (root / "client/README.md").read_text().partition("| exit code |")[2].partition("\n\n")[0]
    told = re.findall(r"^\| (\d+) \|", table, re.M)
    assert sorted(map(int, told)) == sorted({0, *EXIT_CODES.values()})


def test_the_clients_readme_shows_the_chats_own_help(root):
    assert f"> /help\n{Session({}, None).run_command('/help')}\n```" in (root / "client/README.md").read_text()


def test_the_readmes_figures_are_the_saved_ones(root):
    """The table is the benchmark's own rendering of what it saved."""
    rows = json.loads((root / "tests/benchmarks/chain_throughput.json").read_text())
    table = "\n".join([chain_throughput.HEAD, *(chain_throughput.line(row) for row in rows)])
    assert table in (root / "README.md").read_text()


def test_the_readmes_figures_of_peers_are_the_saved_ones(root):
    """tests/benchmarks/peer_table.py makes it so."""
    saved = json.loads((root / "tests/benchmarks/peers.json").read_text())
    assert f"{peer_table.BEGIN}{peer_table.report(saved)}{peer_table.END}" in (root / "README.md").read_text()


def test_the_designs_figures_are_the_saved_ones(root):
    saved = json.loads((root / "tests/benchmarks/orchestration.json").read_text())
    assert orchestration.table(saved["rows"]) in (root / "python_backend/DESIGN.md").read_text()


def test_the_sweep_in_the_clients_readme_is_the_saved_one(root):
    """The table is the command's own rendering of what it wrote, and the settings are those of the command that is shown."""
    text = (root / "client/README.md").read_text()
    summary = refresh_help.saved_sweep()
    assert f"<!-- output of: sweep -->\n```text\n{refresh_help.sweep(summary)}```\n" in text
    budgets, ignores = re.search(r"s1 sweep --file \S+ --max-thinking-tokens (\S+) --num-ignore (\S+)", text).groups()
    asked = {(int(budget), int(ignore)) for budget in budgets.split(",") for ignore in ignores.split(",")}
    assert asked == {(row.max_thinking_tokens, row.num_ignore) for row in summary.rows}
    questions = (root / "client/examples/arithmetic.jsonl").read_text().splitlines()
    assert {row.num_replies for row in summary.rows} == {summary.num_questions} == {len(questions)}
    assert {row.share_answers_cut for row in summary.rows} == {0}, "what is published would show the cap of the answers"


def test_the_evaluation_in_the_readme_is_the_saved_one(root):
    """Tables and sentences are the command's own, and the settings are those of the command that is shown."""
    text = (root / "README.md").read_text()
    saved = report_of((root / "client/examples/evaluation/summary.json").read_text())
    assert f"<!-- output of: eval -->\n```text\n{refresh_help.evaluation(saved)}```\n" in text
    budgets, ignores = re.search(r"s1 eval arithmetic --max-thinking-tokens (\S+) --num-ignore (\S+)", text).groups()
    asked = Protocol(budgets=tuple(map(int, budgets.split(","))), ignores=tuple(map(int, ignores.split(","))))
    assert [setting.name for setting in asked.settings()] == [row.setting for row in saved.rows]
    assert len(asked.budgets) >= 5
    assert {row.num_samples for row in saved.rows} == {len(load_task("arithmetic").questions)}
    assert {row.share_answers_cut for row in saved.rows} == {0}, "what is published would show the cap of the answers"


def test_the_evaluation_page_names_every_recipe_and_only_arguments_that_there_are(root):
    """And every recipe whose data come from a hub pins them."""
    page, folder = (root / "client/EVALUATION.md").read_text(), root / "client/src/s1_client/evaluation/recipes"
    recipes = {path.stem: path.read_text() for path in folder.glob("*.yaml")}
    assert set(re.findall(r"^\| `(s1_\w+)` \|", page, re.M)) == recipes.keys()
    assert all(re.search(r"^  revision: [0-9a-f]{40}$|^custom_dataset:", text, re.M) for text in recipes.values())
    named = [one.partition("=")[0] for told in re.findall(r"--model_args (\S+=\S+)", page) for one in told.split(",")]
    *_, rest = connection_of(dict.fromkeys(named))
    assert named and option_values(rest, "model_args") == {}


def test_the_evaluation_pages_commands_are_taken(root):
    """Options, their values, and the task's name; nothing is asked."""
    page = (root / "client/EVALUATION.md").read_text()
    (common,) = re.findall(r'^S1="s1 eval (.*)"$', page, re.M)
    commands = re.findall(r"^\$S1 (.*)$", page, re.M)
    for command in commands:
        with evaluate.make_context("s1 eval", shlex.split(f"{common} {command}", comments=True)) as context:
            assert context.params["task"] in RECIPES and context.params["out"]
    assert len(commands) >= 5


def test_the_evaluation_page_makes_a_task_of_csv(root, tmp_path):
    """Its command as it stands, line breaks and commas in cells included."""
    (command,) = re.findall(r"^```sh\n(python3 -c .*?)```", (root / "client/EVALUATION.md").read_text(), re.M | re.S)
    (tmp_path / "questions.csv").write_text('question,answer\n"What is\n1,000 + 1?",1001\nCapital of France?,Paris\n')
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    questions = load_task(str(tmp_path / "questions.jsonl")).questions
    assert [(one.prompt, one.expected, one.grading) for one in questions] == [
        ("What is\n1,000 + 1?", "1001", "integer"),
        ("Capital of France?", "Paris", "text"),
    ]


def test_every_link_to_a_file_leads_somewhere(root):
    for readme in root.glob("*/*.md"), [root / "README.md"]:
        for path in readme:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
                assert (path.parent / target).exists(), f"{path}: {target}"


def test_ci_runs_exactly_the_readmes_second_command(root):
    command = "python3 build/local.py test"
    assert command in (root / "README.md").read_text()
    assert (root / ".ci/run").read_text().strip().splitlines()[-1] == f"exec {command}"


def test_nobody_is_told_to_install_the_client_from_a_registry_that_has_it_not(root):
    """Pages, help texts and messages; a package's own extras (pyproject.toml) are named so."""
    parts = ("client", "python_backend", "build", "model_repository")
    files = [*root.glob("*.md"), *(path for part in parts for end in ("*.md", "*.py") for path in sorted((root / part).rglob(end)))]
    assert len(files) > 200
    told = re.compile(r"s1-client\[|s1_client\[|pip install ['\"]?s1[-_]client")
    assert [str(path) for path in files if told.search(path.read_text())] == []

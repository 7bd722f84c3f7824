# SPDX-License-Identifier: Apache-2.0
"""The pages say what is true: tables are compared with the code, generated parts with their sources, links with their targets.

Example programs are run in tests/server/test_examples.py.
"""

import dataclasses
import html
import itertools
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from budgetforce import errors, presets
from budgetforce.config import OrchestratorConfig
from budgetforce.core import AnswerEnd, ThinkingEnd
from budgetforce.core.ledger import RoundEnd
from budgetforce.launcher import serving_env
from budgetforce.serving import engine_inputs, metric_definitions
from budgetforce.serving.requests import bounds, parameters
from contract import figures, generated, picture, refresh
from s1_client import Result, Round, Usage
from s1_client._fields import EFFECTIVE_ONLY, FIELDS
from s1_client.cli.app import COMMANDS, EXIT_CODES
from s1_client.cli.evaluate.eval import eval as evaluate
from s1_client.cli.evaluate.eval import plan_of
from s1_client.evaluation import load_task
from s1_client.evaluation._lm_eval_options import connection_of, option_values
from s1_client.evaluation._recipes import NAMES as RECIPES
from s1_client.loadtest._metric_definitions import TERMS
from s1_client.testing import _bounds

PAGES = generated.pages()
NAMES = [str(path.relative_to(generated.ROOT)) for path in PAGES]


@pytest.fixture
def page(root):
    """Return the text of a page, or of the part under one of its headings, subsections included."""

    def read(name, heading=None):
        text = (root / name).read_text()
        if heading is None:
            return text
        level, _, _ = heading.partition(" ")
        section = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.S | re.M)
        assert section, f"{name} has no heading '{heading}'"
        return section.group(1)

    return read


def first_cells(text):
    """Return the names in the first column of all tables of a text; a cell may have several."""
    return [name for cell in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`([\w-]+)`", cell)]


def declared_inputs(root):
    config = text_format.Parse((root / "model_repository/s1/config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    kinds = {tensor.name: model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_") for tensor in config.input}
    return config, {tensor.name: kinds[tensor.name] + ("[]" if -1 in tensor.dims else "") for tensor in config.input}


# --- all pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_generated_parts_of_a_page_are_current(root, name):
    """``python3 build/local.py docs`` makes it so."""
    text = (root / name).read_text()
    assert generated.refreshed(text) == text


def test_every_generated_part_is_shown_once(root):
    shown = [name for path in PAGES for name, _ in generated.GENERATED.findall(path.read_text())]
    assert len(shown) == len(set(shown))
    assert {name.partition(": ")[0] for name in shown} == generated.PARTS.keys()
    assert {name for name in shown if name.startswith("command: ")} == {f"command: {name}" for name in COMMANDS if name != "serve"}


def test_the_picture_is_drawn_from_its_recording():
    """``python3 build/local.py docs`` makes it so."""
    assert picture.PICTURE.read_text() == picture.svg()
    assert picture.REFUSED_END in picture.text()


def test_refreshing_changes_nothing_that_is_current():
    assert refresh.stale() == {}


def lines_outside_code(text):
    """Return the lines of a page, those of code blocks made empty."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.S | re.M)
    return [line for n, part in enumerate(parts) for line in (part.split("\n") if n % 2 == 0 else [""])]


def anchors(text):
    """Return the anchors of a page's headings, as GitHub makes them."""
    found, counts = set(), {}
    for line in lines_outside_code(text):
        heading = re.match(r"#{1,6} (.*)", line)
        if heading:
            slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1]).lower()).replace(" ", "-")
            number = counts.setdefault(slug, 0)
            counts[slug] += 1
            found.add(f"{slug}-{number}" if number else slug)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file_and_a_heading(root, name):
    path = root / name
    text = "\n".join(lines_outside_code(path.read_text()))
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if ":" in file:
            continue
        linked = path if not file else path.parent / file
        if not linked.exists() or (anchor and anchor not in anchors(linked.read_text())):
            wrong.append(target)
    assert wrong == []


def test_a_link_to_a_heading_that_is_gone_is_found():
    text = "# A page\n\n## `s1 eval`: what?\n\n```sh\n# no heading\n```\n\n## Twice\n\n## Twice\n"
    assert anchors(text) == {"a-page", "s1-eval-what", "twice", "twice-1"}


@pytest.mark.parametrize("name", NAMES)
def test_headings_stand_between_empty_lines(root, name):
    lines = lines_outside_code((root / name).read_text())
    wrong = [line for before, line in itertools.pairwise(lines) if line.startswith("#") and before]
    wrong += [line for line, after in itertools.pairwise(lines) if re.match("#+ ", line) and after]
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_a_table_has_its_columns(root, name):
    wrong = []
    for table in re.findall(r"(?:^\|.*\n)+", "\n".join([*lines_outside_code((root / name).read_text()), ""]), re.M):
        rows = [
            len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", lambda code: code[0].replace("\\|", ""), row))) for row in table.splitlines()
        ]
        if len(set(rows)) > 1:
            wrong.append(table.splitlines()[0])
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_every_source_file_that_a_page_names_exists(root, name):
    """Those of the changelog may be gone."""
    path = r"(?<![\w/.])(?:tests|client|build|model_repository|python_backend)/[\w/.-]+\.(?:py|pbtxt|toml|json|lock|jsonl)\b"
    named = set(re.findall(path, (root / name).read_text())) if name != "CHANGELOG.md" else set()
    named -= {"model_repository/tensorrt_llm/config.pbtxt", "model_repository/NAME/1/model.py"}  # rendered; an example
    assert [file for file in sorted(named) if not (root / file).is_file()] == []


def test_every_page_is_in_the_table_of_contents(root):
    text = (root / "docs/README.md").read_text()
    linked = {(root / "docs" / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", text)}
    commands = (root / "docs/cli/README.md").read_text()
    linked |= {(root / "docs/cli" / target).resolve() for target in re.findall(r"\]\((\w[\w-]*\.md)\)", commands)}
    assert set((root / "docs").rglob("*.md")) - {root / "docs/README.md"} <= linked


@pytest.mark.parametrize(
    ("question", "target"),
    [
        ("what `finish_reason` means", "result.md#finish-reason"),
        ("how to drain a server", "operations.md#draining"),
        ("how to add an engine", "engines.md#add-an-engine"),
        ("`kv_reused_blocks`", "result.md#rounds"),
    ],
)
def test_a_strangers_question_is_in_the_table_of_contents(page, question, target):
    assert re.search(rf"\[[^]]*{re.escape(question)}[^]]*\]\({re.escape(target)}\)", page("docs/README.md"))


def test_nobody_is_told_to_install_the_client_from_a_registry_that_has_it_not(root):
    """Pages, help texts and messages; a package's own extras (pyproject.toml) are named so."""
    parts = ("client", "python_backend", "build", "model_repository")
    files = [*PAGES, *(path for part in parts for path in sorted((root / part).rglob("*.py")))]
    assert len(files) > 200
    told = re.compile(r"s1-client\[|s1_client\[|pip install ['\"]?s1[-_]client")
    assert [str(path) for path in files if told.search(path.read_text())] == []


def test_nothing_names_a_page_that_has_moved(root):
    kinds = ("py", "pyi", "toml", "yml", "pbtxt", "Dockerfile", "example")
    paths = [
        path for folder in generated.FOLDERS for kind in kinds for path in (root / folder).rglob(f"*{kind}") if path.name != "test_docs.py"
    ]
    paths += [root / name for name in (".env.example", "docker-compose.yml", "pyproject.toml")]
    assert len(paths) > 300
    moved = tuple(f"{name}.md" for name in ("ENGINES", "DESIGN", "EVALUATION", "build/README"))
    assert sorted({f"{path.relative_to(root)}: {name}" for path in paths for name in moved if name in path.read_text()}) == []


# --- README, CONTRIBUTING and the folders' pages --------------------------------------------------


def test_the_readme_is_short(page):
    text = page("README.md")
    assert len(text.splitlines()) <= 150
    assert len(page("client/README.md").splitlines()) <= 60
    assert len(page("build/README.md").splitlines()) <= 40
    assert "![" in text.partition("## ")[0], "the picture is on the first screen"


def test_the_readme_promises_no_more_than_is_kept(page):
    """Preset s1-readme does encode ids anew."""
    assert "re-tokenised" not in page("README.md")
    assert "not yet run on a gpu" in page("README.md").lower()


def test_ci_runs_exactly_the_readmes_second_command(root, page):
    command = "python3 build/local.py test"
    assert re.search(rf"```sh\n{command} ", page("README.md"))
    assert (root / ".ci/run").read_text().strip().splitlines()[-1] == f"exec {command}"


def test_the_commands_of_contributing_exist(root, page):
    """And every file that it names."""
    text = page("CONTRIBUTING.md")
    script = (root / "build/local.py").read_text()
    for command in set(re.findall(r"python3 build/local.py (\w+)", text)):
        assert re.search(rf'"{command}": ', script), command
    files = re.findall(r"\b(?:tests|client|build|model_repository|python_backend)/[\w/.]+\.(?:py|pbtxt)\b", text)
    assert files and [name for name in files if not (root / name).is_file()] == []
    folders = re.findall(r"\btests/\w+\b(?![/.])", text)
    assert folders and [name for name in folders if not (root / name).is_dir()] == []


def test_the_builds_page_names_every_script(root, page):
    listed = re.findall(r"^\| `([\w.]+)` \|", page("build/README.md"), re.M)
    assert sorted(listed) == sorted(
        path.name for path in (root / "build").iterdir() if path.is_file() and path.name != "README.md" and path.suffix != ".txt"
    )


def test_the_examples_page_names_every_example(root, page):
    folder = root / "client/examples"
    linked = {folder / target for target in re.findall(r"\]\(([^)]+)\)", page("client/examples/README.md")) if "/../" not in target}
    assert {*folder.glob("*.py"), *folder.glob("curl/*.sh")} <= linked


def test_the_versions_of_python_are_the_packages(root, page):
    for package in ("client", "python_backend"):
        assert tomllib.loads((root / package / "pyproject.toml").read_text())["project"]["requires-python"] == ">=3.11"
    for name in ("README.md", "docs/python-client.md", "docs/deployment.md"):
        assert "Python 3.11 or later" in " ".join(page(name).split())


# --- fields, results, errors ------------------------------------------------------------------------


def test_the_page_of_fields_has_the_configs_fields(root, page):
    _, declared = declared_inputs(root)
    text = page("docs/request-fields.md", "## Prompt and delivery") + page("docs/request-fields.md", "## Options")
    listed = re.findall(r"^\| `(\w+)` \| (\w+(?:\[\])?) \|", text, re.M)
    assert sorted(listed) == sorted(declared.items())


def test_the_bounds_are_the_configs_and_the_codes(root, page):
    section = page("docs/request-fields.md", "## Size limits")
    listed = {name: int(number) for number, name in re.findall(r"^\| [^|]* \| (\d+)[^|]* \| `(\w+)` \|$", section, re.M)}
    names = ("max_text_bytes", "max_messages", "max_words", "max_words_bytes")
    defaults = {field.name: field.default for field in dataclasses.fields(OrchestratorConfig)}
    config, _ = declared_inputs(root)
    assert listed == {name: defaults[name] for name in names} == {name: int(config.parameters[name].string_value) for name in names}
    assert f"{bounds.MAX_NAME_BYTES} bytes" in section and f"{bounds.MAX_ID_BYTES} bytes" in section
    assert f"{parameters.MAX_BYTES} characters" in section
    mine = (_bounds.MAX_TEXT_BYTES, _bounds.MAX_MESSAGES, _bounds.MAX_WORDS, _bounds.MAX_WORDS_BYTES)
    assert tuple(listed[name] for name in names) == mine


def test_the_page_of_results_has_every_output_and_event(root, page):
    text = (root / "model_repository/s1/config.pbtxt").read_text()
    events = [name.strip() for name in re.search(r'"event".*#(.*)', text).group(1).split("|")]
    config, _ = declared_inputs(root)
    outputs = {tensor.name for tensor in config.output}
    listed = first_cells(page("docs/result.md", "## Responses"))
    assert listed[-len(events) :] == events
    assert set(listed[: -len(events)]) == outputs


def test_the_page_of_results_has_every_key(page):
    """And no other; that the server sends these is held by test_result.py."""
    top = {field.name for field in dataclasses.fields(Result)} - {"thinking_end", "answer_end"} | {"finish_reason", "index"}
    assert set(first_cells(page("docs/result.md", "## Result"))) == top
    assert first_cells(page("docs/result.md", "## Usage")) == [field.name for field in dataclasses.fields(Usage)]
    rounds, _, ends = page("docs/result.md", "## Rounds").partition("| `ended_by` | meaning |")
    assert first_cells(rounds) == [field.name for field in dataclasses.fields(Round)]
    assert set(first_cells(ends)) == {end.value for end in RoundEnd} - {"cancelled"}
    effective = set(first_cells(page("docs/result.md", "## Effective")))
    assert effective == {*FIELDS, *EFFECTIVE_ONLY}, "serving/result_schema.py has other effective keys than the field table"


@pytest.mark.parametrize(("phase", "ends"), [("thinking", ThinkingEnd), ("answer", AnswerEnd)])
def test_the_page_of_results_has_every_reason_for_an_end(page, phase, ends):
    """But for "cancelled", which no reply has; in the overview, and with a meaning."""
    expected = {end.value for end in ends} - {"cancelled"}
    section = page("docs/result.md", "## Finish reason")
    row = re.search(rf"^\| {phase} \| `(.*)$", section, re.M).group(0)
    assert set(re.findall(r"`(\w+)`", row)) == expected
    explained = section.partition(f"| reason of the {phase} |")[2].partition("\n\n")[0]
    assert set(first_cells(explained)) == expected


def test_the_page_of_errors_has_every_code_and_whether_to_retry(page):
    """Of those that can reach a client: a wrong configuration does not load."""
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (yes|no) \|", page("docs/errors.md"), re.M))
    kinds = [errors.BudgetForceError, *errors.BudgetForceError.__subclasses__()]
    assert listed == {kind.code: "yes" if kind.retryable else "no" for kind in kinds if kind is not errors.ConfigError}


def test_the_page_of_commands_has_every_exit_code(page):
    listed = re.findall(r"^\| (\d+) \|", page("docs/cli/README.md", "## Exit codes"), re.M)
    assert sorted(map(int, listed)) == sorted({0, *EXIT_CODES.values()})


# --- operating --------------------------------------------------------------------------------------


def test_the_page_of_presets_has_every_preset(page):
    listed = re.findall(r"^\| `([\w-]+)` \| [^|]*\| [^|]*\|$", page("docs/presets.md"), re.M)
    assert sorted(listed) == presets.names()


def test_the_page_of_operations_has_every_metric(page):
    listed = re.findall(r"^\| `(s1_\w+)` \|", page("docs/operations.md", "## Metrics"), re.M)
    assert set(listed) == set(metric_definitions.METRICS)


def test_the_page_of_operations_names_options_of_the_launcher(page):
    named = set(re.findall(r"`(--[\w-]+)`", page("docs/operations.md", "## Parameters")))
    assert named
    assert named <= set(re.findall(r"^  (--[\w-]+)", page("docs/cli/serve.md"), re.M))


def test_the_page_of_engines_has_every_engine_and_every_input_of_the_shell(page):
    assert sorted(re.findall(r"^\| `(\w+)` \|", page("docs/engines.md", "## The engines"), re.M)) == sorted(serving_env.ENGINES)
    listed = first_cells(page("docs/engines.md", "## The shared shell"))
    assert sorted(listed) == sorted(engine_inputs.HONOURED | set(engine_inputs.NEUTRAL))


@pytest.mark.parametrize("name", ["config.pbtxt", "configs/bls.pbtxt"])
def test_the_config_names_every_engine(root, name):
    comment = re.search(r'key: "engine_model" *#(.*)', (root / "model_repository/s1" / name).read_text()).group(1)
    assert set(re.findall(r"\w+", comment)) >= set(serving_env.ENGINES)


def test_the_help_of_model_names_every_engine_that_takes_it(page):
    help_text = " ".join(re.search(r"  --model MODEL(.*?)\n  --", page("docs/cli/serve.md"), re.S).group(1).split())
    assert {"embedded_llm", "vllm_llm", "llmapi_llm"} <= set(re.findall(r"\w+", help_text))


def test_the_architecture_names_modules_that_exist(root, page):
    """Those of the server in its numbered life of a request, and of the import rules."""
    source = root / "python_backend/src/budgetforce"
    named = re.findall(r"`((?:serving|core|engine|text|launcher)(?:\.\w+)+)`", page("docs/architecture.md", "## The life of a request"))
    assert len(named) > 12
    assert [name for name in named if not (source / f"{name.replace('.', '/')}.py").is_file()] == []
    rules = page("docs/architecture.md", "## Import rules")
    packages = {path.name for path in source.iterdir() if (path / "__init__.py").is_file()}
    assert set(re.findall(r"budgetforce\.(\w+)", rules)) <= packages


# --- measured ---------------------------------------------------------------------------------------


def test_the_load_tests_example_defines_every_figure_of_a_report(root):
    report = html.unescape((root / "client/examples/loadtest/report.html").read_text())
    assert [term.title for term in TERMS.values() if term.definition not in report] == []


def test_the_settings_of_the_sweep_are_those_of_its_command(root, page):
    report = generated.saved_report("arithmetic")
    budgets, ignores = re.search(r"s1 sweep --file \S+ --max-thinking-tokens (\S+) --num-ignore (\S+)", page("docs/cli/sweep.md")).groups()
    requested = {(int(budget), int(ignore)) for budget in budgets.split(",") for ignore in ignores.split(",")}
    assert requested == {(row.limit, row.num_ignore) for row in report.rows}
    questions = (root / "client/examples/arithmetic.jsonl").read_text().splitlines()
    assert {row.num_samples for row in report.rows} == {row.num_questions for row in report.rows} == {len(questions)}
    assert {row.share_answers_cut for row in report.rows} == {0}, "what is published would show the cap of the answers"


def test_the_settings_of_the_evaluation_are_those_of_its_command(root, page):
    """Task, budgets, refused ends and votes; the record has a row for each setting, in the same order."""
    saved = generated.saved_report("evaluation")
    command = re.search(r"<!-- command: eval -->\n```sh\ns1 eval (.*?)\n```", page("docs/evaluation.md"), re.S).group(1)
    with evaluate.make_context("s1 eval", shlex.split(command.replace("$'\\n'", "'\n'"))) as context:
        plan = plan_of(context.params["task"], context.params)
        assert context.params["out"] == Path("evaluation"), "the folder from which the record is taken"
    assert [setting.name for setting in plan.protocol.settings()] == [row.setting for row in saved.rows]
    assert len(plan.protocol.budgets) >= 5
    assert saved.task == plan.task.name
    assert {row.num_questions for row in saved.rows} == {len(plan.task.questions)}
    assert {row.share_answers_cut for row in saved.rows} == {0}, "what is published would show the cap of the answers"


def test_the_figures_are_drawn_from_the_record_and_small(page):
    drawn = figures.figures()
    shown = re.findall(r"images/((?:curve|sequential-parallel)\.svg)", page("README.md") + page("docs/evaluation.md"))
    assert set(shown) <= {path.name for path in drawn}
    for path, text in drawn.items():
        assert path.read_text() == text, f"python3 build/local.py docs draws {path.name} again"
        assert len(text.encode()) < figures.MAX_BYTES


def test_the_readmes_range_of_the_chain_is_the_saved_one(root, page):
    rows = json.loads((root / "tests/benchmarks/chain_throughput.json").read_text())
    table = generated.chain_figures()
    ratios = sorted(float(row.split("|")[5].split()[0]) for row in table.splitlines()[2:])
    assert len(ratios) == len(rows)
    assert f"delivers {ratios[0]:.2f} to {ratios[-1]:.2f} of the bare engine library's tokens" in page("README.md")


def test_the_evaluation_page_names_every_recipe_and_only_arguments_that_exist(root, page):
    """And every recipe whose data come from a hub pins them."""
    text, folder = page("docs/evaluation.md"), root / "client/src/s1_client/evaluation/recipes"
    recipes = {path.stem: path.read_text() for path in folder.glob("*.yaml")}
    assert set(re.findall(r"^\| `(s1_\w+)` \|", text, re.M)) == recipes.keys()
    assert all(re.search(r"^  revision: [0-9a-f]{40}$|^custom_dataset:", recipe, re.M) for recipe in recipes.values())
    named = [argument.partition("=")[0] for line in re.findall(r"--model_args (\S+=\S+)", text) for argument in line.split(",")]
    *_, rest = connection_of(dict.fromkeys(named))
    assert named and option_values(rest, "model_args") == {}


def test_the_evaluation_pages_commands_are_accepted(page):
    """Options, their values, and the task's name; nothing is sent."""
    text = page("docs/evaluation.md")
    (common,) = re.findall(r'^S1="s1 eval (.*)"$', text, re.M)
    commands = re.findall(r"^\$S1 (.*)$", text, re.M)
    for command in commands:
        with evaluate.make_context("s1 eval", shlex.split(f"{common} {command}", comments=True)) as context:
            assert context.params["task"] in RECIPES and context.params["out"]
    assert len(commands) >= 5


def test_the_evaluation_page_names_options_that_exist(page):
    known = {flag for option in evaluate.params for flag in option.opts}
    named = set(re.findall(r"`(--[a-z-]+)", page("docs/evaluation.md", "## Protocols: s1 eval")))
    assert len(named) > 15
    assert named <= known


def test_the_evaluation_page_makes_a_task_of_csv(page, tmp_path):
    """Its command as it stands, line breaks and commas in cells included."""
    (command,) = re.findall(r"^```sh\n(python3 -c .*?)```", page("docs/evaluation.md"), re.M | re.S)
    (tmp_path / "questions.csv").write_text('question,answer\n"What is\n1,000 + 1?",1001\nCapital of France?,Paris\n')
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    questions = load_task(str(tmp_path / "questions.jsonl")).questions
    assert [(question.prompt, question.expected, question.grading) for question in questions] == [
        ("What is\n1,000 + 1?", "1001", "integer"),
        ("Capital of France?", "Paris", "text"),
    ]

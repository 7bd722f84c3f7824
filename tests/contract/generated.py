# SPDX-License-Identifier: Apache-2.0
"""The generated parts of the pages: what stands between ``<!-- generated: NAME -->`` and ``<!-- end of generated -->``.

Programs are shown as they are: ``<!-- file: PATH -->`` stands before a block of code that holds the file, its head (up to the
first empty line) left out. ``<!-- output of: plan … -->`` stands before the output of ``build/engine.py``.
``refresh.py`` writes all into the pages; test_docs.py compares.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import click

from s1_client.cli.app import COMMANDS, s1

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("build", "client", "docs", "model_repository", "python_backend", "tests")
GENERATED = re.compile(r"<!-- generated: ([^>]+) -->\n(.*?)<!-- end of generated -->", re.S)
PRINTED = re.compile(r"<!-- (output|refusal) of: (plan [^>]+|all --dry-run) -->\n```text\n(.*?)```\n", re.S)
INCLUDED = re.compile(r"<!-- file: (\S+) -->\n```(\w+)\n(.*?)```\n", re.S)


def pages() -> list[Path]:
    """Every Markdown file of the project."""
    return sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])


def refreshed(text: str) -> str:
    """The page with its generated parts as they should be."""
    text = GENERATED.sub(lambda found: f"<!-- generated: {found[1]} -->\n{body(found[1])}<!-- end of generated -->", text)
    text = PRINTED.sub(lambda found: f"<!-- {found[1]} of: {found[2]} -->\n```text\n{printed(*found.groups()[:2])}```\n", text)
    return INCLUDED.sub(lambda found: f"<!-- file: {found[1]} -->\n```{found[2]}\n{program(found[1])}```\n", text)


def body(name: str) -> str:
    """The generated part of that name, with a line break at its end, and before a heading an empty line."""
    kind, _, argument = name.partition(": ")
    made: str = PARTS[kind](argument) if argument else PARTS[kind]()
    return f"{made.rstrip()}\n" if not made.startswith("#") else f"\n{made.rstrip()}\n"


def program(path: str) -> str:
    """A file without its head: licence and docstring."""
    return (ROOT / path).read_text().partition("\n\n")[2].lstrip("\n")


def printed(kind: str, arguments: str) -> str:
    """What ``build/engine.py`` prints with these arguments, or why it refuses; commands as they are inside the image."""
    from budgetforce.building.__main__ import main

    places = ["--work", "/data", "--model-repository", "/s1/model_repository", "--engine-path", "/engine"]
    command, *options = arguments.split()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        main([command, *(places if command == "all" else []), *options])
    return (out.getvalue() if kind == "output" else error.getvalue().lstrip("\n")).replace(sys.executable, "python3")


# --- the command line --------------------------------------------------------------------------


def command_page(name: str) -> str:
    """Usage, description and own options of a command, and a line about the options that it shares with others."""
    command = _command(name)
    context = click.Context(command, info_name=f"s1 {name}", terminal_width=100)
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [f"```text\n{usage}\n```", _paragraphs(command.help or "")]
    own = [option for option in _options(command) if _section(option) is None]
    if own:
        parts.append(f"| option | meaning |\n|---|---|\n{_rows(own, context)}")
    return "\n\n".join([*parts, _shared_by(command)]).rstrip()


def launcher_help() -> str:
    """``s1 serve --help``, which is the launcher's, in a process of its own."""
    command = [sys.executable, "-m", "s1_client", "serve", "--help"]
    shown = subprocess.run(command, env={**os.environ, "COLUMNS": "100"}, capture_output=True, text=True, check=True).stdout
    return f"```text\n{shown}```"


def command_list() -> str:
    """A line for each command, with a link to its page."""
    return "\n".join(
        ["| command | what it does |", "|---|---|", *(f"| [`s1 {name}`]({name}.md) | {text} |" for name, text in COMMANDS.items())]
    )


def shared_options() -> str:
    """The options that several commands have, a table for each section, and who takes them."""
    users = {name: {option.name: option for option in _options(_command(name)) if _section(option)} for name in COMMANDS}
    sections: dict[str, dict[str, click.Option]] = {}
    for options in users.values():
        for option in options.values():
            sections.setdefault(_section(option) or "", {}).setdefault(str(option.name), option)
    return "\n\n".join(_section_table(title, options, users) for title, options in sections.items())


def _section_table(title: str, options: dict[str, click.Option], users: dict[str, Any]) -> str:
    takers = [name for name in COMMANDS if options.keys() & users[name].keys()]
    context = click.Context(_command(takers[0]), info_name="s1", terminal_width=100)
    without = {name: [taker for taker in takers if name not in users[taker]] for name in options}
    notes = {name: f" (not `s1 {'`, `s1 '.join(missing)}`)" for name, missing in without.items() if missing}
    rows = "\n".join(_row(option, context, notes.get(name, "")) for name, option in options.items())
    taken = ", ".join(f"[`s1 {name}`]({name}.md)" for name in takers)
    return f"### {title}\n\nTaken by {taken}.\n\n| option | meaning |\n|---|---|\n{rows}"


def _shared_by(command: click.Command) -> str:
    """A sentence that names the sections of shared options."""
    titles = list(dict.fromkeys(title for option in _options(command) if (title := _section(option))))
    if not titles:
        return ""
    links = ", ".join(f"[{title.lower()}](README.md#{title.lower().replace(' ', '-')})" for title in titles)
    return f"It also takes [shared options](README.md#shared-options): {links}."


def _command(name: str) -> click.Command:
    command = s1.get_command(click.Context(s1, info_name="s1"), name)
    assert command is not None, name
    return command


def _options(command: click.Command) -> Iterator[click.Option]:
    return (option for option in command.params if isinstance(option, click.Option))


def _section(option: click.Option) -> str | None:
    """The section that a shared option belongs to; None for an option of one command."""
    section: str = getattr(option, "section", "Options")
    return None if section == "Options" else section


def _rows(options: list[click.Option], context: click.Context) -> str:
    return "\n".join(_row(option, context) for option in options)


def _row(option: click.Option, context: click.Context, note: str = "") -> str:
    record = option.get_help_record(context)
    assert record is not None, option.name
    names, meaning = (" ".join(text.split()).replace("|", "\\|") for text in record)
    return f"| `{names}` | {meaning}{note} |"


def _paragraphs(text: str) -> str:
    """A docstring's paragraphs, each on one line; an angle bracket would begin a tag."""
    paragraphs = re.split(r"\n\s*\n", text.replace("\b", "").strip())
    return "\n\n".join(" ".join(part.split()).replace("<", "&lt;") for part in paragraphs)


def chat_help() -> str:
    """The commands of a chat, as its /help lists them."""
    from s1_client.cli.reply.session import Session

    return f"```text\n{Session({}, None).run_command('/help')}\n```"  # type: ignore[arg-type]  # it sends nothing


# --- saved runs --------------------------------------------------------------------------------


def report_terms() -> str:
    """What each figure of a load test's report means."""
    from s1_client.loadtest._metric_definitions import TERMS

    rows = (f"| {term.title}{f', {term.unit}' if term.unit else ''} | {term.definition} |" for term in TERMS.values())
    return "\n".join(["| figure | meaning |", "|---|---|", *rows])


def evaluation_output() -> str:
    """What `s1 eval` prints of the saved evaluation, but for its last line."""
    from s1_client.cli.evaluate.tables import report_parts

    return _printed(report_parts(saved_report("evaluation")))


def sweep_output() -> str:
    """What `s1 sweep` prints of the saved sweep, but for its last line."""
    from s1_client.cli.evaluate.tables import grid

    report = saved_report("arithmetic")
    return _printed([grid(report), *report.effects])


def saved_report(name: str) -> Any:
    """Return the report of the saved evaluation or sweep of that name."""
    from s1_client.evaluation import report_of

    return report_of((ROOT / f"client/examples/{name}/summary.json").read_text())


def _printed(parts: Any) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), highlight=False, markup=False)
    lines = (line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]
    return "```text\n" + "".join(f"{line}\n" for line in lines) + "```"


def chain_figures() -> str:
    """The chain beside the bare library, as saved."""
    from benchmarks import chain_throughput

    rows = json.loads((ROOT / "tests/benchmarks/chain_throughput.json").read_text())
    return "\n".join([chain_throughput.HEAD, *(chain_throughput.line(row) for row in rows)])


def peer_figures() -> str:
    """Comparison with other implementations of budget forcing, as saved."""
    from benchmarks import peer_table

    return peer_table.report(json.loads((ROOT / "tests/benchmarks/peers.json").read_text()))


def tenant_figures() -> str:
    """What a busy tenant costs another, as saved."""
    from benchmarks import tenants

    return tenants.table(json.loads((ROOT / "tests/benchmarks/tenants.json").read_text())["first_token_ms"])


def orchestration_figures() -> str:
    """What the orchestration costs, as saved."""
    from benchmarks import orchestration

    return orchestration.table(json.loads((ROOT / "tests/benchmarks/orchestration.json").read_text())["rows"])


# Recipe and GPUs of each row of the table on training; those that do not fit are shown as well.
_TRAINING_PLANS = ("s1-1.5b 1xH100", "s1-7b 1xH100", "s1-7b 2xH100", "s1-7b 8xH100", "s1-32b 8xH100", "s1-32b 8xH200", "s1-32b 16xH100")


def training_plans() -> str:
    """What `build/train.py plan` computes for some recipes and GPUs."""
    from budgetforce.building.gpus import GB, GIB, parse_gpus
    from budgetforce.building.toolrun import duration
    from budgetforce.training.planner import TrainingPlan
    from budgetforce.training.recipe import load_recipe
    from budgetforce.training.shapes import shape_of

    rows = []
    for name, gpus in map(str.split, _TRAINING_PLANS):
        recipe, (number, gpu) = load_recipe(name), parse_gpus(gpus)
        plan = TrainingPlan(recipe=recipe, shape=shape_of(recipe.model), data=recipe.expected, num_gpus=number, gpu=gpu)  # type: ignore[arg-type]
        memory = f"{plan.needed_bytes / GIB:.0f} of {gpu.memory_bytes / GIB:.0f} GiB"
        time = duration(plan.seconds[1]) if plan.fits and plan.seconds else "does not fit"
        rows.append(f"| `{name}` | {gpus} | {memory} | {sum(plan.disk_bytes.values()) / GB:,.0f} GB | {time} |")
    return "\n".join(["| recipe | GPUs | memory of each | disk | time |", "|---|---|---|---|---|", *rows])


# --- the code ------------------------------------------------------------------------------------


def state_diagram() -> str:
    """The core's table of states."""
    from budgetforce.core.states import mermaid

    return f"```mermaid\n{mermaid()}\n```"


def request_fields() -> str:
    """The table of request fields: types, allowed values and meanings."""
    from s1_client._fields import FIELDS

    rows = []
    for field in FIELDS.values():
        kind = {"BYTES": "STRING"}.get(field.datatype, field.datatype) + ("[]" if field.is_list else "")
        allowed = re.sub(r"^(any value|one of |an integer |a number )| \(.*\)$", "", field.allowed)
        rows.append(f"| `{field.name}` | {kind} | {allowed} | {field.help} |")
    return "\n".join(["| field | type | allowed | meaning |", "|---|---|---|---|", *rows])


# parameter -> the launcher's option, where it is not that of the same name
_LAUNCHER_OPTIONS = {
    "engine_model": "--engine",
    "engine_ca": "--tls-cert",
    "engine_name": "--tls-cert",
    "engine_cert": "--loopback-cert",
    "engine_key": "--loopback-key",
    "engine_secret_file": "--secret-file",
    "tenant_secret_file": "--tenant-secret-file",
    "tokenizer_dir": "--tokenizer",
    "model_dir": "--model",
}
_LIMITS = ("max_replies", "max_waiting", "max_kv_tokens", "max_tenant_replies", "max_tenant_waiting")
_TRACING = ("trace_url", "trace_rate")
_SAME_OPTIONS = ("preset", *_LIMITS, "transport", "log_level", "log_format", "log_prompts", "library", *_TRACING)


def parameters(model: str) -> str:
    """The parameters of a model: the comments of its config, the defaults of its class, and where they are set."""
    from budgetforce import config

    kind: Any = {"s1": config.OrchestratorConfig, "embedded_llm": config.EmbeddedConfig}[model]
    pattern = r'key: "(\w+)" *# (.*)\n *value: { string_value: "(.*)" }'
    found = re.findall(pattern, (ROOT / f"model_repository/{model}/config.pbtxt").read_text())
    comments = {name: comment.replace(" | ", ", ") for name, comment, _ in found}
    variables = {name: match[1] for name, _, value in found if (match := re.match(r"\$\{(\w+)", value))}
    options = _LAUNCHER_OPTIONS | {name: f"--{name.replace('_', '-')}" for name in _SAME_OPTIONS}
    rows = []
    for field in dataclasses.fields(kind):
        default = "required" if field.default is dataclasses.MISSING else field.default if field.default != "" else "empty"
        places = [f"`{places[field.name]}`" if field.name in places else "" for places in (variables, options)]
        rows.append(f"| `{field.name}` | {comments[field.name]} | {default} | {' | '.join(places)} |")
    return "\n".join(["| parameter | meaning | default | variable | launcher |", "|---|---|---|---|---|", *rows])


def metrics() -> str:
    """The metrics of model ``s1``."""
    from budgetforce.serving.metric_definitions import BUILD_INFO, BUILD_LABELS, METRICS, Kind

    rows = []
    for metric in METRICS.values():
        labels = [f"`{label}`: {', '.join(values)}" for label, values in metric.labels.items()]
        labels += [", ".join(f"`{label}`" for label in BUILD_LABELS)] if metric.name == BUILD_INFO else []
        buckets = f". Buckets: {' '.join(f'{bound:g}' for bound in metric.buckets)}" if metric.kind is Kind.HISTOGRAM else ""
        rows.append(f"| `{metric.name}` | {metric.kind.value} | {'; '.join(labels)} | {metric.meaning}{buckets} |")
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows])


def alerts() -> str:
    """The alerts of build/monitoring/alerts.yml."""
    import yaml

    rules = yaml.safe_load((ROOT / "build/monitoring/alerts.yml").read_text())["groups"][0]["rules"]
    rows = []
    for rule in rules:
        name, expression, action = rule["alert"], rule["expr"].replace("|", "\\|"), rule["annotations"]["action"]
        rows.append(f"| [{name}](#{name.lower()}) | {rule['labels']['severity']} | `{expression}` | {rule['for']} | {action} |")
    return "\n".join(["| alert | severity | expression | for | what to do |", "|---|---|---|---|---|", *rows])


def chart_values() -> str:
    """The values of the Helm chart: defaults from values.yaml, meanings and limits from its schema."""
    import yaml

    chart = ROOT / "build/deploy/chart"
    schema, values = json.loads((chart / "values.schema.json").read_text()), yaml.safe_load((chart / "values.yaml").read_text())
    rows = [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in _chart_rows(schema, values)]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def _chart_rows(schema: dict[str, Any], values: dict[str, Any], group: str = "") -> Iterator[tuple[str, str, str]]:
    for name, entry in schema["properties"].items():
        if entry.get("additionalProperties") is False and name != "resources":
            yield from _chart_rows(entry, values[name], f"{group}{name}.")
        elif name in values:
            default = values[name]
            shown = "empty" if default in ("", [], {}) else f"`{json.dumps(default).strip(chr(34))}`"
            yield f"{group}{name}", shown, f"{entry['description']}{_chart_limits(entry)}"


def _chart_limits(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return f" ({', '.join(f'`{value}`' for value in entry['enum'])})"
    return f" ({entry['minimum']:,} to {entry['maximum']:,})" if "minimum" in entry else ""


def preset_values() -> str:
    """The values of each model preset: a row for each request field that it sets, a column for each preset."""
    from budgetforce import presets

    loaded = [presets.Preset.load(name) for name in presets.names()]
    values: dict[str, Callable[[Any], Any]] = {
        "`max_thinking_tokens`": lambda preset: preset.thinking.max_tokens,
        "`reasoning_effort`": lambda preset: ", ".join(f"{word} {budget}" for word, budget in preset.thinking.efforts.items()),
        "`num_ignore`": lambda preset: preset.thinking.num_ignore,
        "`ignore_str`": lambda preset: ", ".join(preset.thinking.ignore_str),
        "first words of the thinking": lambda preset: preset.thinking.prefix,
        "`max_tokens`": lambda preset: preset.answer.max_tokens,
        "tokens reserved for the answer": lambda preset: preset.answer.reserve_tokens,
        "`answer_prefix`": lambda preset: preset.answer.prefix,
        "`answer_prefix_policy`": lambda preset: preset.answer.prefix_policy,
        **{f"`{name}`": lambda preset, name=name: preset.sampling.get(name, "") for name in ("temperature", "top_p", "top_k")},
        "context, in tokens": lambda preset: preset.context_tokens,
    }
    head = f"| default | {' | '.join(f'`{preset.name}`' for preset in loaded)} |"
    rows = [f"| {title} | {' | '.join(str(value(preset)) for preset in loaded)} |" for title, value in values.items()]
    return "\n".join([head, "|---" * (len(loaded) + 1) + "|", *rows])


def result_keys(schema: str) -> str:
    """The keys of a part of the result, as the server's schema has them."""
    from budgetforce.serving import result_schema

    kind = getattr(result_schema, schema)
    types, meanings = get_type_hints(kind), result_schema.meanings(kind)
    rows = [f"| `{key}` | {_json_type(types[key])} | {meaning} |" for key, meaning in meanings.items()]
    return "\n".join(["| key | type | meaning |", "|---|---|---|", *rows])


def _json_type(kind: Any) -> str:
    """The JSON type of an annotation, in words."""
    if isinstance(kind, UnionType):
        return " or ".join(_json_type(part) for part in get_args(kind))
    if get_origin(kind) in (list, Sequence):
        return f"list of {_json_type(get_args(kind)[0])}s"
    return {int: "integer", float: "number", str: "string", NoneType: "null"}.get(kind, "object")


def modules(folder: str) -> str:
    """A line for each module of a package: the first sentence of its docstring."""
    paths = sorted((ROOT / folder).rglob("*.py"), key=lambda path: (path.parent.parts, path.name != "__init__.py", path.name))
    described = {path: " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split()) for path in paths}
    rows = [f"| `{path.relative_to(ROOT / folder)}` | {_sentence(text)} |" for path, text in described.items() if text]
    return "\n".join(["| module | what it does |", "|---|---|", *rows])


def _sentence(text: str) -> str:
    return re.split(r"(?<=\.) (?=[A-Z`])", text)[0].replace("``", "`").replace("|", "\\|")


PARTS: dict[str, Callable[..., str]] = {
    "command": command_page,
    "launcher": launcher_help,
    "commands": command_list,
    "shared options": shared_options,
    "chat help": chat_help,
    "chart values": chart_values,
    "terms of s1 report": report_terms,
    "output of s1 eval": evaluation_output,
    "output of s1 sweep": sweep_output,
    "chain figures": chain_figures,
    "peer figures": peer_figures,
    "orchestration figures": orchestration_figures,
    "tenant figures": tenant_figures,
    "state diagram": state_diagram,
    "request fields": request_fields,
    "alerts": alerts,
    "metrics": metrics,
    "parameters": parameters,
    "preset values": preset_values,
    "modules": modules,
    "result keys": result_keys,
    "training plans": training_plans,
}

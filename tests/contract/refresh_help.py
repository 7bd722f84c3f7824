# SPDX-License-Identifier: Apache-2.0
"""Writes the commands' help into the client's README, where ``<!-- output of: s1 NAME --help -->`` stands, and what the
words of a report mean; and the output of the saved evaluation and the saved sweep.

python tests/contract/refresh_help.py
"""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from s1_client.cli.app import COMMANDS, s1
from s1_client.cli.evaluate.sweep_summary import Row, Summary
from s1_client.cli.evaluate.sweep_table import table
from s1_client.cli.evaluate.tables import told
from s1_client.evaluation import Report, report_of
from s1_client.loadtest._metric_definitions import TERMS

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "client/README.md"


def block(command: str) -> str:
    """The comment, and the help as a terminal of 100 columns shows it."""
    told = launcher() if command == "serve" else CliRunner().invoke(s1, [command, "--help"], prog_name="s1", terminal_width=100).stdout
    return f"<!-- output of: s1 {command} --help -->\n```text\n{told}```\n"


def launcher() -> str:
    """``s1 serve`` becomes the launcher, in a process that has to be its own."""
    command = [sys.executable, "-m", "s1_client", "serve", "--help"]
    return subprocess.run(command, env={**os.environ, "COLUMNS": "100"}, capture_output=True, text=True, check=True).stdout


def terms() -> str:
    """The comments, and between them the table of definitions that a report has, too."""
    rows = (f"| {term.title}{f', {term.unit}' if term.unit else ''} | {term.definition} |" for term in TERMS.values())
    return "\n".join(["<!-- terms of s1 report -->", "| figure | meaning |", "|---|---|", *rows, "<!-- end of the terms -->"])


def evaluation(report: Report) -> str:
    """What `s1 eval` prints of a report, but for its last line."""
    console = Console(file=io.StringIO(), width=80)
    for part in told(report):
        console.print(part, soft_wrap=isinstance(part, str), highlight=False, markup=False)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def sweep(summary: Summary) -> str:
    """What `s1 sweep` prints of a summary, but for its last line."""
    console = Console(file=io.StringIO(), width=80)
    console.print(table(summary))
    cut = summary.cut_answers()
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()] + ([cut] if cut else [])
    return "".join(f"{line}\n" for line in lines)


def saved_sweep() -> Summary:
    saved = json.loads((ROOT / "client/examples/arithmetic/summary.json").read_text())
    return Summary(**{**saved, "rows": [Row(**row) for row in saved["rows"]]})


def refresh_examples() -> None:
    """The output of the saved evaluation, and of the saved sweep."""
    saved = report_of((ROOT / "client/examples/evaluation/summary.json").read_text())
    _replace(ROOT / "README.md", "eval", evaluation(saved))
    _replace(README, "sweep", sweep(saved_sweep()))


def _replace(readme: Path, name: str, output: str) -> None:
    mark = f"<!-- output of: {name} -->\n```text\n"
    readme.write_text(re.sub(f"{mark}.*?```\n", lambda _: f"{mark}{output}```\n", readme.read_text(), flags=re.S))


if __name__ == "__main__":
    refresh_examples()
    text = README.read_text()
    for name in COMMANDS:
        text = re.sub(rf"<!-- output of: s1 {name} --help -->\n```text\n.*?```\n", lambda _, name=name: block(name), text, flags=re.S)
    text = re.sub(r"<!-- terms of s1 report -->.*<!-- end of the terms -->", lambda _: terms(), text, flags=re.S)
    README.write_text(text)

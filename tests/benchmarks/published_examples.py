# SPDX-License-Identifier: Apache-2.0
"""Runs the commands whose results the pages show, and puts those results into client/examples and the pages.

    s1 serve &                                                    # or any server of the model that the page names
    python tests/benchmarks/published_examples.py [--url HOST:PORT] [eval] [sweep] [loadtest]

Without a name all three, some ten minutes on two idle cores; the load test wants a machine that does nothing else. The commands
are read from the pages: change them there. Prints which answers were cut, if any were: then the examples show the
cap, not the model. Read the sentences around the examples again by hand, with their dates and figures.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from contract import refresh  # noqa: E402  # found by the line above

EXAMPLES = ROOT / "client/examples"
EXAMPLE = {  # name -> page, folder of the example, files that are kept
    "eval": ("docs/evaluation.md", "evaluation", ("summary.json", "summary.csv", "settings.json")),  # refresh draws its figures
    "sweep": ("docs/cli/sweep.md", "arithmetic", ("summary.json", "sweep.svg")),
    "loadtest": ("docs/load-testing.md", "loadtest", ("report.html", "summary.json", "first-token.png")),
}


def command_of(name: str) -> str:
    """The command behind ``<!-- command: NAME -->``, for bash."""
    text = (ROOT / EXAMPLE[name][0]).read_text()
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.*?)```", text, re.S)
    assert found, f"no command {name} in {EXAMPLE[name][0]}"
    return found.group(1)


def make(name: str, url: str) -> None:
    """Run the command in a folder of its own, and keep what is published of it."""
    _, example, files = EXAMPLE[name]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "client").symlink_to(ROOT / "client")
        environment = {**os.environ, "S1_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-ec", command_of(name)], cwd=folder, env=environment, check=True)
        made = Path(folder) / example / ("report" if name == "loadtest" else "")
        for file in files:
            shutil.copyfile(made / file, EXAMPLES / example / file)


def cut_answers(name: str) -> list[str]:
    """The settings of which answers were cut."""
    rows = json.loads((EXAMPLES / EXAMPLE[name][1] / "summary.json").read_text()).get("rows", [])
    return [str(row.get("setting") or (row["max_thinking_tokens"], row["num_ignore"])) for row in rows if row["share_answers_cut"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(EXAMPLE)} (default: all)")
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()
    for name in arguments.names or EXAMPLE:
        make(name, arguments.url)
        print(f"{name}: answers were cut at {', '.join(cut_answers(name)) or 'no setting'}")
    refresh.refresh()


if __name__ == "__main__":
    main()

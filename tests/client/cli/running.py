# SPDX-License-Identifier: Apache-2.0
"""Run the command in the test's process, or in a process of its own that can be killed."""

import json
import subprocess
import sys

from click.testing import CliRunner

from s1_client.cli.app import s1


def call(*arguments, code=0, **rest):
    """Run the command in this process, check its exit code, and return the result."""
    result = CliRunner().invoke(s1, [str(one) for one in arguments], **rest)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def start(*arguments):
    """Start the command in a process of its own."""
    command = [sys.executable, "-m", "s1_client", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def write_lines(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def entries(path):
    """Return the lines of a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_id(path):
    """Return the lines of a file of results by id, which must be unique."""
    found = {entry["id"]: entry for entry in entries(path)}
    assert len(found) == len(entries(path))
    return found

# SPDX-License-Identifier: Apache-2.0
"""``s1 models`` against the fake server."""

import json

import pytest
from click.testing import CliRunner

from s1_client.cli.app import s1
from s1_client.testing import FakeServer


def test_a_model_is_a_line_with_its_kind():
    with FakeServer() as server:
        done = CliRunner().invoke(s1, ["models", "--url", server.url])
        told = CliRunner().invoke(s1, ["models", "--url", server.url, "--json"])
    assert done.output.splitlines()[1].split() == ["s1", "1", "READY", "budget", "forcing"]
    assert json.loads(told.output) == {"name": "s1", "version": "1", "state": "READY", "kind": "budget forcing", "reason": ""}


def test_it_is_about_all_models():
    refused = CliRunner().invoke(s1, ["models", "--model", "s1"])
    assert refused.exit_code == 2 and "No such option" in refused.stderr


def test_no_server_is_a_line_and_an_exit_code():
    done = CliRunner().invoke(s1, ["models", "--url", "127.0.0.1:1"])
    assert done.exit_code == 3
    assert done.output.startswith("s1: no server at 127.0.0.1:1 (connection refused)")


@pytest.mark.parametrize(
    "arguments", [["models"], ["doctor"], ["ask", "hi"], ["gateway", "--port", "1"]], ids=lambda arguments: arguments[0]
)
def test_a_certificate_that_cannot_be_read_is_a_refused_value(tmp_path, arguments):
    (tmp_path / "text").write_text("no PEM")
    for name, reason in (("missing", "missing: No such file or directory"), ("text", "text is no PEM file")):
        done = CliRunner().invoke(s1, [*arguments, "--url", "grpcs://127.0.0.1:1", "--ca", str(tmp_path / name)])
        assert (done.exit_code, reason in done.stderr) == (2, True)

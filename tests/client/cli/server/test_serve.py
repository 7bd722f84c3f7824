# SPDX-License-Identifier: Apache-2.0
"""``s1 serve`` replaces itself with the launcher."""

import importlib.util
import os
import sys

from click.testing import CliRunner

from s1_client.cli.app import s1


def test_the_launcher_gets_every_option(monkeypatch):
    called = []
    monkeypatch.setattr(os, "execv", lambda *arguments: called.append(arguments))
    CliRunner().invoke(s1, ["serve", "--grpc-port", "0", "--help", "--", "true"])
    assert called == [(sys.executable, [sys.executable, "-m", "budgetforce.launcher", "--grpc-port", "0", "--help", "--", "true"])]


def test_without_the_servers_package_the_error_names_the_installation(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    done = CliRunner().invoke(s1, ["serve"])
    assert done.exit_code == 1
    assert "python3 build/local.py serve" in done.output

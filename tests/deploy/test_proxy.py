# SPDX-License-Identifier: Apache-2.0
"""Checks inside of a container ask their own machine, whatever proxy its environment names: Docker sets http_proxy where it has one."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from deploy.charts import container_of

pytestmark = pytest.mark.xdist_group("chart")


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/health", "/v2/health/live") else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    with HTTPServer(("127.0.0.1", 0), Healthy) as running:
        threading.Thread(target=running.serve_forever).start()
        yield running.server_port
        running.shutdown()


def checks(root, uses):
    """Return the commands of checks, each with the port that it asks."""
    compose = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]["gateway"]["healthcheck"]["test"]
    return [(compose[1:], 8080), (container_of(uses["TLS"])["livenessProbe"]["exec"]["command"], 8000)]


def test_no_check_goes_through_a_proxy(root, uses, port):
    for command, asked in checks(root, uses):
        program = json.loads(json.dumps([sys.executable, *command[1:]]).replace(f"127.0.0.1:{asked}", f"127.0.0.1:{port}"))
        environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
        assert subprocess.run(program, env=environment, capture_output=True, timeout=30).returncode == 0
        wrong = [word.replace("health", "nothing") for word in program]
        assert subprocess.run(wrong, env=environment, capture_output=True, timeout=30).returncode != 0  # it can fail

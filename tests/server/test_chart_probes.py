# SPDX-License-Identifier: Apache-2.0
"""The command of the Helm chart's pod on this machine, without a container: a real server answers the probes as the chart writes them."""

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from budgetforce.launcher.ports import choose_ports
from deploy.helm import helm
from s1_client import Client
from server.waiting import wait_until

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
TLS = {"tls": {"enabled": True, "secretName": "certificate"}}


@pytest.fixture(scope="module")
def containers(root, tmp_path_factory):
    """The server's container of cpu.yaml on free ports; and with TLS, whose probes run inside of the container."""
    four = {"http": 0, "grpc": 0, "metrics": 0, "ready": 0}
    while len(set(four.values())) < len(four):
        three, fourth = choose_ports(http=0, grpc=0, metrics=0), choose_ports(http=0, grpc=0, metrics=0)
        four = {"http": three.http, "grpc": three.grpc, "metrics": three.metrics, "ready": fourth.http}
    deploy = root / "build/deploy"
    with helm(tmp_path_factory.mktemp("home")) as running:
        rendered = [
            running.render(deploy / "chart", {"ports": four, "stop": {"lameDuckS": 3}, **more}, [deploy / "cpu.yaml"]) for more in ({}, TLS)
        ]
    deployments = [item for objects in rendered for item in objects if item["kind"] == "Deployment"]
    return [item["spec"]["template"]["spec"]["containers"][0] for item in deployments]


@contextmanager
def running(container, root):
    """Run a container's command with this machine's Python and folders, on loopback."""
    here = {"python3": sys.executable, "0.0.0.0": "127.0.0.1", "/models": str(root / ".s1/models")}
    command = [here.get(word, word) for word in container["args"]]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def status(container, probe):
    """What the kubelet gets: a status, or 0 if nobody listens."""
    get, ports = container[probe]["httpGet"], {port["name"]: port["containerPort"] for port in container["ports"]}
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[get['port']]}{get['path']}", timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_a_server_answers_the_probes_and_announces_its_stop(containers, root):
    container, inside = containers
    grpc = next(port["containerPort"] for port in container["ports"] if port["name"] == "grpc")
    with running(container, root) as process, Client(f"127.0.0.1:{grpc}", max_retries=0) as client:
        seen = set()
        wait_until(lambda: seen.add(status(container, "startupProbe")) or 200 in seen, seconds=60)
        assert seen <= {0, 503, 200}  # not ready while it loads
        assert [status(container, probe) for probe in PROBES] == [200, 200, 200]
        for probe in PROBES:
            command = inside[probe]["exec"]["command"]
            assert subprocess.run([sys.executable, *command[1:]], capture_output=True, timeout=60, check=False).returncode == 0, probe

        process.send_signal(signal.SIGTERM)
        wait_until(lambda: status(container, "readinessProbe") == 404, seconds=10)
        assert client.think("How many r in raspberry", max_thinking_tokens=20).answer  # still served
        assert status(container, "livenessProbe") == 200
        assert process.wait(timeout=60) == 0

# SPDX-License-Identifier: Apache-2.0
"""What build/deploy/chart tells Prometheus, autoscalers, the network and gateways."""

import json

import pytest
import yaml

from deploy.charts import container_of, one, options_of
from s1_client.cli.server.haproxy import haproxy

pytestmark = pytest.mark.xdist_group("chart")


def test_the_alerts_are_those_of_the_project(uses, root):
    rules = one(uses["production"], "PrometheusRule")["spec"]
    assert rules == yaml.safe_load((root / "build/monitoring/alerts.yml").read_text())
    shown = one(uses["production"], "ConfigMap", "-dashboard")["data"]["s1.json"]
    assert json.loads(shown) == json.loads((root / "build/monitoring/dashboard.json").read_text())


def test_the_alerts_expect_the_job_that_the_pod_monitor_sets(uses):
    """Alert S1Down is about job="s1": a label of the pods gives the job its name."""
    monitor = one(uses["production"], "PodMonitor")["spec"]
    pod = one(uses["production"], "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert pod[monitor["jobLabel"]] == "s1"
    assert monitor["podMetricsEndpoints"][0]["port"] in [port["name"] for port in container_of(uses["production"])["ports"]]
    assert monitor["selector"]["matchLabels"].items() <= pod.items()


def test_replicas_are_added_for_requests_that_wait_and_for_full_replicas(uses):
    scaled = one(uses["production"], "ScaledObject")["spec"]
    queries = {trigger["metadata"]["query"]: trigger["metadata"]["threshold"] for trigger in scaled["triggers"]}
    series = '{namespace="serving",app_kubernetes_io_instance="s1"}'
    assert queries == {f"sum(s1_requests_waiting{series})": "1", f"sum(s1_replies_running{series})": "26"}  # 0.8 of 32
    metrics = one(uses["own pool, HPA"], "HorizontalPodAutoscaler")["spec"]["metrics"]
    found = {metric["pods"]["metric"]["name"]: metric["pods"]["target"]["averageValue"] for metric in metrics}
    assert found == {"s1_requests_waiting": "1", "s1_replies_running": "26"}
    assert "replicas" not in one(uses["production"], "Deployment")["spec"]
    assert one(uses["one replica"], "Deployment")["spec"]["replicas"] == 1


def test_replicas_are_taken_away_more_slowly_than_a_thought_lasts(uses):
    for behavior in (
        one(uses["production"], "ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        one(uses["own pool, HPA"], "HorizontalPodAutoscaler")["spec"]["behavior"],
    ):
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= options_of(uses["production"]).drain_s
        assert [policy["value"] for policy in behavior["scaleDown"]["policies"]] == [1]


# --- network ------------------------------------------------------------------------------


def test_only_grpc_and_metrics_may_be_reached(uses):
    policy = one(uses["production"], "NetworkPolicy")["spec"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [["grpc"], ["metrics"]]
    assert all(rule["from"] for rule in policy["ingress"])
    assert policy["egress"] == []
    assert policy["podSelector"]["matchLabels"] == one(uses["production"], "Deployment")["spec"]["selector"]["matchLabels"]
    assert [port["port"] for rule in one(uses["one replica"], "NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]] == ["grpc"]


def test_the_gateway_of_the_chart_may_reach_the_server(uses):
    peers = one(uses["production"], "NetworkPolicy")["spec"]["ingress"][0]["from"]
    labels = one(uses["production"], "Deployment", "-openai")["spec"]["template"]["metadata"]["labels"]
    assert any(peer["podSelector"]["matchLabels"].items() <= labels.items() for peer in peers if "podSelector" in peer)


def test_routes_have_a_backend_that_exists(uses):
    pool = one(uses["own pool, HPA"], "InferencePool")
    assert pool["spec"]["appProtocol"] == "kubernetes.io/h2c"
    assert pool["spec"]["selector"]["matchLabels"] == one(uses["own pool, HPA"], "Deployment")["spec"]["selector"]["matchLabels"]
    (rule,) = one(uses["own pool, HPA"], "HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"][0]["name"] == pool["metadata"]["name"]
    assert rule["timeouts"] == {"request": "0s"}
    (rule,) = one(uses["no pool"], "GRPCRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "s1", "port": 8001}]
    (rule,) = one(uses["production"], "HTTPRoute", "-openai")["spec"]["rules"]
    service = one(uses["production"], "Service", "-openai")["spec"]
    assert rule["backendRefs"] == [{"name": "s1-openai", "port": service["ports"][0]["port"]}]
    assert one(uses["production"], "HTTPRoute")["spec"]["rules"][0]["backendRefs"][0]["name"] == "s1-router"


def test_the_router_selects_the_servers_pods(uses, deploy):
    router = yaml.safe_load((deploy / "llm-d-router.yaml").read_text())["router"]
    labels = one(uses["production"], "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert router["modelServers"]["matchLabels"].items() <= labels.items()
    assert router["modelServers"]["targetPorts"] == [{"number": 8001}]
    picker = yaml.safe_load(router["epp"]["pluginsCustomConfig"][router["epp"]["pluginsConfigFile"]])
    used = {
        entry["pluginRef"] for part in (picker["requestHandler"]["parsers"], picker["schedulingProfiles"][0]["plugins"]) for entry in part
    }
    assert used == {plugin["type"] for plugin in picker["plugins"]}


def test_the_router_remembers_a_request_as_long_as_haproxy_does(deploy):
    """A command that comes after the entry has gone reaches any pod."""
    router = yaml.safe_load((deploy / "llm-d-router.yaml").read_text())["router"]
    picker = yaml.safe_load(router["epp"]["pluginsCustomConfig"]["s1.yaml"])
    (affinity,) = [plugin for plugin in picker["plugins"] if plugin["type"] == "session-affinity-filter"]
    (longest,) = [option for option in haproxy.params if option.name == "longest_s"]
    assert affinity["parameters"]["sessionIdConfig"]["evictionTtlSeconds"] == longest.default

# SPDX-License-Identifier: Apache-2.0
"""A value of build/deploy/chart that cannot work is refused when the chart is rendered, in a sentence that names it."""

import re

import pytest

from deploy.helm import Refused

pytestmark = pytest.mark.xdist_group("chart")
SCALED = {"monitoring": {"podMonitor": {"enabled": True}}, "networkPolicy": {"metricsFrom": [{"podSelector": {}}]}}
KEDA = {"enabled": True, "prometheusUrl": "http://prometheus:9090"}
TLS = {"enabled": True, "secretName": "certificate"}
OPENAI = {"enabled": True, "allowAnyone": True}
ROUTED = {"enabled": True, "gateway": {"name": "inference"}}
CPU = {"engine": {"kind": "cpu", "tensorParallel": 1}, "gpus": 0}

COMBINATIONS = [
    ({"gpus": 1}, "gpus: got 1 with engine.tensorParallel 2, allowed: the same number, because each GPU runs one rank of the engine"),
    ({"engine": {"tensorParallel": 4}}, "gpus: got 2 with engine.tensorParallel 4, allowed: the same number"),
    ({**CPU, "gpus": 1}, "gpus: got 1 with engine.kind cpu, allowed: 0"),
    ({"engine": {"kind": "cpu"}, "gpus": 0}, "engine.tensorParallel: got 2 with engine.kind cpu, allowed: 1"),
    ({**CPU, "mode": "build"}, "mode: got build with engine.kind cpu, allowed: serve, because only a TensorRT-LLM engine is built"),
    ({"mode": "build"}, "mode: got build for release s1, allowed: a release whose name ends in -build, because an upgrade of the server's"),
    ({**CPU, "gpuProduct": "NVIDIA-L4"}, "gpuProduct: got a value with engine.kind cpu, allowed: empty"),
    ({"gpuProduct": "NVIDIA-L4", "affinity": {"podAffinity": {}}}, "gpuProduct: got a value beside affinity, allowed: one of the two"),
    ({"shmMiB": 512}, "shmMiB: got 512, allowed: at least 1024"),
    (
        {"stop": {"gracePeriodS": 60}},
        (
            "stop.gracePeriodS: got 60, allowed: at least 485 (stop.preStopS 10 + stop.lameDuckS 5 + drain 445 + 25), "
            "because Kubernetes kills the pod after it"
        ),
    ),
    ({"stop": {"gracePeriodS": 484}}, "stop.gracePeriodS: got 484, allowed: at least 485"),
    (
        {"stop": {"drainS": 60}},
        (
            "stop.drainS: got 60, allowed: at least 445, the seconds of the longest thought (stop.longestThoughtTokens 32000 divided by "
            "stop.tokensPerSecond 72); to accept that thoughts are cut, lower stop.longestThoughtTokens"
        ),
    ),
    ({"stop": {"tokensPerSecond": 5}}, "stop.drainS: got 6400, allowed: at most 3600; the longest thought"),
    (
        {"stop": {"drainS": 1136}, "monitoring": {"rules": {"enabled": True}}},
        "monitoring.rules.enabled: got true with a drain of 1136 s and stop.lameDuckS 5, allowed: together at most 1140 s",
    ),
    (
        {"auth": {"enabled": True}},
        "auth.secretName: missing, allowed: the name of a Secret with key 'secret', because auth.enabled is true",
    ),
    ({"auth": {"secretName": "a"}}, "auth.secretName: got a name with auth.enabled false, which would leave the server open"),
    ({"tls": {"enabled": True}}, "tls.secretName: missing, allowed: the name of a Secret with keys 'tls.crt' and 'tls.key'"),
    ({"tls": {"secretName": "a"}}, "tls.secretName: got a name with tls.enabled false, which would leave gRPC without TLS"),
    ({"tls": {"requireClientCertificate": True}}, "tls.requireClientCertificate: got true with tls.enabled false"),
    ({"ports": {"ready": 8001}}, "ports: got http 8000, grpc 8001, metrics 8002 and ready 8001, allowed: four different ports"),
    ({"tenants": {"maxReplies": 33}}, "tenants.maxReplies: got 33, allowed: at most 32, the samples that run concurrently"),
    ({"tenants": {"maxWaiting": 2000}}, "tenants.maxWaiting: got 2000, allowed: at most server.maxWaiting, 1024"),
    ({"tracing": {"rate": 0.5}}, "tracing.rate: got 0.5 without tracing.url, allowed: 1, because nothing is traced"),
    (
        {"tracing": {"url": "http://collector:4318/v1/traces"}},
        "networkPolicy.egress: missing, allowed: rules for the receiver of tracing.url, and for DNS if its host is a name",
    ),
    (
        {"rollout": {"maxUnavailable": 0}},
        "rollout: got maxSurge 0 and maxUnavailable 0, allowed: at least one above 0, because no pod could be replaced",
    ),
    (
        {**SCALED, "autoscaling": {"keda": KEDA, "hpa": {"enabled": True}}},
        "autoscaling: got keda.enabled and hpa.enabled, allowed: one of the two, because both would set the number of replicas",
    ),
    ({**SCALED, "autoscaling": {"keda": {"enabled": True}}}, "autoscaling.keda.prometheusUrl: missing, allowed: the URL of Prometheus"),
    (
        {**SCALED, "autoscaling": {"hpa": {"enabled": True}, "minReplicas": 5}},
        "autoscaling.minReplicas: got 5, allowed: at most autoscaling.maxReplicas, 4",
    ),
    ({**SCALED, "autoscaling": {"keda": KEDA}, "replicas": 3}, "replicas: got 3 with autoscaling, allowed: 1 (the default, not used)"),
    ({"autoscaling": {"keda": KEDA}}, "autoscaling: needs monitoring.podMonitor.enabled, got false"),
    ({**SCALED, "tls": TLS}, "monitoring.podMonitor.enabled: got true with tls.enabled, allowed: one of the two"),
    ({"monitoring": {"podMonitor": {"enabled": True}}}, "networkPolicy.metricsFrom: missing, allowed: the peers that may read metrics"),
    ({"inferencePool": {"create": True}}, "inferencePool.endpointPicker.name: missing, allowed: the Service of the endpoint picker"),
    ({"gatewayApi": ROUTED, "tls": TLS}, "tls.enabled: got true with gatewayApi or inferencePool, allowed: false"),
    ({"gatewayApi": {"enabled": True}}, "gatewayApi.gateway.name: missing, allowed: the name of a Gateway"),
    (
        {"openai": {"enabled": True}},
        "openai.keysSecretName: missing, allowed: the name of a Secret with key 'keys', or openai.allowAnyone true",
    ),
    ({"openai": {**OPENAI, "keysSecretName": "a"}}, "openai.allowAnyone: got true beside openai.keysSecretName, allowed: one of the two"),
    (
        {"openai": OPENAI, "tls": {**TLS, "requireClientCertificate": True}},
        "openai.enabled: got true with tls.requireClientCertificate, allowed: one of the two",
    ),
    ({"openai": OPENAI, "gatewayApi": ROUTED}, "openai.hostnames: missing, allowed: at least one host name"),
]
SINGLE_VALUES = [
    ({"gpu": 2}, "additional properties 'gpu' not allowed"),
    ({"stop": {"graceperiodS": 500}}, "at '/stop': additional properties 'graceperiodS' not allowed"),
    ({"engine": {"tensorParallel": 3}}, "at '/engine/tensorParallel': value must be one of 1, 2, 4"),
    ({"engine": {"preset": "s1-7b"}}, "at '/engine/preset': value must be one of 's1-32b', 's1.1-32b'"),
    ({"engine": {"volume": {"claim": ""}}}, "at '/engine/volume/claim'"),
    ({"image": {"tag": "latest"}}, "at '/image/tag': 'not' failed"),
    ({"mode": "train"}, "at '/mode': value must be one of 'serve', 'build'"),
    ({"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
    ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    ({"ports": {"grpc": 80}}, "at '/ports/grpc': minimum: got 80, want 1,024"),
    ({"tracing": {"url": "collector:4318"}}, "at '/tracing/url'"),
    ({"server": {"maxReplies": 0}}, "at '/server/maxReplies': minimum: got 0, want 1"),
    ({"autoscaling": {"minReplicas": 0}}, "at '/autoscaling/minReplicas': minimum: got 0, want 1"),
    ({"autoscaling": {"fullness": 1.5}}, "at '/autoscaling/fullness': maximum: got 1.5, want 1"),
    ({"networkPolicy": {"grpcFrom": []}}, "at '/networkPolicy/grpcFrom': minItems: got 0, want 1"),
    ({"auth": {"secretName": "Not A Name"}}, "at '/auth/secretName': 'Not A Name' does not match pattern"),
    ({"openai": {"url": "https://gateway"}}, "at '/openai/url': 'https://gateway' does not match pattern"),
]


@pytest.fixture(scope="session")
def refusal(renderer, deploy):
    """Return the sentence with which Helm refuses values."""

    def run(values, version="v3"):
        with pytest.raises(Refused) as refused:
            renderer.render(deploy / "chart", values, version=version)
        return str(refused.value)

    return run


@pytest.mark.parametrize(("values", "sentence"), COMBINATIONS, ids=[sentence[:40] for _, sentence in COMBINATIONS])
def test_values_that_cannot_work_together_are_refused(refusal, values, sentence):
    text = refusal(values)
    assert f"): {sentence}" in text
    assert text.count("\n") == 0
    assert refusal(values, "v4").endswith(text.partition("): ")[2])


@pytest.mark.parametrize(("values", "sentence"), SINGLE_VALUES, ids=[sentence[:40] for _, sentence in SINGLE_VALUES])
def test_a_value_outside_of_its_limits_is_refused(refusal, values, sentence):
    text = refusal(values)
    assert sentence in text
    assert text.count("\n- at") == 1


def test_every_check_is_tried(root, refusal):
    """Each sentence of the chart comes from one of the combinations above."""
    text = (root / "build/deploy/chart/templates/_checks.tpl").read_text()
    sentences = re.findall(r'fail (?:\(printf )?"([^"]*)"', text)
    patterns = [re.sub("%[vds]", ".*", re.sub(r"([().+])", r"\\\1", sentence)) for sentence in sentences]
    refusals = [refusal(values).partition("): ")[2] for values, _ in COMBINATIONS]
    assert len(patterns) == text.count("fail ") > 30
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, found) for found in refusals)] == []

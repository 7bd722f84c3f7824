# SPDX-License-Identifier: Apache-2.0
"""The uses of build/deploy/chart that are tried, and the parts of what they render."""

from budgetforce.launcher import options as launcher

POOL = {"create": True, "name": "", "endpointPicker": {"name": "picker"}}
HPA = {"keda": {"enabled": False}, "hpa": {"enabled": True}}
TLS = {"enabled": True, "secretName": "certificate", "requireClientCertificate": True}
TENANTS = {"maxReplies": 16, "maxWaiting": 100, "secretName": "tenants"}
OPENAI = {"enabled": True, "keysSecretName": "s1-keys"}
TRACED = {
    "tracing": {"url": "http://collector.monitoring:4318/v1/traces", "rate": 0.00001},
    "networkPolicy": {"egress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": 4318}, {"port": 53, "protocol": "UDP"}]}]},
}
USES = {
    "one replica": ([], {}),
    "build": ([], {"mode": "build", "engine": {"build": {"hubTokenSecret": "hub"}, "model": "owner/name", "calibration": "/data/texts"}}),
    "cpu": (["cpu.yaml"], {}),
    "production": (["production.yaml"], {}),
    "build for production": (["production.yaml"], {"mode": "build"}),
    "own pool, HPA": (["production.yaml"], {"inferencePool": POOL, "autoscaling": HPA, "networkPolicy": {"egress": [{}]}}),
    "no pool": (["production.yaml"], {"inferencePool": {"name": ""}}),
    "TLS": ([], {"tls": TLS, "auth": {"enabled": True, "secretName": "secret"}}),
    "tenants, tracing": ([], {"server": {"maxKvTokens": 323_712}, "tenants": TENANTS, "openai": OPENAI, **TRACED}),
    "TLS and gateway": ([], {"tls": {**TLS, "requireClientCertificate": False}, "openai": {"enabled": True, "allowAnyone": True}}),
}


def one(objects, kind, suffix=""):
    """The object of that kind whose name ends so."""
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == f"s1{suffix}"]
    return found


def pod_of(objects, suffix=""):
    return one(objects, "Deployment", suffix)["spec"]["template"]["spec"]


def container_of(objects, suffix=""):
    (container,) = pod_of(objects, suffix)["containers"]
    return container


def options_of(objects):
    """The launcher's options, as the launcher parses them."""
    program, arguments = container_of(objects)["args"][:3], container_of(objects)["args"][3:]
    assert program == ["python3", "-m", "budgetforce.launcher"]
    return launcher.parse_options(arguments)

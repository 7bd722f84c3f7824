# SPDX-License-Identifier: Apache-2.0
"""The keys of custom resources that the chart may use, as paths; ``[]`` is an element of a list, ``*`` any key.

Read from the definitions of prometheus-operator 0.93, KEDA 2.20, Gateway API 1.6 (standard channel) and the Gateway API Inference
Extension (v1, commit 84436a9). The operators' own types, which custom_resources.mjs uses, check values and do not refuse unknown keys;
Kubernetes would drop those in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# API version -> whether custom_resources.mjs has its types
CUSTOM = {
    "monitoring.coreos.com/v1": True,
    "keda.sh/v1alpha1": True,
    "gateway.networking.k8s.io/v1": True,
    "inference.networking.k8s.io/v1": False,
}
_PARENT = "parentRefs[].name parentRefs[].namespace hostnames[]"
_BEHAVIOR = "advanced.horizontalPodAutoscalerConfig.behavior"
_SPECS = {
    "PodMonitor": "jobLabel podTargetLabels[] selector.matchLabels.* podMetricsEndpoints[].port podMetricsEndpoints[].interval",
    "PrometheusRule": "groups[].name groups[].rules[].alert groups[].rules[].expr groups[].rules[].for groups[].rules[].labels.* "
    "groups[].rules[].annotations.*",
    "ScaledObject": "scaleTargetRef.name minReplicaCount maxReplicaCount fallback.failureThreshold fallback.replicas fallback.behavior "
    f"triggers[].type triggers[].metricType triggers[].metadata.* {_BEHAVIOR}.scaleDown.stabilizationWindowSeconds "
    + " ".join(f"{_BEHAVIOR}.{way}.policies[].{key}" for way in ("scaleUp", "scaleDown") for key in ("type", "value", "periodSeconds")),
    "InferencePool": "appProtocol targetPorts[].number selector.matchLabels.* endpointPickerRef.name endpointPickerRef.port.number "
    "endpointPickerRef.failureMode",
    "HTTPRoute": f"{_PARENT} rules[].matches[].path.type rules[].matches[].path.value rules[].timeouts.request rules[].backendRefs[].group "
    "rules[].backendRefs[].kind rules[].backendRefs[].name rules[].backendRefs[].port",
    "GRPCRoute": f"{_PARENT} rules[].matches[].method.type rules[].matches[].method.service rules[].backendRefs[].name "
    "rules[].backendRefs[].port",
}
KEYS = {kind: frozenset(paths.split()) for kind, paths in _SPECS.items()}
_ANY_KEY = ("matchLabels", "labels", "annotations", "metadata")


def key_paths(item: dict[str, Any]) -> set[str]:
    """Return the paths of an object's spec, down to the values."""
    assert item.keys() == {"apiVersion", "kind", "metadata", "spec"}
    return set(_paths(item["spec"], ""))


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            name = "*" if path.rpartition(".")[2] in _ANY_KEY else key
            yield from _paths(entry, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for entry in value:
            yield from _paths(entry, f"{path}[]")
    else:
        yield path

{{/*
Combinations of values that cannot work. Each is refused with a sentence: the value, what it is, what is allowed. Limits of single values are in
values.schema.json.
*/}}
{{- define "s1.checks" -}}
{{- include "s1.checkEngine" . -}}
{{- include "s1.checkRelease" . -}}
{{- include "s1.checkStop" . -}}
{{- include "s1.checkAccess" . -}}
{{- include "s1.checkTenants" . -}}
{{- include "s1.checkTracing" . -}}
{{- include "s1.checkRollout" . -}}
{{- include "s1.checkMonitoring" . -}}
{{- include "s1.checkRoutes" . -}}
{{- include "s1.checkOpenai" . -}}
{{- end -}}

{{- define "s1.checkEngine" -}}
{{- $engine := .Values.engine -}}
{{- $isCpu := eq $engine.kind "cpu" -}}
{{- if and $isCpu (ne (int .Values.gpus) 0) -}}
{{- fail (printf "gpus: got %v with engine.kind cpu, allowed: 0" .Values.gpus) -}}
{{- end -}}
{{- if and $isCpu (ne (int $engine.tensorParallel) 1) -}}
{{- fail (printf "engine.tensorParallel: got %v with engine.kind cpu, allowed: 1" $engine.tensorParallel) -}}
{{- end -}}
{{- if and (not $isCpu) (ne (int .Values.gpus) (int $engine.tensorParallel)) -}}
{{- fail (printf "gpus: got %v with engine.tensorParallel %v, allowed: the same number, because each GPU runs one rank of the engine" .Values.gpus $engine.tensorParallel) -}}
{{- end -}}
{{- if and $isCpu (eq .Values.mode "build") -}}
{{- fail "mode: got build with engine.kind cpu, allowed: serve, because only a TensorRT-LLM engine is built" -}}
{{- end -}}
{{- if and (not $isCpu) (lt (int .Values.shmMiB) 1024) -}}
{{- fail (printf "shmMiB: got %v, allowed: at least 1024, because the ranks of the engine exchange data there" .Values.shmMiB) -}}
{{- end -}}
{{- if and .Values.gpuProduct .Values.affinity -}}
{{- fail "gpuProduct: got a value beside affinity, allowed: one of the two; affinity replaces the rule that gpuProduct makes" -}}
{{- end -}}
{{- if and $isCpu .Values.gpuProduct -}}
{{- fail "gpuProduct: got a value with engine.kind cpu, allowed: empty" -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkRelease" -}}
{{- if and (eq .Values.mode "build") (not (hasSuffix "-build" .Release.Name)) -}}
{{- fail (printf "mode: got build for release %s, allowed: a release whose name ends in -build, because an upgrade of the server's release would remove the server" .Release.Name) -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkStop" -}}
{{- $stop := .Values.stop -}}
{{- $thoughtS := int (include "s1.longestThoughtS" .) -}}
{{- $drainS := int (include "s1.drainS" .) -}}
{{- if lt $drainS $thoughtS -}}
{{- fail (printf "stop.drainS: got %d, allowed: at least %d, the seconds of the longest thought (stop.longestThoughtTokens %v divided by stop.tokensPerSecond %v); to accept that thoughts are cut, lower stop.longestThoughtTokens" $drainS $thoughtS $stop.longestThoughtTokens $stop.tokensPerSecond) -}}
{{- end -}}
{{- if gt $drainS 3600 -}}
{{- fail (printf "stop.drainS: got %d, allowed: at most 3600; the longest thought (stop.longestThoughtTokens divided by stop.tokensPerSecond) takes %d s" $drainS $thoughtS) -}}
{{- end -}}
{{- if lt (int (include "s1.gracePeriodS" .)) (int (include "s1.stopS" .)) -}}
{{- fail (printf "stop.gracePeriodS: got %v, allowed: at least %s (stop.preStopS %v + stop.lameDuckS %v + drain %d + 25), because Kubernetes kills the pod after it" $stop.gracePeriodS (include "s1.stopS" .) $stop.preStopS $stop.lameDuckS $drainS) -}}
{{- end -}}
{{- if and .Values.monitoring.rules.enabled (gt (add $drainS (int $stop.lameDuckS)) 1140) -}}
{{- fail (printf "monitoring.rules.enabled: got true with a drain of %d s and stop.lameDuckS %v, allowed: together at most 1140 s, because alert S1DrainHangs fires after 1200 s" $drainS $stop.lameDuckS) -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkAccess" -}}
{{- if and .Values.auth.enabled (not .Values.auth.secretName) -}}
{{- fail "auth.secretName: missing, allowed: the name of a Secret with key 'secret', because auth.enabled is true" -}}
{{- end -}}
{{- if and .Values.auth.secretName (not .Values.auth.enabled) -}}
{{- fail "auth.secretName: got a name with auth.enabled false, which would leave the server open; allowed: auth.enabled true, or no name" -}}
{{- end -}}
{{- if and .Values.tls.enabled (not .Values.tls.secretName) -}}
{{- fail "tls.secretName: missing, allowed: the name of a Secret with keys 'tls.crt' and 'tls.key', because tls.enabled is true" -}}
{{- end -}}
{{- if and .Values.tls.secretName (not .Values.tls.enabled) -}}
{{- fail "tls.secretName: got a name with tls.enabled false, which would leave gRPC without TLS; allowed: tls.enabled true, or no name" -}}
{{- end -}}
{{- if and .Values.tls.requireClientCertificate (not .Values.tls.enabled) -}}
{{- fail "tls.requireClientCertificate: got true with tls.enabled false, allowed: false, or tls.enabled true" -}}
{{- end -}}
{{- $ports := list .Values.ports.http .Values.ports.grpc .Values.ports.metrics .Values.ports.ready -}}
{{- if ne (len (uniq $ports)) 4 -}}
{{- fail (printf "ports: got http %v, grpc %v, metrics %v and ready %v, allowed: four different ports" .Values.ports.http .Values.ports.grpc .Values.ports.metrics .Values.ports.ready) -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkTenants" -}}
{{- $maxReplies := int (include "s1.maxReplies" .) -}}
{{- if gt (int .Values.tenants.maxReplies) $maxReplies -}}
{{- fail (printf "tenants.maxReplies: got %v, allowed: at most %d, the samples that run concurrently (server.maxReplies)" .Values.tenants.maxReplies $maxReplies) -}}
{{- end -}}
{{- if gt (int .Values.tenants.maxWaiting) (int .Values.server.maxWaiting) -}}
{{- fail (printf "tenants.maxWaiting: got %v, allowed: at most server.maxWaiting, %v" .Values.tenants.maxWaiting .Values.server.maxWaiting) -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkTracing" -}}
{{- if and (not .Values.tracing.url) (ne (float64 .Values.tracing.rate) 1.0) -}}
{{- fail (printf "tracing.rate: got %v without tracing.url, allowed: 1, because nothing is traced" .Values.tracing.rate) -}}
{{- end -}}
{{- if and .Values.tracing.url .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "networkPolicy.egress: missing, allowed: rules for the receiver of tracing.url, and for DNS if its host is a name, because otherwise the server reaches nobody" -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkRollout" -}}
{{- $scaling := .Values.autoscaling -}}
{{- if and (eq (int .Values.rollout.maxSurge) 0) (eq (int .Values.rollout.maxUnavailable) 0) -}}
{{- fail "rollout: got maxSurge 0 and maxUnavailable 0, allowed: at least one above 0, because no pod could be replaced" -}}
{{- end -}}
{{- if and $scaling.keda.enabled $scaling.hpa.enabled -}}
{{- fail "autoscaling: got keda.enabled and hpa.enabled, allowed: one of the two, because both would set the number of replicas" -}}
{{- end -}}
{{- if or $scaling.keda.enabled $scaling.hpa.enabled -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas: got %v, allowed: at most autoscaling.maxReplicas, %v" $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
{{- if ne (int .Values.replicas) 1 -}}
{{- fail (printf "replicas: got %v with autoscaling, allowed: 1 (the default, not used); the number is between autoscaling.minReplicas and autoscaling.maxReplicas" .Values.replicas) -}}
{{- end -}}
{{- if not .Values.monitoring.podMonitor.enabled -}}
{{- fail "autoscaling: needs monitoring.podMonitor.enabled, got false: without it Prometheus has no s1_requests_waiting of these pods" -}}
{{- end -}}
{{- end -}}
{{- if and $scaling.keda.enabled (not $scaling.keda.prometheusUrl) -}}
{{- fail "autoscaling.keda.prometheusUrl: missing, allowed: the URL of Prometheus, such as http://prometheus-operated.monitoring:9090" -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkMonitoring" -}}
{{- if .Values.monitoring.podMonitor.enabled -}}
{{- if .Values.tls.enabled -}}
{{- fail "monitoring.podMonitor.enabled: got true with tls.enabled, allowed: one of the two: with TLS on gRPC, HTTP and metrics, which have none, listen on 127.0.0.1 alone; end TLS at the Gateway instead" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.metricsFrom) -}}
{{- fail "networkPolicy.metricsFrom: missing, allowed: the peers that may read metrics, such as Prometheus's namespace, because monitoring.podMonitor.enabled is true" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkRoutes" -}}
{{- $pool := .Values.inferencePool -}}
{{- if and $pool.create (not $pool.endpointPicker.name) -}}
{{- fail "inferencePool.endpointPicker.name: missing, allowed: the Service of the endpoint picker, because inferencePool.create is true" -}}
{{- end -}}
{{- if and .Values.tls.enabled (or $pool.create .Values.gatewayApi.enabled) -}}
{{- fail "tls.enabled: got true with gatewayApi or inferencePool, allowed: false: their gRPC to the pods has no TLS; end TLS at the Gateway" -}}
{{- end -}}
{{- if and .Values.gatewayApi.enabled (not .Values.gatewayApi.gateway.name) -}}
{{- fail "gatewayApi.gateway.name: missing, allowed: the name of a Gateway, because gatewayApi.enabled is true" -}}
{{- end -}}
{{- end -}}

{{- define "s1.checkOpenai" -}}
{{- $openai := .Values.openai -}}
{{- if $openai.enabled -}}
{{- if and $openai.keysSecretName $openai.allowAnyone -}}
{{- fail "openai.allowAnyone: got true beside openai.keysSecretName, allowed: one of the two" -}}
{{- end -}}
{{- if not (or $openai.keysSecretName $openai.allowAnyone) -}}
{{- fail "openai.keysSecretName: missing, allowed: the name of a Secret with key 'keys', or openai.allowAnyone true, which lets everybody who reaches the port use the model" -}}
{{- end -}}
{{- if .Values.tls.requireClientCertificate -}}
{{- fail "openai.enabled: got true with tls.requireClientCertificate, allowed: one of the two, because the gateway has no client certificate" -}}
{{- end -}}
{{- if and .Values.gatewayApi.enabled (not $openai.hostnames) -}}
{{- fail "openai.hostnames: missing, allowed: at least one host name, because with gatewayApi.enabled its route would take every path of the Gateway" -}}
{{- end -}}
{{- end -}}
{{- end -}}

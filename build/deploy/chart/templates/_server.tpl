{{/* Seconds that the longest thought takes, rounded up. */}}
{{- define "s1.longestThoughtS" -}}
{{- divf (float64 .Values.stop.longestThoughtTokens) (float64 .Values.stop.tokensPerSecond) | ceil | int -}}
{{- end -}}

{{/* Seconds of the drain: as given, else the longest thought. */}}
{{- define "s1.drainS" -}}
{{- if kindIs "invalid" .Values.stop.drainS }}{{ include "s1.longestThoughtS" . }}{{ else }}{{ int .Values.stop.drainS }}{{ end -}}
{{- end -}}

{{/* Seconds that a pod needs to stop at most. 25: s1 ends the last replies, Triton unloads, the other ranks follow (docs/operations.md). */}}
{{- define "s1.stopS" -}}
{{- add (int .Values.stop.preStopS) (int .Values.stop.lameDuckS) (int (include "s1.drainS" .)) 25 -}}
{{- end -}}

{{- define "s1.gracePeriodS" -}}
{{- if kindIs "invalid" .Values.stop.gracePeriodS }}{{ include "s1.stopS" . }}{{ else }}{{ int .Values.stop.gracePeriodS }}{{ end -}}
{{- end -}}

{{/* Samples that run concurrently: as given, else as many as the engine decodes. */}}
{{- define "s1.maxReplies" -}}
{{- if not (kindIs "invalid" .Values.server.maxReplies) }}{{ int .Values.server.maxReplies -}}
{{- else }}{{ ternary .Values.engine.maxBatchSize 256 (eq .Values.engine.kind "tensorrt_llm") | int }}{{ end -}}
{{- end -}}

{{/* Command of the server: that of docker-compose.yml. */}}
{{- define "s1.serverCommand" -}}
- python3
- -m
- budgetforce.launcher
{{- if eq .Values.engine.kind "tensorrt_llm" }}
- --engine
- tensorrt_llm
- --engine-dir
- /data/engine
- --tokenizer
- /data/tokenizer
- --model-repository
- /opt/s1/model_repository
- --model-repository
- /data/repository
{{- else }}
- --cache
- /models
{{- end }}
- --log
- "-"
- --host
- 0.0.0.0
- --http-port
- {{ .Values.ports.http | quote }}
- --grpc-port
- {{ .Values.ports.grpc | quote }}
- --metrics-port
- {{ .Values.ports.metrics | quote }}
- --ready-port
- {{ .Values.ports.ready | quote }}
- --lame-duck-s
- {{ .Values.stop.lameDuckS | quote }}
- --start-s
- {{ .Values.server.startS | quote }}
- --drain-s
- {{ include "s1.drainS" . | quote }}
- --max-replies
- {{ include "s1.maxReplies" . | quote }}
- --max-waiting
- {{ .Values.server.maxWaiting | quote }}
- --max-kv-tokens
- {{ int .Values.server.maxKvTokens | quote }}
- --max-tenant-replies
- {{ .Values.tenants.maxReplies | quote }}
- --max-tenant-waiting
- {{ .Values.tenants.maxWaiting | quote }}
- --log-level
- {{ .Values.server.logLevel }}
- --log-format
- {{ .Values.server.logFormat }}
- --log-prompts
- {{ .Values.server.logPrompts | quote }}
{{- if .Values.auth.enabled }}
- --secret-file
- /run/secrets/s1/secret
{{- end }}
{{- if .Values.tenants.secretName }}
- --tenant-secret-file
- /run/secrets/tenants/tenant-secret
{{- end }}
{{- with .Values.tracing.url }}
- --trace-url
- {{ . | quote }}
- --trace-rate
- {{ printf "%.9f" (float64 $.Values.tracing.rate) | quote }}
{{- end }}
{{- if .Values.tls.enabled }}
- --tls-cert
- /run/secrets/tls/tls.crt
- --tls-key
- /run/secrets/tls/tls.key
{{- if .Values.tls.requireClientCertificate }}
- --tls-client-ca
- /run/secrets/tls/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/*
The probes. Without TLS the kubelet asks: the launcher's own endpoint (503 while the engine loads, 404 while the server stops), and for life
Triton's, which no long prefill delays; the launcher ends by itself when a process of the server dies. With TLS, HTTP listens on 127.0.0.1
alone, so that the probes run inside the container. None of them sends a request to the engine.
*/}}
{{- define "s1.probes" -}}
startupProbe:
  {{- include "s1.readyCheck" . | nindent 2 }}
  periodSeconds: 10
  failureThreshold: {{ add (divf (float64 .Values.server.startS) 10.0 | ceil | int) 3 }}
readinessProbe:
  {{- include "s1.readyCheck" . | nindent 2 }}
  periodSeconds: 5
  failureThreshold: 2
livenessProbe:
  {{- if .Values.tls.enabled }}
  exec:
    command: [python3, -c, "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:{{ .Values.ports.http }}/v2/health/live', timeout=5)"]
  {{- else }}
  httpGet: { path: /v2/health/live, port: http }
  {{- end }}
  timeoutSeconds: 10
  periodSeconds: 10
  failureThreshold: 6
{{- end -}}

{{- define "s1.readyCheck" -}}
{{- if .Values.tls.enabled -}}
exec:
  command: [python3, -m, budgetforce.health, --http, "127.0.0.1:{{ .Values.ports.http }}", --metrics, "127.0.0.1:{{ .Values.ports.metrics }}"]
{{- else -}}
httpGet: { path: /, port: ready }
{{- end }}
timeoutSeconds: 12 # the check has 5 s for each of Triton's two answers
{{- end -}}

{{/* Mounts and volumes of the server. */}}
{{- define "s1.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: shm, mountPath: /dev/shm }
{{- if eq .Values.engine.kind "tensorrt_llm" }}
- { name: engines, mountPath: /data, subPath: "engines/{{ include "s1.engineId" . }}", readOnly: true }
{{- else }}
- { name: models, mountPath: /models }
{{- end }}
{{- if .Values.auth.enabled }}
- { name: secret, mountPath: /run/secrets/s1, readOnly: true }
{{- end }}
{{- if .Values.tenants.secretName }}
- { name: tenants, mountPath: /run/secrets/tenants, readOnly: true }
{{- end }}
{{- if .Values.tls.enabled }}
- { name: tls, mountPath: /run/secrets/tls, readOnly: true }
{{- end }}
{{- end -}}

{{- define "s1.volumes" -}}
- name: tmp
  emptyDir: {}
- name: shm
  emptyDir: { medium: Memory, sizeLimit: {{ .Values.shmMiB }}Mi }
{{- if eq .Values.engine.kind "tensorrt_llm" }}
- name: engines
  persistentVolumeClaim: { claimName: {{ .Values.engine.volume.claim }} }
{{- else }}
- name: models # s1-tiny, prepared at the start
  emptyDir: {}
{{- end }}
{{- if .Values.auth.enabled }}
- name: secret
  secret: { secretName: {{ .Values.auth.secretName }}, defaultMode: 0440, items: [{ key: secret, path: secret }] }
{{- end }}
{{- with .Values.tenants.secretName }}
- name: tenants
  secret: { secretName: {{ . }}, defaultMode: 0440, items: [{ key: tenant-secret, path: tenant-secret }] }
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret: { secretName: {{ .Values.tls.secretName }}, defaultMode: 0440 }
{{- end }}
{{- end -}}

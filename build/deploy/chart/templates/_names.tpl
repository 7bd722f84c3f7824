{{/* Name of the release's objects, short enough for suffixes. */}}
{{- define "s1.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select pods. Call with dict "root" $ "component" NAME. */}}
{{- define "s1.selector" -}}
app.kubernetes.io/name: s1
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of every object. Call as above. */}}
{{- define "s1.labels" -}}
{{ include "s1.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* An image with its registry. Call with a map of registry, name and tag. */}}
{{- define "s1.image" -}}
{{- if .registry }}{{ trimSuffix "/" .registry }}/{{ end }}{{ .name }}:{{ .tag }}
{{- end -}}

{{/* What every pod of the chart has: no token of the cluster, no root, no capabilities. */}}
{{- define "s1.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false # else Kubernetes sets variables S1_… for every Service whose name begins with s1
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "s1.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* Where pods with GPUs run. May be empty. */}}
{{- define "s1.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .Values.affinity }}
affinity:
  {{- toYaml .Values.affinity | nindent 2 }}
{{- else if .Values.gpuProduct }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - { key: nvidia.com/gpu.product, operator: In, values: [{{ .Values.gpuProduct | quote }}] }
{{- end }}
{{- end -}}

{{/* Resources with the GPUs. Call with dict "root" $ "resources" MAP. */}}
{{- define "s1.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if gt (int .root.Values.gpus) 0 -}}
{{- $limits := merge (dict "nvidia.com/gpu" (int .root.Values.gpus)) (default dict $resources.limits) -}}
{{- $resources = merge (dict "limits" $limits) $resources -}}
{{- end -}}
{{- with $resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

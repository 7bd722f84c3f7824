{{/*
The folder of the engine on the volume: readable, and with a hash of everything that the engine's manifest says it was built from, so that
a changed value gives another folder and two engines stand side by side during a rollout.
*/}}
{{- define "s1.engineId" -}}
{{- $engine := .Values.engine -}}
{{- if $engine.id -}}
{{ $engine.id }}
{{- else -}}
{{- $inputs := list $engine.preset $engine.model $engine.revision $engine.variant $engine.tensorParallel $engine.maxSeqLen $engine.maxBatchSize $engine.maxNumTokens $engine.calibration $engine.release .Values.gpuProduct -}}
{{ $engine.preset }}-{{ $engine.variant }}-tp{{ $engine.tensorParallel }}-{{ toJson $inputs | sha256sum | trunc 8 }}
{{- end -}}
{{- end -}}

{{/* Command of the build, as in docker-compose.yml. */}}
{{- define "s1.buildCommand" -}}
{{- $engine := .Values.engine -}}
- python3
- -m
- budgetforce.building
- all
- --work
- /data
- --model-repository
- /data/repository
- --preset
- {{ $engine.preset | quote }}
- --tp
- {{ $engine.tensorParallel | quote }}
- --variant
- {{ $engine.variant | quote }}
- --max-seq-len
- {{ $engine.maxSeqLen | quote }}
- --max-batch-size
- {{ $engine.maxBatchSize | quote }}
- --max-num-tokens
- {{ $engine.maxNumTokens | quote }}
{{- with $engine.model }}
- --model
- {{ . | quote }}
{{- end }}
{{- with $engine.revision }}
- --revision
- {{ . | quote }}
{{- end }}
{{- with $engine.calibration }}
- --calibration
- {{ . | quote }}
{{- end }}
{{- end -}}

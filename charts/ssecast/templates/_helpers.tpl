{{/* Names. 40 characters at most: the longest suffix and the Broadcaster's own limit fit behind it. */}}

{{- define "ssecast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "ssecast.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ssecast.broadcasterName" -}}
{{- default (include "ssecast.fullname" .) .Values.broadcaster.name }}
{{- end }}

{{- define "ssecast.operatorName" -}}
{{- printf "%s-operator" (include "ssecast.fullname" .) }}
{{- end }}

{{- define "ssecast.natsName" -}}
{{- printf "%s-nats" (include "ssecast.fullname" .) }}
{{- end }}

{{- define "ssecast.fallbackName" -}}
{{- printf "%s-fallback" (include "ssecast.fullname" .) }}
{{- end }}

{{/* Labels of an object. Ours win: selectors rely on them. */}}
{{- define "ssecast.labels" -}}
{{- $ours := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_"))
  "app.kubernetes.io/name" (include "ssecast.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "ssecast" }}
{{- toYaml (merge $ours .Values.commonLabels) }}
{{- end }}

{{/* The labels by which the operator's pod is known. Pods that hold streams have `ssecast.dev/broadcaster` instead. */}}
{{- define "ssecast.selectorLabels" -}}
{{- include "ssecast.selector" (dict "ctx" . "part" "operator") }}
{{- end }}

{{/* The labels by which the pods of one part (operator, nats, fallback, test) are known. No part's are a subset of
another's, nor of those of the pods: an HPA averages over everything that its selector matches. */}}
{{- define "ssecast.selector" -}}
app.kubernetes.io/name: ssecast-{{ .part }}
app.kubernetes.io/instance: {{ .ctx.Release.Name }}
{{- end }}

{{/* Labels of one part's pods: nothing that a new version of the chart changes, or it would restart them for nothing. */}}
{{- define "ssecast.podLabels" -}}
{{- $own := merge (fromYaml (include "ssecast.selector" .)) (dict "app.kubernetes.io/component" .part "app.kubernetes.io/part-of" "ssecast") }}
{{- toYaml (merge $own .ctx.Values.commonLabels) }}
{{- end }}

{{/* All labels of one part's objects. */}}
{{- define "ssecast.partLabels" -}}
{{- $labels := fromYaml (include "ssecast.labels" .ctx) }}
{{- $own := fromYaml (include "ssecast.selector" .) }}
{{- toYaml (merge (dict) $own (dict "app.kubernetes.io/component" .part) $labels) }}
{{- end }}

{{/* repository:tag@digest; the tag's default is given. */}}
{{- define "ssecast.image" -}}
{{- if .image.digest }}
{{- printf "%s@%s" .image.repository .image.digest }}
{{- else }}
{{- printf "%s:%s" .image.repository (default .default .image.tag) }}
{{- end }}
{{- end }}

{{- define "ssecast.serviceImage" -}}
{{- include "ssecast.image" (dict "image" .Values.image "default" .Chart.AppVersion) }}
{{- end }}

{{- define "ssecast.embedded" -}}
{{- if not .Values.nats.url }}true{{ end }}
{{- end }}

{{- define "ssecast.natsUrl" -}}
{{- if .Values.nats.url }}
{{- .Values.nats.url }}
{{- else }}
{{- printf "nats://%s:4222" (include "ssecast.natsName" .) }}
{{- end }}
{{- end }}

{{/* Whether the fallback answers for pods that are away. */}}
{{- define "ssecast.fallback" -}}
{{- if and (eq .Values.exposure.type "ingress") .Values.exposure.fallback.enabled (has .Values.exposure.ingress.preset (list "nginx" "traefik")) }}true{{ end }}
{{- end }}

{{/* Pod Security `restricted`, and a root file system that nobody writes to. */}}
{{- define "ssecast.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "ssecast.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Fails where the cluster has not got an API. Takes ctx, api, and the value that asks for it. */}}
{{- define "ssecast.requireApi" -}}
{{- if not (.ctx.Capabilities.APIVersions.Has .api) }}
{{- fail (printf "\n\n%s needs the API %s, which this cluster has not got: install what brings it, or leave the value as it is by default.\n" .value .api) }}
{{- end }}
{{- end }}

{{/* Fails with one sentence. */}}
{{- define "ssecast.refuse" -}}
{{- fail (printf "\n\n%s\n" .) }}
{{- end }}

{{/* a=b,c=d */}}
{{- define "ssecast.pairs" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end }}
{{- $pairs | sortAlpha | join "," }}
{{- end }}

{{/* Where pods may run, from values with nodeSelector, tolerations, affinity and perhaps priorityClassName. */}}
{{- define "ssecast.placement" -}}
{{- $given := dict }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $ $key }}{{ $_ := set $given $key . }}{{ end }}
{{- end }}
{{- with $given }}
{{ toYaml . }}
{{- end }}
{{- end }}

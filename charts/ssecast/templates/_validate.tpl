{{/* What the schema cannot see: values that contradict each other, or the cluster. One sentence each, before anything is
created: the first template that is rendered asks. */}}
{{- define "ssecast.validate" -}}
{{- include "ssecast.validateExposure" . }}
{{- include "ssecast.validateNats" . }}
{{- include "ssecast.validateBroadcaster" . }}
{{- include "ssecast.validateAutoscaling" . }}
{{- include "ssecast.validateSecrets" . }}
{{- end }}

{{- define "ssecast.validateExposure" -}}
{{- $exposure := .Values.exposure }}
{{- $gateway := not (empty $exposure.gateway.parentRefs) }}
{{- $ingress := not (empty $exposure.ingress.preset) }}
{{- if and $gateway $ingress }}
{{- include "ssecast.refuse" "exposure.gateway.parentRefs and exposure.ingress.preset are both set: choose one way in, and name it in exposure.type (none, gateway or ingress)." }}
{{- end }}
{{- if and $gateway (ne $exposure.type "gateway") }}
{{- include "ssecast.refuse" (printf "exposure.gateway.parentRefs is set, but exposure.type is %q: it must be \"gateway\" then." $exposure.type) }}
{{- end }}
{{- if and $ingress (ne $exposure.type "ingress") }}
{{- include "ssecast.refuse" (printf "exposure.ingress.preset is set, but exposure.type is %q: it must be \"ingress\" then." $exposure.type) }}
{{- end }}
{{- if and (eq $exposure.type "gateway") (not $gateway) }}
{{- include "ssecast.refuse" "exposure.type is \"gateway\", but exposure.gateway.parentRefs is empty: name at least one Gateway, such as {name: public}." }}
{{- end }}
{{- if and (eq $exposure.type "ingress") (not $ingress) }}
{{- include "ssecast.refuse" "exposure.type is \"ingress\", but exposure.ingress.preset is empty: it must be nginx, traefik or haproxy." }}
{{- end }}
{{- if and (ne $exposure.type "none") (not .Values.broadcaster.enabled) }}
{{- include "ssecast.refuse" "exposure.type must be \"none\" where broadcaster.enabled is false: there is nothing to expose." }}
{{- end }}
{{- end }}

{{- define "ssecast.validateNats" -}}
{{- if .Values.nats.url }}
{{- $defaults := (.Files.Get "files/generated.yaml" | fromYaml).embedded }}
{{- range $key, $value := .Values.nats.embedded }}
{{- if ne (toJson $value) (toJson (get $defaults $key)) }}
{{- include "ssecast.refuse" (printf "nats.embedded.%s is set, but nats.url names a NATS of your own: set one of them, not both." $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.nats.embedded.persistence.existingClaim (not .Values.nats.embedded.persistence.enabled) }}
{{- include "ssecast.refuse" "nats.embedded.persistence.existingClaim is set, but nats.embedded.persistence.enabled is false: it must be true then." }}
{{- end }}
{{- end }}

{{- define "ssecast.validateBroadcaster" -}}
{{- $spec := .Values.broadcaster.spec }}
{{- if dig "nats" "url" "" $spec }}
{{- include "ssecast.refuse" "broadcaster.spec.nats.url must not be set: the value nats.url says which NATS is used." }}
{{- end }}
{{- if dig "scaling" "mode" "" $spec }}
{{- if ne (dig "scaling" "mode" "" $spec) "off" }}
{{- include "ssecast.refuse" "broadcaster.spec.scaling.mode may only be \"off\": the value autoscaling.mode says whether operator or hpa." }}
{{- end }}
{{- if eq .Values.autoscaling.mode "hpa" }}
{{- include "ssecast.refuse" "broadcaster.spec.scaling.mode is \"off\", but autoscaling.mode is \"hpa\": set one of them, not both." }}
{{- end }}
{{- end }}
{{- $filled := mustMergeOverwrite (deepCopy (.Files.Get "files/generated.yaml" | fromYaml).spec) (deepCopy $spec) }}
{{- $scaling := $filled.scaling }}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) }}
{{- include "ssecast.refuse" (printf "broadcaster.spec.scaling.minReplicas is %d: it must not exceed maxReplicas (%d)." (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
{{- end }}
{{- if gt (int $scaling.streamsPerPod.target) (int $scaling.streamsPerPod.limit) }}
{{- include "ssecast.refuse" (printf "broadcaster.spec.scaling.streamsPerPod.target is %d: it must not exceed limit (%d)." (int $scaling.streamsPerPod.target) (int $scaling.streamsPerPod.limit)) }}
{{- end }}
{{- if and $filled.auth (eq (hasKey $filled.auth "keySecret") (hasKey $filled.auth "jwksUrl")) }}
{{- include "ssecast.refuse" "broadcaster.spec.auth needs exactly one of keySecret and jwksUrl: keys come from one place." }}
{{- end }}
{{- end }}

{{- define "ssecast.validateAutoscaling" -}}
{{- if eq .Values.autoscaling.mode "hpa" }}
{{- if not .Values.broadcaster.enabled }}
{{- include "ssecast.refuse" "autoscaling.mode must be \"operator\" where broadcaster.enabled is false: there is nothing to scale." }}
{{- end }}
{{- if hasKey .Values.broadcaster.spec "replicas" }}
{{- include "ssecast.refuse" "broadcaster.spec.replicas must not be set where autoscaling.mode is \"hpa\": the HorizontalPodAutoscaler writes it." }}
{{- end }}
{{- if not (or (.Capabilities.APIVersions.Has "custom.metrics.k8s.io/v1beta1") (.Capabilities.APIVersions.Has "custom.metrics.k8s.io/v1beta2")) }}
{{- include "ssecast.refuse" "autoscaling.mode is \"hpa\", but this cluster has no custom.metrics.k8s.io: install prometheus-adapter, or set autoscaling.mode to \"operator\", which needs no metrics." }}
{{- end }}
{{- end }}
{{- end }}

{{/* Secrets that the spec names must be there. Without a cluster (`helm template`) nobody knows, and nothing is refused: the
operator says so later, in the condition Reconciled. Whoever may install may list Secrets: Helm keeps releases in them. */}}
{{- define "ssecast.validateSecrets" -}}
{{- $spec := .Values.broadcaster.spec }}
{{- include "ssecast.requireSecret" (dict "ctx" . "value" "broadcaster.spec.nats.credentialsSecret" "secret" (dig "nats" "credentialsSecret" dict $spec)) }}
{{- include "ssecast.requireSecret" (dict "ctx" . "value" "broadcaster.spec.nats.tls.caSecret" "secret" (dig "nats" "tls" "caSecret" dict $spec)) }}
{{- include "ssecast.requireSecret" (dict "ctx" . "value" "broadcaster.spec.auth.keySecret" "secret" (dig "auth" "keySecret" dict $spec)) }}
{{- with dig "nats" "tls" "certificateSecret" "" $spec }}
{{- include "ssecast.requireSecret" (dict "ctx" $ "value" "broadcaster.spec.nats.tls.certificateSecret" "secret" (dict "name" . "key" "tls.crt")) }}
{{- end }}
{{- end }}

{{- define "ssecast.requireSecret" -}}
{{- if .secret }}
{{- $namespace := .ctx.Release.Namespace }}
{{- $found := lookup "v1" "Secret" $namespace .secret.name }}
{{- if $found }}
{{- if not (hasKey (default dict $found.data) .secret.key) }}
{{- include "ssecast.refuse" (printf "%s names the key %q of the Secret %q in namespace %q, which it has not got: it has %s." .value .secret.key .secret.name $namespace (keys (default dict $found.data) | sortAlpha | join ", " | default "none")) }}
{{- end }}
{{- else if lookup "v1" "Secret" $namespace "" }}
{{- include "ssecast.refuse" (printf "%s names the Secret %q, which does not exist in namespace %q: create it first." .value .secret.name $namespace) }}
{{- end }}
{{- end }}
{{- end }}

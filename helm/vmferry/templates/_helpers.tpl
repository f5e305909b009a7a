{{- define "vmferry.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Shorter than a name may be, so that a suffix still fits. */}}
{{- define "vmferry.fullname" -}}
{{- $name := include "vmferry.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "vmferry.selector" -}}
app.kubernetes.io/name: {{ include "vmferry.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of everything that is no operator Pod. */}}
{{- define "vmferry.labels" -}}
{{ include "vmferry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Of Pods that only ask: the Service must not send anybody there, and no policy or budget count them. */}}
{{- define "vmferry.testLabels" -}}
app.kubernetes.io/name: {{ include "vmferry.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vmferry.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "vmferry.serviceAccount" -}}
{{ default (ternary (include "vmferry.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "vmferry.cloudSecret" -}}
{{- if and .Values.cloud.existingSecret (or .Values.cloud.cloudsYaml .Values.cloud.caCert) -}}
{{ fail "cloud.existingSecret and cloud.cloudsYaml or cloud.caCert exclude each other: put everything into one of them" }}
{{- end -}}
{{- if and .Values.cloud.caCert (not .Values.cloud.cloudsYaml) -}}
{{ fail "cloud.caCert goes with cloud.cloudsYaml: put the key ca.crt into your own Secret instead" }}
{{- end -}}
{{ default (printf "%s-cloud" (include "vmferry.fullname" .)) .Values.cloud.existingSecret }}
{{- end }}

{{/* The operator's configuration: the user's, and what follows from where the Pod runs and what is mounted there. */}}
{{- define "vmferry.config" -}}
{{- $drains := dig "policy" "maintenance" "namespace" "" .Values.config | default .Release.Namespace -}}
{{- $seen := .Values.config.namespaces -}}
{{- if and $seen (not (has $drains $seen)) -}}
{{ fail (printf "config.namespaces must contain %s, where the VMMigrations of a maintenance are created: add it, or set config.policy.maintenance.namespace" $drains) }}
{{- end -}}
{{- $own := dict
  "cloud" (dict "name" .Values.cloud.name "cloudsFile" "/etc/vmferry/cloud/clouds.yaml")
  "health" (dict "address" .Values.health.address "port" 8080)
  "policy" (dict "maintenance" (dict "namespace" $drains)) -}}
{{ toYaml (mergeOverwrite (deepCopy .Values.config) $own) }}
{{- end }}

{{- define "vmferry.elected" -}}
{{- if dig "leaderElection" "enabled" false .Values.config }}true{{ end -}}
{{- end }}

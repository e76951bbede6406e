{{/*
SPDX-License-Identifier: Apache-2.0
Names, labels, images.
*/}}

{{- define "fieldgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 44 characters: what is appended to it must fit into the 63 of a label. */}}
{{- define "fieldgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "fieldgate.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 44 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* By which a gateway's pod is found. */}}
{{- define "fieldgate.selectorLabels" -}}
{{- include "fieldgate.componentLabels" (dict "root" .) -}}
{{- end -}}

{{/* A dict of the root and a component's name: what never changes of an object's labels. */}}
{{- define "fieldgate.componentLabels" -}}
app.kubernetes.io/name: {{ include "fieldgate.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component | default "gateway" }}
{{- end -}}

{{/*
An object's metadata, of a dict: root, name; component (default: gateway), further labels and annotations,
cluster (true for what has no namespace).
*/}}
{{- define "fieldgate.metadata" -}}
{{- $labels := include "fieldgate.componentLabels" . | fromYaml -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- $_ := set $labels "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "fieldgate" -}}
{{- $metadata := dict "name" .name "labels" (merge $labels (.labels | default dict) (.root.Values.commonLabels | default dict)) -}}
{{- if not .cluster }}{{ $_ := set $metadata "namespace" .root.Release.Namespace }}{{ end -}}
{{- with merge (deepCopy (.annotations | default dict)) (.root.Values.commonAnnotations | default dict) -}}
{{- $_ := set $metadata "annotations" . -}}
{{- end -}}
{{- toYaml $metadata -}}
{{- end -}}

{{- define "fieldgate.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fieldgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "fieldgate.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "fieldgate.tlsSecretName" -}}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "fieldgate.fullname" .)) -}}
{{- end -}}

{{/* The names by which the devices Service is known in the cluster, as a YAML list. */}}
{{- define "fieldgate.devicesNames" -}}
{{- $service := printf "%s-devices" (include "fieldgate.fullname" .) -}}
- {{ $service }}
- {{ $service }}.{{ .Release.Namespace }}
- {{ $service }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{/*
SPDX-License-Identifier: Apache-2.0
The gateway's pod: the same in a Deployment and in a StatefulSet.
*/}}

{{- define "fieldgate.podTemplate" -}}
{{- $v := .Values -}}
metadata:
  labels:
    # Without the chart's version: a new chart alone is no rollout.
    {{- include "fieldgate.selectorLabels" . | nindent 4 }}
    {{- with merge (deepCopy $v.podLabels) $v.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: fieldgate
    # What a running gateway cannot take over by itself: a change of it is a rollout. Neither what it can, nor
    # what the Secrets hold, is in it: that reaches the gateway through the mounted folders.
    checksum/config: {{ include "fieldgate.restartConfig" . | sha256sum }}
    {{- with merge (deepCopy $v.podAnnotations) $v.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with include "fieldgate.placement" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  serviceAccountName: {{ include "fieldgate.serviceAccountName" . }}
  automountServiceAccountToken: false
  # Or Kubernetes would set variables that begin like the gateway's own.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "fieldgate.gracePeriod" . }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $v.podSecurityContext | nindent 4 }}
  {{- with $v.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: fieldgate
      image: {{ include "fieldgate.image" . }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      command: [fieldgate]
      args: [serve, --config, /etc/fieldgate/config/fieldgate.yaml]
      env:
        - name: FIELDGATE_NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- $node := (($v.config | default dict).node | default dict) }}
        {{- if and (not (hasKey $node "shards")) (dig "requests" "cpu" "" $v.resources) }}
        # Else it would be a shard for each core of the machine, whatever the pod may use of it.
        - name: FIELDGATE_NODE_SHARDS
          valueFrom:
            resourceFieldRef:
              containerName: fieldgate
              resource: requests.cpu
              divisor: "1"
        {{- end }}
        {{- with $v.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $v.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: devices
          containerPort: 8443
        {{- if include "fieldgate.api" . }}
        - name: api
          containerPort: 8080
        {{- end }}
        - name: metrics
          containerPort: 9090
      startupProbe:
        {{- include "fieldgate.probe" (list $v.probes.startup "/readyz") | nindent 8 }}
      readinessProbe:
        {{- include "fieldgate.probe" (list $v.probes.readiness "/readyz") | nindent 8 }}
      livenessProbe:
        {{- include "fieldgate.probe" (list $v.probes.liveness "/livez") | nindent 8 }}
      lifecycle:
        preStop:
          # SIGTERM then finds nothing left to do; where this fails, it does the same. By the state folder, for
          # the mounted configuration may be one that the process has not taken over.
          exec:
            command: [fieldgate, drain, --state-dir, /var/lib/fieldgate, --timeout, {{ include "fieldgate.gracePeriod" . }}s]
      resources:
        {{- toYaml $v.resources | nindent 8 }}
      securityContext:
        {{- toYaml $v.securityContext | nindent 8 }}
      volumeMounts:
        - name: state
          mountPath: /var/lib/fieldgate
        - name: tmp
          mountPath: /tmp
        {{- range include "fieldgate.mounts" . | fromYamlArray }}
        - name: {{ .name }}
          mountPath: {{ .path }}
          readOnly: true
        {{- end }}
        {{- with $v.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $v.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- if not (include "fieldgate.persistent" .) }}
    - name: state
      emptyDir:
        sizeLimit: {{ $v.emptyDirSize }}
    {{- end }}
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
    {{- range include "fieldgate.mounts" . | fromYamlArray }}
    - name: {{ .name }}
      {{- if .configMap }}
      configMap:
        name: {{ .configMap }}
      {{- else }}
      secret:
        secretName: {{ .secret }}
        # The gateway's group reads it, nobody else.
        defaultMode: 0440
      {{- end }}
        {{- with .keys }}
        items:
          {{- range . }}
          - key: {{ . }}
            path: {{ . }}
          {{- end }}
        {{- end }}
    {{- end }}
    {{- with $v.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
What is mounted for the gateway to read: folders and no single files, so that a changed Secret or ConfigMap
reaches the pod, but of each only the keys that it needs.
*/}}
{{- define "fieldgate.mounts" -}}
{{- $v := .Values -}}
- {name: config, path: /etc/fieldgate/config, configMap: {{ include "fieldgate.fullname" . }}}
- {name: tls, path: /etc/fieldgate/tls, secret: {{ include "fieldgate.tlsSecretName" . }}, keys: [tls.crt, tls.key]}
{{- with $v.tls.clientCa }}
{{- if or .secretName .configMapName }}
- name: client-ca
  path: /etc/fieldgate/client-ca
  {{ ternary "secret" "configMap" (ne .secretName "") }}: {{ .secretName | default .configMapName }}
  keys: {{ list .key .crlKey | compact | toJson }}
{{- end }}
{{- end }}
{{- with $v.deviceTokens }}
{{- if .secretName }}
- {name: device-tokens, path: /etc/fieldgate/device-tokens, secret: {{ .secretName }}, keys: [{{ .key }}]}
{{- end }}
{{- end }}
{{- with $v.apiTokens }}
{{- if .secretName }}
- {name: api-tokens, path: /etc/fieldgate/api-tokens, secret: {{ .secretName }}, keys: [{{ .key }}]}
{{- end }}
{{- end }}
{{- with $v.apiTls.secretName }}
- {name: api-tls, path: /etc/fieldgate/api-tls, secret: {{ . }}, keys: [tls.crt, tls.key]}
{{- end }}
{{- if $v.storePassword.secretName }}
- {name: store-password, path: /etc/fieldgate/store-password, secret: {{ $v.storePassword.secretName }}, keys: [{{ $v.storePassword.key }}]}
{{- else if $v.tryout.postgresql.enabled }}
- {name: store-password, path: /etc/fieldgate/store-password, secret: {{ include "fieldgate.fullname" . }}-tryout-postgresql, keys: [password]}
{{- end }}
{{- range $v.files }}
- name: file-{{ .name }}
  path: /etc/fieldgate/files/{{ .name }}
  {{ ternary "secret" "configMap" (not (empty .secretName)) }}: {{ .secretName | default .configMapName }}
{{- end }}
{{- end -}}

{{/* A list of the probe's values and the path that is asked. */}}
{{- define "fieldgate.probe" -}}
{{- $probe := deepCopy (index . 0 | default dict) -}}
{{- if not (or $probe.exec $probe.tcpSocket $probe.grpc $probe.httpGet) -}}
{{- $_ := set $probe "httpGet" (dict "path" (index . 1) "port" "metrics") -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{- define "fieldgate.placement" -}}
{{- $v := .Values -}}
{{- $revision := ternary "controller-revision-hash" "pod-template-hash" (eq (include "fieldgate.persistent" .) "true") -}}
{{- with $v.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  {{- $constraint := deepCopy . }}
  {{- if not $constraint.labelSelector }}
  {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "fieldgate.selectorLabels" $ | fromYaml)) }}
  {{- $_ := set $constraint "matchLabelKeys" (list $revision) }}
  {{- end }}
  {{- list $constraint | toYaml | nindent 2 }}
  {{- end }}
{{- end }}
{{- with $v.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.priorityClass.name }}
priorityClassName: {{ . }}
{{- end }}
{{- with $v.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end -}}

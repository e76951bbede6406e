{{/*
SPDX-License-Identifier: Apache-2.0
What fits together ill is refused here, all of it at once, before anything reaches the cluster.
*/}}

{{- define "fieldgate.problems" -}}
{{- $v := .Values -}}
{{- $c := $v.config | default dict -}}
{{- $owned := dict
  "devices.listen" "the pods listen on listenAddress and port 8443; services.devices.port is what devices see"
  "api.listen" "the pods listen on listenAddress and port 8080; services.api.port is what clients see"
  "admin.listen" "the pods listen on listenAddress and port 9090; services.metrics.port is what Prometheus sees"
  "node.name" "each gateway is called as its pod"
  "node.state_dir" "it is /var/lib/fieldgate, a volume where persistence is needed"
  "store.file" "SQLite's file is in the state folder" -}}
{{- range $path, $why := $owned -}}
{{- $parts := splitList "." $path -}}
{{- if hasKey (get $c (index $parts 0) | default dict) (index $parts 1) }}
- config.{{ $path }} is the chart's own: {{ $why }}. Leave it out.
{{- end -}}
{{- end -}}
{{- if hasKey (($c.uplink | default dict).spool | default dict) "dir" }}
- config.uplink.spool.dir is the chart's own: the spool is on the gateway's volume. Leave it out.
{{- end -}}
{{- range $v.extraEnv -}}
{{- if regexMatch "^FIELDGATE_(UPLINK_SPOOL_ENABLED|STORE_KIND|NODE_|DEVICES_LISTEN|API_LISTEN|API_ENABLED|ADMIN_LISTEN)" .name }}
- extraEnv: {{ .name }} would change behind the chart's back what it must know. Write it in config.
{{- end -}}
{{- end -}}
{{- if and (not $v.tls.secretName) (not $v.tls.certManager.enabled) }}
- tls: no certificate. Name a Secret in tls.secretName, or set tls.certManager.enabled.
{{- end -}}
{{- if and $v.tls.secretName $v.tls.certManager.enabled }}
- tls.secretName and tls.certManager.enabled: one of them is enough.
{{- end -}}
{{- if and $v.tls.certManager.enabled (not $v.tls.certManager.selfSigned) (not $v.tls.certManager.issuerRef.name) }}
- tls.certManager.issuerRef.name is missing: say who signs the certificate.
{{- end -}}
{{- if and $v.tls.certManager.enabled (not (or $v.tls.certManager.serviceNames $v.tls.certManager.dnsNames $v.tls.certManager.ipAddresses)) }}
- tls.certManager: the certificate would be for nobody. Name what devices connect to in tls.certManager.dnsNames.
{{- end -}}
{{- if not (ne false (($c.devices | default dict).tls | default dict).enabled) }}
- config.devices.tls.enabled is false: in a cluster devices connect over TLS, which ends in the pod.
{{- end -}}
{{- if and $v.tls.clientCa.secretName $v.tls.clientCa.configMapName }}
- tls.clientCa.secretName and tls.clientCa.configMapName: one of them is enough.
{{- end -}}
{{- range $v.files -}}
{{- if eq (empty .secretName) (empty .configMapName) }}
- files: {{ .name }} needs secretName or configMapName, and not both.
{{- end -}}
{{- end -}}
{{- $kind := include "fieldgate.storeKind" . -}}
{{- if contains "$" $kind }}
- config.store.kind is {{ $kind }}: the chart must know it. Write it out.
{{- end -}}
{{- if contains "$" (toString ((($c.uplink | default dict).spool | default dict).enabled)) }}
- config.uplink.spool.enabled is a variable: the chart must know it. Write it out.
{{- end -}}
{{- $several := or (gt (int $v.replicaCount) 1) $v.autoscaling.enabled -}}
{{- if and $several (ne $kind "postgres") }}
- {{ if $v.autoscaling.enabled }}autoscaling.enabled{{ else }}replicaCount: {{ $v.replicaCount }}{{ end }} with config.store.kind: {{ $kind }}. Several gateways need one store: postgres.
{{- end -}}
{{- if and $v.autoscaling.enabled (include "fieldgate.spool" .) }}
- autoscaling.enabled with config.uplink.spool.enabled: a gateway that is scaled away leaves its records behind on its volume. Scale by hand, once its spool is empty.
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) }}
- autoscaling.minReplicas is above autoscaling.maxReplicas.
{{- end -}}
{{- $node := (include "fieldgate.config" . | fromYaml).node -}}
{{- $period := $node.drain_period | default "20s" -}}
{{- range $key, $value := dict "drain_delay" $node.drain_delay "drain_period" $period -}}
{{- if not (include "fieldgate.seconds" $value) }}
- config.node.{{ $key }} is {{ $value }}: the chart must know how long it is. Write it out, such as 20s.
{{- end -}}
{{- end -}}
{{- if $v.terminationGracePeriodSeconds -}}
{{- $needed := include "fieldgate.gracePeriodNeeded" . | int64 -}}
{{- if lt (int64 $v.terminationGracePeriodSeconds) $needed }}
- terminationGracePeriodSeconds is {{ $v.terminationGracePeriodSeconds }}, but at least {{ $needed }} are needed: config.node.drain_delay {{ $node.drain_delay }} + config.node.drain_period {{ $period }} + drainMarginSeconds {{ $v.drainMarginSeconds }}. A shorter one would end in SIGKILL while records are still on their way.
{{- end -}}
{{- end -}}
{{- range ($c.devices | default dict).proxy_trusted -}}
{{- if hasSuffix "/0" (toString .) }}
- config.devices.proxy_trusted: {{ . }} is everybody, and everybody could claim any address. Name the networks of your load balancers.
{{- end -}}
{{- end -}}
{{- if and $v.tlsRoute.enabled (not $v.tlsRoute.parentRefs) }}
- tlsRoute.parentRefs is empty: name the Gateway.
{{- end -}}
{{- if and $v.tlsRoute.enabled (not $v.tlsRoute.hostnames) }}
- tlsRoute.hostnames is empty: name what devices ask for (SNI).
{{- end -}}
{{- $tls := (include "fieldgate.config" . | fromYaml).devices.tls -}}
{{- if and $v.tests.apiTokenSecret $v.tests.clientSecret }}
- tests.apiTokenSecret and tests.clientSecret: one of them is enough.
{{- end -}}
{{- if and $v.tests.apiTokenSecret (not (include "fieldgate.api" .)) }}
- tests.apiTokenSecret is set, but there is no API: set apiTokens.secretName.
{{- end -}}
{{- if and $v.tests.apiTokenSecret (eq $kind "none") }}
- tests.apiTokenSecret with config.store.kind: none. There is no registry for the test's device; give it a certificate, by tests.clientSecret.
{{- end -}}
{{- if and $v.tests.apiTokenSecret (eq (toString $tls.client_certificate) "required") }}
- tests.apiTokenSecret with config.devices.tls.client_certificate: required. The test's device would have none; give it one, by tests.clientSecret.
{{- end -}}
{{- if and $v.tests.clientSecret (not $tls.client_ca_file) }}
- tests.clientSecret is set, but no device certificate is trusted: set tls.clientCa.
{{- end -}}
{{- if and $v.priorityClass.create (not $v.priorityClass.name) }}
- priorityClass.create is set, but priorityClass.name is empty.
{{- end -}}
{{- if and $v.tryout.postgresql.enabled (not $v.tryout.postgresql.password) }}
- tryout.postgresql.password is missing. The chart makes none up: it would be another one at each upgrade.
{{- end -}}
{{- end -}}

{{- define "fieldgate.check" -}}
{{- with include "fieldgate.problems" . | trim -}}
{{- fail (printf "the values do not fit together:\n%s\n" .) -}}
{{- end -}}
{{- end -}}

{{/*
SPDX-License-Identifier: Apache-2.0
The gateway's configuration, and what the chart reads off it.
*/}}

{{/*
config with what the chart adds, as YAML: addresses and folders are its own, files of Secrets that it
mounts are set where config does not name another.
*/}}
{{- define "fieldgate.config" -}}
{{- $v := .Values -}}
{{- $c := deepCopy ($v.config | default dict) -}}
{{- range list "node" "log" "devices" "tokens" "store" "uplink" "api" "admin" -}}
{{- if not (kindIs "map" (get $c .)) }}{{ $_ := set $c . dict }}{{ end -}}
{{- end -}}
{{- if not (kindIs "map" (get $c.devices "tls")) }}{{ $_ := set $c.devices "tls" dict }}{{ end -}}
{{- $any := ternary "[::]" "0.0.0.0" (eq $v.listenAddress "::") -}}
{{- $_ := set $c.devices "listen" (printf "%s:8443" $any) -}}
{{- $_ := set $c.api "listen" (printf "%s:8080" $any) -}}
{{- $_ := set $c.admin "listen" (printf "%s:9090" $any) -}}
{{- $_ := set $c.node "state_dir" "/var/lib/fieldgate" -}}
{{- /* Until every node has heard that the pod is no endpoint any more. */ -}}
{{- if not (hasKey $c.node "drain_delay") }}{{ $_ := set $c.node "drain_delay" "5s" }}{{ end -}}
{{- if not (hasKey $c.log "format") }}{{ $_ := set $c.log "format" "json" }}{{ end -}}
{{- $tls := $c.devices.tls -}}
{{- if not (hasKey $tls "certificate_file") }}{{ $_ := set $tls "certificate_file" "/etc/fieldgate/tls/tls.crt" }}{{ end -}}
{{- if not (hasKey $tls "key_file") }}{{ $_ := set $tls "key_file" "/etc/fieldgate/tls/tls.key" }}{{ end -}}
{{- with $v.tls.clientCa -}}
{{- if or .secretName .configMapName -}}
{{- if not (hasKey $tls "client_ca_file") }}{{ $_ := set $tls "client_ca_file" (printf "/etc/fieldgate/client-ca/%s" .key) }}{{ end -}}
{{- if and .crlKey (not (hasKey $tls "crl_file")) }}{{ $_ := set $tls "crl_file" (printf "/etc/fieldgate/client-ca/%s" .crlKey) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with $v.deviceTokens -}}
{{- if and .secretName (not (hasKey $c.tokens "file")) }}{{ $_ := set $c.tokens "file" (printf "/etc/fieldgate/device-tokens/%s" .key) }}{{ end -}}
{{- end -}}
{{- with $v.apiTokens -}}
{{- if and .secretName (not (hasKey $c.api "token_file")) }}{{ $_ := set $c.api "token_file" (printf "/etc/fieldgate/api-tokens/%s" .key) }}{{ end -}}
{{- end -}}
{{- if not (or (hasKey $c.api "token_file") (hasKey $c.api "jwt") (hasKey $c.api "enabled")) }}{{ $_ := set $c.api "enabled" false }}{{ end -}}
{{- if $v.apiTls.secretName -}}
{{- if not (hasKey $c.api "certificate_file") }}{{ $_ := set $c.api "certificate_file" "/etc/fieldgate/api-tls/tls.crt" }}{{ end -}}
{{- if not (hasKey $c.api "key_file") }}{{ $_ := set $c.api "key_file" "/etc/fieldgate/api-tls/tls.key" }}{{ end -}}
{{- end -}}
{{- if and $v.tryout.postgresql.enabled (not (hasKey $c.store "kind")) -}}
{{- $_ := set $c.store "kind" "postgres" -}}
{{- $_ := set $c.store "connection" (printf "host=%s-tryout-postgresql dbname=fieldgate user=fieldgate" (include "fieldgate.fullname" .)) -}}
{{- $_ := set $c.store "password_file" "/etc/fieldgate/store-password/password" -}}
{{- else if and $v.storePassword.secretName (not (hasKey $c.store "password_file")) -}}
{{- $_ := set $c.store "password_file" (printf "/etc/fieldgate/store-password/%s" $v.storePassword.key) -}}
{{- end -}}
{{- if and $v.tryout.mosquitto.enabled (not (get $c "mqtt")) -}}
{{- $_ := set $c "mqtt" (list (dict "name" "tryout" "host" (printf "%s-tryout-mosquitto" (include "fieldgate.fullname" .)))) -}}
{{- end -}}
{{- range $section, $keys := $c -}}
{{- if or (kindIs "invalid" $keys) (and (kindIs "map" $keys) (not $keys)) }}{{ $_ := unset $c $section }}{{ end -}}
{{- end -}}
{{- toYaml $c -}}
{{- end -}}

{{/* The store's kind. */}}
{{- define "fieldgate.storeKind" -}}
{{- $c := include "fieldgate.config" . | fromYaml -}}
{{- (get $c "store" | default dict).kind | default "sqlite" -}}
{{- end -}}

{{/* "true" where records go to a disk. */}}
{{- define "fieldgate.spool" -}}
{{- $uplink := (.Values.config | default dict).uplink | default dict -}}
{{- if ($uplink.spool | default dict).enabled }}true{{ end -}}
{{- end -}}

{{/* "true" where a gateway's state must outlive its pod: the gateways are a StatefulSet with volumes. */}}
{{- define "fieldgate.persistent" -}}
{{- if or (include "fieldgate.spool" .) (eq (include "fieldgate.storeKind" .) "sqlite") }}true{{ end -}}
{{- end -}}

{{/* "true" where there is an HTTP API. */}}
{{- define "fieldgate.api" -}}
{{- $api := (include "fieldgate.config" . | fromYaml).api -}}
{{- if not (and (hasKey $api "enabled") (not $api.enabled)) }}true{{ end -}}
{{- end -}}

{{/* "true" where `helm test` has a device to be. */}}
{{- define "fieldgate.tests" -}}
{{- if or .Values.tests.apiTokenSecret .Values.tests.clientSecret }}true{{ end -}}
{{- end -}}

{{/* A duration of the configuration in whole seconds, rounded up; empty if it is none. */}}
{{- define "fieldgate.seconds" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+(ms|s|m|h)$" $text -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- if eq $unit "ms" }}{{ div (add $number 999) 1000 }}
{{- else if eq $unit "s" }}{{ $number }}
{{- else if eq $unit "m" }}{{ mul $number 60 }}
{{- else }}{{ mul $number 3600 }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* What a pod needs between being told to end and the end. */}}
{{- define "fieldgate.gracePeriodNeeded" -}}
{{- $node := (include "fieldgate.config" . | fromYaml).node -}}
{{- $delay := include "fieldgate.seconds" $node.drain_delay | default "0" | int64 -}}
{{- $period := include "fieldgate.seconds" ($node.drain_period | default "20s") | default "0" | int64 -}}
{{- add $delay $period .Values.drainMarginSeconds -}}
{{- end -}}

{{- define "fieldgate.gracePeriod" -}}
{{- .Values.terminationGracePeriodSeconds | default (include "fieldgate.gracePeriodNeeded" .) -}}
{{- end -}}

{{/*
config without what a running gateway takes over by itself, when the kubelet has put the changed file in
place: a change of the rest is a rollout.
*/}}
{{- define "fieldgate.restartConfig" -}}
{{- $c := include "fieldgate.config" . | fromYaml -}}
{{- if not (and (hasKey $c.node "reload_on_change") (not $c.node.reload_on_change)) -}}
{{- range .Files.Get "files/reload.json" | fromJsonArray -}}
{{- $parts := splitList "." . -}}
{{- $section := get $c (first $parts) -}}
{{- if and (kindIs "map" $section) (eq (len $parts) 3) }}{{ $section = get $section (index $parts 1) }}{{ end -}}
{{- if kindIs "map" $section }}{{ $_ := unset $section (last $parts) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $name, $section := $c -}}
{{- if kindIs "map" $section -}}
{{- range $inner, $keys := $section -}}
{{- if and (kindIs "map" $keys) (not $keys) }}{{ $_ := unset $section $inner }}{{ end -}}
{{- end -}}
{{- if not $section }}{{ $_ := unset $c $name }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $c -}}
{{- end -}}

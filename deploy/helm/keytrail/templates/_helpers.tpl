{{- define "keytrail.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "keytrail.selector" -}}
app.kubernetes.io/name: keytrail
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "keytrail.labels" -}}
{{ include "keytrail.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "keytrail.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "keytrail.name" .) "default") -}}
{{- end -}}

{{- define "keytrail.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{- /* Where records are pushed to, or nothing. */ -}}
{{- define "keytrail.push" -}}
{{- range $name, $source := .Values.config.sources }}{{ with $source.http }}{{ .listen }}{{ end }}{{ end -}}
{{- end -}}

{{- /* A source that others push to. */ -}}
{{- define "keytrail.checkPush" -}}
{{- $port := int .values.ports.push -}}
{{- $key := printf "config.sources.%s.http" .name -}}
{{- if regexMatch "^(127\\.|localhost|\\[::1\\])" .http.listen -}}
{{- fail (printf "%s.listen is `%s`: senders ask from outside the pod" $key .http.listen) -}}
{{- end -}}
{{- if not (hasSuffix (printf ":%d" $port) .http.listen) -}}
{{- fail (printf "%s.listen is `%s`, but ports.push is %d" $key .http.listen $port) -}}
{{- end -}}
{{- if not (or .http.token_file .http.hmac_file) -}}
{{- fail (printf "%s names neither token_file nor hmac_file, and is open to others" $key) -}}
{{- end -}}
{{- if not (hasPrefix "/var/lib/keytrail/" .http.spool) -}}
{{- fail (printf "%s.spool is `%s`: only /var/lib/keytrail can be written" $key .http.spool) -}}
{{- end -}}
{{- if and (gt (int .values.replicaCount) 1) .values.persistence.existingClaim -}}
{{- fail (printf "replicaCount is %d, and persistence.existingClaim is set: replicas would share the spool of %s" (int .values.replicaCount) $key) -}}
{{- end -}}
{{- end -}}

{{- /* What would start and then not work is refused here. */ -}}
{{- define "keytrail.check" -}}
{{- if and (gt (int .Values.replicaCount) 1) (not (hasPrefix "postgres" (toString .Values.config.store))) -}}
{{- fail (printf "replicaCount is %d, but config.store is no PostgreSQL address: replicas share their leases in it" (int .Values.replicaCount)) -}}
{{- end -}}
{{- if not (or (hasPrefix "postgres" (toString .Values.config.store)) .Values.persistence.existingClaim) -}}
{{- fail "config.store is a file, and persistence.existingClaim is empty: the store would go with the pod" -}}
{{- end -}}
{{- if not .Values.config.sources -}}
{{- fail "config.sources is empty: there is nothing to read" -}}
{{- end -}}
{{- $pushed := list -}}
{{- range $name, $source := .Values.config.sources -}}
{{- with $source.http -}}
{{- $pushed = append $pushed $name -}}
{{- include "keytrail.checkPush" (dict "name" $name "http" . "values" $.Values) -}}
{{- end -}}
{{- end -}}
{{- if gt (len $pushed) 1 -}}
{{- fail (printf "config.sources has several `http` sources (%s), and the chart has one port for them" (join ", " $pushed)) -}}
{{- end -}}
{{- $listen := dig "run" "listen" "" .Values.config -}}
{{- if regexMatch "^(127\\.|localhost|\\[::1\\])" $listen -}}
{{- fail (printf "config.run.listen is `%s`: the probes ask from outside the pod" $listen) -}}
{{- end -}}
{{- if not (hasSuffix (printf ":%d" (int .Values.ports.metrics)) $listen) -}}
{{- fail (printf "config.run.listen is `%s`, but ports.metrics is %d" $listen (int .Values.ports.metrics)) -}}
{{- end -}}
{{- end -}}

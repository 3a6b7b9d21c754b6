{{- define "valve.name" -}}
{{- ternary .Release.Name (printf "%s-valve" .Release.Name) (contains "valve" .Release.Name) | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "valve.selector" -}}
app.kubernetes.io/name: valve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "valve.labels" -}}
{{ include "valve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "valve.hasOperator" -}}
{{- $auto := .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{- if eq (toString .Values.monitoring.operator) "auto" }}{{ ternary "yes" "" $auto }}{{ else }}{{ ternary "yes" "" .Values.monitoring.operator }}{{ end -}}
{{- end }}

{{- /* The runtime directory as processes see it: where one Pod owns it, a directory that they make themselves. */}}
{{- define "valve.hostPath" -}}
{{- .Values.runtimeDir.hostPath | default (ternary "/run/valve" "" .Values.offline.ownPod) -}}
{{- end }}
{{- define "valve.runtimeDir" -}}
{{- ternary "/run/valve" "/run/valve/node" (not (empty (include "valve.hostPath" .))) -}}
{{- end }}

{{- /* A container's `resources`, with its share of the GPU: list of root and what it asks for besides. */}}
{{- define "valve.resources" -}}
{{- $root := index . 0 -}}
{{- $resources := deepCopy (index . 1) -}}
{{- if eq $root.Values.gpu.sharing "claim" -}}
{{- $resources = set $resources "claims" (list (dict "name" "gpu")) -}}
{{- else if eq $root.Values.gpu.sharing "timeSlicing" -}}
{{- $limits := set ($resources.limits | default dict) "nvidia.com/gpu" 1 -}}
{{- $resources = set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}

{{- /* A claim of each Pod's own, or the one that both Pods of the two-Pod variant name. */}}
{{- define "valve.claims" -}}
{{- if eq .Values.gpu.sharing "claim" -}}
resourceClaims:
  - name: gpu
    {{ ternary "resourceClaimName" "resourceClaimTemplateName" .Values.offline.ownPod }}: {{ include "valve.name" . }}-gpu
{{- end }}
{{- end }}

{{- define "valve.deviceRequest" -}}
devices:
  requests:
    - name: gpu
      exactly: {deviceClassName: {{ .Values.gpu.deviceClassName }}, count: {{ .Values.gpu.count }}}
{{- end }}

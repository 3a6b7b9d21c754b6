{{- /* What the Pods of both variants have in common. */}}
{{- define "valve.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ add .Values.drainSeconds 30 }}
securityContext:
  fsGroup: {{ .Values.user }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "valve.claims" . }}
{{ . }}
{{- end }}
volumes:
  - name: valve
    {{- with include "valve.hostPath" . }}
    hostPath: {path: {{ . }}, type: DirectoryOrCreate}
    {{- else }}
    emptyDir: {medium: Memory, sizeLimit: 64Mi}
    {{- end }}
  - {name: tmp, emptyDir: {}}
  {{- if and .Values.offline.command (eq .Values.offline.valve "carrier") }}
  - {name: carrier, emptyDir: {}}
  {{- end }}
  {{- with .Values.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

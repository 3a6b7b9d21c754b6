{{- /* The sidecar: starts before the engines, does not wait for them, ends after them. */}}
{{- define "valve.sidecar" -}}
- name: valve
  image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
  restartPolicy: Always
  args: [serve]
  env:
    - {name: VALVE_UPSTREAM, value: "http://127.0.0.1:{{ .Values.online.port }}"}
    - {name: VALVE_LISTEN, value: "0.0.0.0:8780"}
    - {name: VALVE_ADMIN, value: "0.0.0.0:8781"}
    - {name: VALVE_RUNTIME_DIR, value: {{ include "valve.runtimeDir" . }}}
    {{- range $key, $value := .Values.serve }}
    - {name: VALVE_{{ upper $key }}, value: {{ kindIs "slice" $value | ternary (join "," $value) (toString $value) | quote }}}
    {{- end }}
  ports:
    - {name: http, containerPort: 8780}
    - {name: admin, containerPort: 8781}
  # Never /readyz here: it asks the engine, which starts only after this probe has passed.
  startupProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 1, failureThreshold: 60}
  livenessProbe: {httpGet: {path: /healthz, port: admin}, timeoutSeconds: 5, failureThreshold: 6}
  # Through the sidecar to the engine. A gate that cannot work does not take the Pod out of service.
  readinessProbe: {httpGet: {path: {{ .Values.online.healthPath }}, port: http}, periodSeconds: 5, timeoutSeconds: 5}
  resources: {{- include "valve.resources" (list . (dict "requests" (dict "cpu" "250m" "memory" "128Mi") "limits" (dict "memory" "512Mi"))) | nindent 4 }}
  securityContext: {{- include "valve.confined" . | nindent 4 }}
    readOnlyRootFilesystem: true
  volumeMounts:
    - {name: valve, mountPath: /run/valve}
    - {name: tmp, mountPath: /tmp, subPath: valve}
{{- end }}

{{- /* The online engine: as it would be without Valve. It does not see the runtime directory. */}}
{{- define "valve.online" -}}
- name: online
  image: {{ .Values.online.image }}
  {{- with .Values.online.command }}
  command: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.online.args }}
  args: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.online.env }}
  env: {{- toYaml . | nindent 4 }}
  {{- end }}
  # The sidecar goes on until this container has ended: running requests finish meanwhile.
  lifecycle: {preStop: {sleep: {seconds: {{ .Values.drainSeconds }}}}}
  resources: {{- include "valve.resources" (list . .Values.online.resources) | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
  {{- with .Values.online.volumeMounts }}
  volumeMounts: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- /* An offline engine. It has no probes: whatever asks a stopped engine gets no answer, and would end it. */}}
{{- define "valve.offline" -}}
- name: offline
  image: {{ .Values.offline.image | default .Values.online.image }}
  command:
    - {{ ternary "/opt/valve/bin/valve" "valve" (eq .Values.offline.valve "carrier") }}
    - run
    - --job={{ .Values.offline.job }}
    - --
    {{- toYaml .Values.offline.command | nindent 4 }}
  env:
    - {name: VALVE_RUNTIME_DIR, value: {{ include "valve.runtimeDir" . }}}
    - {name: HOME, value: /tmp}
    {{- with .Values.offline.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.offline.port }}
  ports:
    - {name: offline, containerPort: {{ . }}}
  {{- end }}
  resources: {{- include "valve.resources" (list . .Values.offline.resources) | nindent 4 }}
  securityContext: {{- include "valve.confined" . | nindent 4 }}
  volumeMounts:
    - {name: valve, mountPath: /run/valve}
    - {name: tmp, mountPath: /tmp, subPath: offline}
    {{- if eq .Values.offline.valve "carrier" }}
    - {name: carrier, mountPath: /opt/valve, readOnly: true}
    {{- end }}
    {{- with .Values.offline.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "valve.carrier" -}}
- name: carrier
  image: {{ .Values.carrier.repository }}:{{ .Values.carrier.tag | default .Chart.AppVersion }}
  args: [/carried]
  securityContext: {{- include "valve.confined" . | nindent 4 }}
    readOnlyRootFilesystem: true
  volumeMounts:
    - {name: carrier, mountPath: /carried}
{{- end }}

{{- /* Makes the node's directory one of the group's. As root without any capability: it owns the directory. */}}
{{- define "valve.prepare" -}}
- name: prepare
  image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
  command: [sh, -c, "chgrp {{ .Values.user }} /run/valve && chmod 2770 /run/valve"]
  securityContext:
    runAsUser: 0
    runAsGroup: {{ .Values.user }}
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  volumeMounts:
    - {name: valve, mountPath: /run/valve}
{{- end }}

{{- define "valve.confined" -}}
runAsNonRoot: true
runAsUser: {{ .Values.user }}
runAsGroup: {{ .Values.user }}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

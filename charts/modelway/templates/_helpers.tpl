{{- /* One prefix for everything of a release; the operator finds its Secrets, Lease and Services by it. */ -}}
{{- define "modelway.prefix" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "modelway.labels" -}}
app.kubernetes.io/name: modelway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "modelway.selector" -}}
app.kubernetes.io/name: modelway
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "modelway.image" -}}
{{- $image := .image -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "modelway.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Replicas apart from each other where the cluster has room; with fewer nodes than replicas they share one. */ -}}
{{- define "modelway.affinity" -}}
affinity:
{{- if .affinity }}
  {{- toYaml .affinity | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "modelway.selector" . | nindent 14 }}
{{- end }}
{{- end }}

{{- define "modelway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "modelway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "modelway.metricsSource" -}}
{{- .Values.metrics.source | default (ternary "prometheus" "none" (not (empty .Values.metrics.prometheus.url))) -}}
{{- end }}

{{- /* Where the operator may look: namespaces, or nothing for the whole cluster. */ -}}
{{- define "modelway.watched" -}}
{{- if .Values.watchNamespaces -}}
{{- concat .Values.watchNamespaces .Values.sharedNamespaces (list .Release.Namespace) | uniq | sortAlpha | join "," -}}
{{- end -}}
{{- end }}

"""The Kubernetes components: what each is told, as configuration files and flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .layout import (
    API_PORT,
    CGROUP,
    CLUSTER_DOMAIN,
    CONTROLLER_MANAGER_PORT,
    DNS_READY_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    KUBELET_HEALTH_PORT,
    KUBELET_PORT,
    NODE_ADDRESS,
    NODE_NAME,
    POD_CIDR,
    PROXY_HEALTH_PORT,
    PROXY_METRICS_PORT,
    SCHEDULER_PORT,
    SERVICE_CIDR,
    Layout,
)

# Reads are left out: they are most of the traffic, and no test asks for them. A Secret's content never is in a log.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "serviceaccounts/token"]}]},
        {"level": "RequestResponse", "resources": [{"group": "modelway.dev"}]},
        {"level": "Metadata"},
    ],
}
DNS_ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "system:coredns"},
    "rules": [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ],
}
DNS_BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "system:coredns"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
}
KUBECONFIG_FLAGS = ("", "authentication-", "authorization-")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
DNS_GRANTS = ((f"{RBAC}/clusterroles", DNS_ROLE), (f"{RBAC}/clusterrolebindings", DNS_BINDING))
# Zero, or a developer's full disk would evict the pods under test.
NO_EVICTION = {
    "memory.available": "0%",
    "nodefs.available": "0%",
    "nodefs.inodesFree": "0%",
    "imagefs.available": "0%",
    "imagefs.inodesFree": "0%",
}


def etcd(layout: Layout) -> list[str | Path]:
    """One member, behind the node's own certificates."""
    pki = layout.pki
    client, peer = f"https://{NODE_ADDRESS}:{ETCD_PORT}", f"https://{NODE_ADDRESS}:{ETCD_PEER_PORT}"
    return [
        layout.node_binary, "etcd",
        f"--name={NODE_NAME}", f"--data-dir={layout.state}/etcd",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={NODE_NAME}={peer}",
        "--client-cert-auth", f"--trusted-ca-file={pki}/ca.crt",
        f"--cert-file={pki}/etcd.crt", f"--key-file={pki}/etcd.key",
        "--peer-client-cert-auth", f"--peer-trusted-ca-file={pki}/ca.crt",
        f"--peer-cert-file={pki}/etcd.crt", f"--peer-key-file={pki}/etcd.key",
        # The data is thrown away by `down`: waiting for the disk at each write buys nothing.
        "--unsafe-no-fsync", "--log-level=warn",
    ]  # fmt: skip


def api_server(layout: Layout) -> list[str | Path]:
    """The API server, with the audit log."""
    pki = layout.pki
    policy = write(layout, "audit-policy.json", AUDIT_POLICY)
    return [
        layout.node_binary, "kube-apiserver",
        f"--bind-address={NODE_ADDRESS}", f"--advertise-address={NODE_ADDRESS}", f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICE_CIDR}", "--allow-privileged=true",
        f"--etcd-servers=https://{NODE_ADDRESS}:{ETCD_PORT}", f"--etcd-cafile={pki}/ca.crt",
        f"--etcd-certfile={pki}/etcd.crt", f"--etcd-keyfile={pki}/etcd.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--audit-policy-file={policy}", f"--audit-log-path={layout.audit_log}", "--audit-log-maxsize=1024",
        "--profiling=false",
    ]  # fmt: skip


def controller_manager(layout: Layout) -> list[str | Path]:
    """Every controller; no election, for there is one."""
    pki = layout.pki
    kubeconfig = pki / "controller-manager.kubeconfig"
    return [
        layout.node_binary, "kube-controller-manager",
        *(f"--{prefix}kubeconfig={kubeconfig}" for prefix in KUBECONFIG_FLAGS),
        f"--bind-address={NODE_ADDRESS}", f"--secure-port={CONTROLLER_MANAGER_PORT}",
        f"--service-account-private-key-file={pki}/service-account.key", "--use-service-account-credentials",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
        f"--flex-volume-plugin-dir={layout.kubelet}/volume-plugins", "--leader-elect=false", "--profiling=false",
    ]  # fmt: skip


def scheduler(layout: Layout) -> list[str | Path]:
    """The scheduler; no election, for there is one."""
    kubeconfig = layout.pki / "scheduler.kubeconfig"
    return [
        layout.node_binary, "kube-scheduler",
        *(f"--{prefix}kubeconfig={kubeconfig}" for prefix in KUBECONFIG_FLAGS),
        f"--bind-address={NODE_ADDRESS}", f"--secure-port={SCHEDULER_PORT}", "--leader-elect=false",
    ]  # fmt: skip


def kubelet(layout: Layout) -> list[str | Path]:
    """The kubelet; containerd must answer before it starts, or it ends."""
    pki = layout.pki
    config = write(
        layout,
        "kubelet.json",
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "port": KUBELET_PORT,
            "healthzBindAddress": NODE_ADDRESS,
            "healthzPort": KUBELET_HEALTH_PORT,
            "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/kubelet-serving.crt",
            "tlsPrivateKeyFile": f"{pki}/kubelet-serving.key",
            "clusterDomain": CLUSTER_DOMAIN,
            "clusterDNS": [NODE_ADDRESS],
            "resolvConf": "",  # the machine's search domains would leak into pods
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{CGROUP}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "evictionHard": NO_EVICTION,
            "imageGCHighThresholdPercent": 100,
            "makeIPTablesUtilChains": False,
            "oomScoreAdj": 0,
            "podLogsDir": str(layout.pod_logs),
            "volumePluginDir": f"{layout.kubelet}/volume-plugins",
            "serializeImagePulls": False,
            # How late a changed Secret may reach a pod: six times sooner than the default, for the tests' sake.
            "syncFrequency": "10s",
            # A test that kills a container for the fifth time must not wait minutes for it to come back.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        },
    )
    return [
        layout.node_binary, "kubelet",
        f"--config={config}", f"--kubeconfig={pki}/kubelet.kubeconfig",
        f"--root-dir={layout.kubelet}", f"--cert-dir={layout.kubelet}/pki",
        f"--hostname-override={NODE_NAME}", f"--node-ip={NODE_ADDRESS}",
    ]  # fmt: skip


def proxy(layout: Layout) -> list[str | Path]:
    """kube-proxy by nftables: its rules are two tables that `down` deletes whole."""
    config = write(
        layout,
        "proxy.json",
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": f"{layout.pki}/proxy.kubeconfig"},
            "hostnameOverride": NODE_NAME,
            "clusterCIDR": POD_CIDR,
            "healthzBindAddress": f"{NODE_ADDRESS}:{PROXY_HEALTH_PORT}",
            "metricsBindAddress": f"{NODE_ADDRESS}:{PROXY_METRICS_PORT}",
            "oomScoreAdj": 0,
            # Zero leaves the machine's connection-tracking settings alone.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        },
    )
    return [layout.node_binary, "kube-proxy", f"--config={config}"]


def coredns(layout: Layout) -> list[str | Path]:
    """DNS for the cluster's names on the bridge's address; any other name does not exist."""
    corefile = layout.config / "Corefile"
    corefile.write_text(f"""\
{CLUSTER_DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {NODE_ADDRESS}
    errors
    ready {NODE_ADDRESS}:{DNS_READY_PORT}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {layout.pki}/coredns.kubeconfig {NODE_NAME}
        ttl 5
    }}
}}
.:53 {{
    bind {NODE_ADDRESS}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
""")
    return [layout.binaries / "coredns", "-conf", corefile]


def write(layout: Layout, name: str, document: dict[str, Any]) -> Path:
    """A configuration file; JSON is YAML."""
    path = layout.config / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path

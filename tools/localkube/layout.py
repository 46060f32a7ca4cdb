"""Where everything lies, and the few fixed names and addresses of the node.

Every server listens on the bridge's own address: no port of the machine's other addresses is taken, so nothing that
runs beside the node can collide with it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import LocalkubeError

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parents[1]
NODE_SOURCE = FOLDER / "node"
PROMETHEUS_SOURCE = FOLDER / "prometheus"

NODE_NAME = "localkube"
BRIDGE = "modelway0"
NODE_ADDRESS = "10.213.0.1"
POD_CIDR = "10.213.0.0/24"
SERVICE_CIDR = "10.214.0.0/24"
FIRST_SERVICE_ADDRESS = "10.214.0.1"
CLUSTER_DOMAIN = "cluster.local"
CNI_NETWORK = "modelway-localkube"
FENCE_TABLE = "modelway-localkube"
CGROUP = "modelway-localkube"
API_PORT = 6443
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 10248
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249
DNS_READY_PORT = 8181

BASE_IMAGE = "localhost/modelway-base:trixie"
PAUSE_IMAGE = "localhost/modelway-pause:1"
PROMETHEUS_IMAGE = "localhost/prometheus:test"

# containerd appends up to 24 characters to its folder, and the kernel takes 107 for a socket's path.
LONGEST_STATE_PATH = 70


@dataclass(frozen=True, slots=True)
class Layout:
    """The two folders of one machine, and the files in them that more than one module names."""

    cache: Path
    """Binaries, images and the wheelhouse: kept by `down`, safe to delete whenever nothing runs."""
    state: Path
    """Everything of the running node: deleted by `down`."""

    @property
    def binaries(self) -> Path:
        return self.cache / f"bin-{source_digest(NODE_SOURCE)}"

    @property
    def node_binary(self) -> Path:
        return self.binaries / "node"

    @property
    def helm_binary(self) -> Path:
        return self.binaries / "helm"

    @property
    def prometheus_binary(self) -> Path:
        """Ours, for pods; the folder of commands has Debian's."""
        return self.cache / f"prometheus-{source_digest(PROMETHEUS_SOURCE)}"

    @property
    def commands(self) -> Path:
        """The folder for PATH: kubectl, helm, prometheus, promtool."""
        return self.cache / "commands"

    @property
    def image_archives(self) -> Path:
        return self.cache / "images"

    @property
    def kubeconfig(self) -> Path:
        """The admin's; the one file of the state folder whose path is a promise."""
        return self.state / "admin.kubeconfig"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def pids(self) -> Path:
        return self.state / "pids"

    @property
    def before(self) -> Path:
        """What the machine looked like before: the kernel settings that `down` puts back."""
        return self.state / "before.json"

    @property
    def containerd_socket(self) -> Path:
        return self.state / "containerd" / "containerd.sock"

    @property
    def kubelet(self) -> Path:
        return self.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        return self.state / "pod-logs"


def read_layout() -> Layout:
    """The folders that the environment asks for."""
    home_cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache = Path(os.environ.get("MODELWAY_CACHE") or f"{home_cache}/modelway") / "localkube"
    state = Path(os.environ.get("MODELWAY_LOCALKUBE_STATE") or "/var/lib/modelway-localkube")
    if len(str(state)) > LONGEST_STATE_PATH:
        raise LocalkubeError(f"{state} is too long for sockets: set MODELWAY_LOCALKUBE_STATE to a shorter path")
    return Layout(cache=cache.absolute(), state=state.absolute())


def source_digest(source: Path) -> str:
    """What a binary is made from, in twelve characters: go.sum pins every dependency, the rest is ours."""
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        if path.suffix in {".go", ".mod", ".sum"}:
            digest.update(str(path.relative_to(source)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]

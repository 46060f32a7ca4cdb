"""A containerd of our own: own root, state and socket, so that one of the system is never touched."""

from __future__ import annotations

from pathlib import Path

from . import processes
from .layout import PAUSE_IMAGE, Layout
from .shell import attempt, run, wait_until

NAMESPACE = "k8s.io"


def start(layout: Layout) -> None:
    """Write the configuration, start it, and return when it answers."""
    folder = layout.state / "containerd"
    folder.mkdir(parents=True, exist_ok=True)
    config = layout.config / "containerd.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(render_config(layout))
    processes.start(layout, "containerd", ["containerd", "--config", config, "--log-level", "warn"])

    def answers() -> bool:
        processes.require_running(layout, "containerd")
        return attempt("ctr", "--address", layout.containerd_socket, "version")

    wait_until("containerd's first answer", answers, seconds=20)


def render_config(layout: Layout) -> str:
    """The TOML that containerd reads."""
    folder = layout.state / "containerd"
    # overlay cannot lie on overlay, which is what a container's own root is.
    snapshotter = "native" if filesystem_type(folder) == "overlayfs" else "overlayfs"
    return f"""\
version = 2
root = "{folder}/root"
state = "{folder}/run"
oom_score = 0

[grpc]
address = "{layout.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# Without the SYS_RESOURCE capability a score below our own is refused, and runc dies without a word.
restrict_oom_score_adj = true
# Namespaces under /run/netns could not be told from somebody else's.
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{layout.config}/cni"
max_conf_num = 1

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "runc"
Root = "{folder}/runc"
SystemdCgroup = false
"""


def ctr(layout: Layout, *words: str | Path) -> str:
    """Run containerd's own client in the namespace that the kubelet uses."""
    return run("ctr", "--address", layout.containerd_socket, "--namespace", NAMESPACE, *words)


def filesystem_type(path: Path) -> str:
    """The name of the file system that a folder lies on."""
    return run("stat", "--file-system", "--format=%T", path).strip()

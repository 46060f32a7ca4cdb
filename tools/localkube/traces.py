"""What components leave outside of the state folder, whatever they are told; remembered before, put right after."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from .layout import CNI_NETWORK, Layout

# The two of the network are ours to set; the others are what the kubelet sets without asking.
SETTINGS_WANTED = {
    "net/ipv4/ip_forward": "1",
    # A pod's answer to a Service's client on the same bridge must pass the machine's rules, or its address stays wrong.
    "net/bridge/bridge-nf-call-iptables": "1",
}
SETTINGS_TOUCHED = (
    *SETTINGS_WANTED,
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# Folders whose paths no setting moves; a folder comes after those in it.
FOLDERS = (
    "/run/containerd/s",  # the shims' sockets
    "/run/containerd",
    "/var/lib/cni/results",  # libcni's cache
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/var/log/containers",  # a link to each container's log
)
DEVICE_PLUGIN_FILES = ("kubelet.sock", "kubelet_internal_checkpoint")


def remember(layout: Layout) -> None:
    """Write down what is so now; once, for after a crash it is not what was before."""
    if layout.before.exists():
        return
    settings = {name: value for name in SETTINGS_TOUCHED if (value := read_setting(name)) is not None}
    folders = [folder for folder in FOLDERS if not Path(folder).exists()]
    layout.before.write_text(json.dumps({"settings": settings, "absent": folders}, indent=2) + "\n")


def put_right(layout: Layout) -> None:
    """Restore the settings, delete our files from shared folders, and the folders that were not there before."""
    for result in Path("/var/lib/cni/results").glob("*"):
        if result.name.startswith(f"{CNI_NETWORK}-") or str(layout.state) in result.read_text(errors="replace"):
            result.unlink()
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{layout.pod_logs}/"):
            link.unlink()
    if not layout.before.exists():
        return
    before = json.loads(layout.before.read_text())
    for name, value in before["settings"].items():
        if read_setting(name) != value:
            write_setting(name, value)
    if "/var/lib/kubelet" in before["absent"]:
        for name in DEVICE_PLUGIN_FILES:
            (Path("/var/lib/kubelet/device-plugins") / name).unlink(missing_ok=True)
    for folder in before["absent"]:
        with contextlib.suppress(OSError):
            Path(folder).rmdir()  # succeeds on an empty one only: somebody else may use it by now


def read_setting(name: str) -> str | None:
    """The value under /proc/sys; None where this kernel has no such setting."""
    path = Path("/proc/sys") / name
    return path.read_text().strip() if path.exists() else None


def write_setting(name: str, value: str) -> None:
    """Set a value under /proc/sys."""
    (Path("/proc/sys") / name).write_text(value)

"""The bridge that pods and servers share, the kernel settings it needs, and the fence around it.

EndpointSlices refuse loopback addresses, so the node needs one of its own. No traffic leaves the machine: the fence
rejects what pods send anywhere but to the bridge.
"""

from __future__ import annotations

import json
from pathlib import Path

from .layout import BRIDGE, CNI_NETWORK, FENCE_TABLE, NODE_ADDRESS, POD_CIDR, Layout
from .shell import attempt, run

# The two of the network are ours to set; the others are what kubelet sets without asking.
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
# IPv6 is fenced by having no addresses: the bridge gives none out.
FENCE = f"""
table inet {FENCE_TABLE} {{
    chain forward {{
        type filter hook forward priority 0; policy accept;
        iifname "{BRIDGE}" oifname != "{BRIDGE}" reject
        oifname "{BRIDGE}" iifname != "{BRIDGE}" reject
    }}
}}
"""
PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))


def set_up(layout: Layout) -> None:
    """Remember the kernel's settings, then make the bridge, the fence and the CNI configuration."""
    remember_settings(layout)
    if not Path("/proc/sys/net/bridge").exists():
        attempt("modprobe", "br_netfilter")
    for setting, value in SETTINGS_WANTED.items():
        write_setting(setting, value)
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{NODE_ADDRESS}/{POD_CIDR.rpartition('/')[2]}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    attempt("nft", "delete", "table", "inet", FENCE_TABLE)
    run("nft", "-f", "-", stdin=FENCE)
    write_cni(layout)


def tear_down(layout: Layout) -> None:
    """Undo `set_up`, and what CNI and kube-proxy left."""
    for family, table in (*PROXY_TABLES, ("inet", FENCE_TABLE)):
        attempt("nft", "delete", "table", family, table)
    for link in Path("/sys/class/net").glob("*"):
        if (link / "master").is_symlink() and (link / "master").resolve().name == BRIDGE:
            attempt("ip", "link", "delete", link.name)
    attempt("ip", "link", "delete", BRIDGE)
    cache = Path("/var/lib/cni/results")  # libcni's own folder, which containerd cannot move
    for result in cache.glob(f"{CNI_NETWORK}-*"):
        result.unlink()
    for folder in (cache, cache.parent):
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
    restore_settings(layout)


def write_cni(layout: Layout) -> None:
    """The network that containerd puts pods in; without masquerading, for nothing goes out."""
    folder = layout.config / "cni"
    folder.mkdir(parents=True, exist_ok=True)
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isDefaultGateway": True,
        "hairpinMode": True,  # a pod must reach itself through its Service
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.state / "cni"),
            "ranges": [[{"subnet": POD_CIDR, "gateway": NODE_ADDRESS}]],
        },
    }
    document = {"cniVersion": "0.4.0", "name": CNI_NETWORK, "plugins": [bridge]}
    (folder / "10-modelway.conflist").write_text(json.dumps(document, indent=2) + "\n")


def remember_settings(layout: Layout) -> None:
    """Once: after a crash the settings of now are not those of before."""
    if layout.before.exists():
        return
    values = {name: value for name in SETTINGS_TOUCHED if (value := read_setting(name)) is not None}
    layout.before.write_text(json.dumps(values, indent=2) + "\n")


def restore_settings(layout: Layout) -> None:
    """Put back what `remember_settings` saw."""
    if not layout.before.exists():
        return
    for name, value in json.loads(layout.before.read_text()).items():
        if read_setting(name) != value:
            write_setting(name, value)


def read_setting(name: str) -> str | None:
    """The value under /proc/sys; None where this kernel has no such setting."""
    path = Path("/proc/sys") / name
    return path.read_text().strip() if path.exists() else None


def write_setting(name: str, value: str) -> None:
    """Set a value under /proc/sys."""
    (Path("/proc/sys") / name).write_text(value)

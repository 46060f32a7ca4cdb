"""The bridge that pods and servers share, the kernel settings it needs, and the fence around it.

EndpointSlices refuse loopback addresses, so the node needs one of its own. No traffic leaves the machine: the fence
rejects what pods send anywhere but to the bridge.
"""

from __future__ import annotations

import json
from pathlib import Path

from .layout import BRIDGE, CNI_NETWORK, FENCE_TABLE, NODE_ADDRESS, POD_CIDR, Layout
from .shell import attempt, run
from .traces import SETTINGS_WANTED, write_setting

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
    """Make the bridge, the fence and the CNI configuration."""
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
    """Undo `set_up`, and what CNI and kube-proxy left in the kernel."""
    # Without a state folder that says that we were here, kube-proxy's tables are another cluster's.
    for family, table in PROXY_TABLES if layout.before.exists() else ():
        attempt("nft", "delete", "table", family, table)
    attempt("nft", "delete", "table", "inet", FENCE_TABLE)
    for link in Path("/sys/class/net").glob("*"):
        if (link / "master").is_symlink() and (link / "master").resolve().name == BRIDGE:
            attempt("ip", "link", "delete", link.name)
    attempt("ip", "link", "delete", BRIDGE)


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

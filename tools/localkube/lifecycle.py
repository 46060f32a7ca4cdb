"""Up and down: the order of things."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import (
    base_images,
    build,
    buildah,
    certs,
    cgroups,
    components,
    containers,
    images,
    leftovers,
    network,
    packages,
    processes,
    traces,
)
from .errors import LocalkubeError
from .layout import DNS_READY_PORT, KUBELET_HEALTH_PORT, NODE_ADDRESS, PROXY_HEALTH_PORT, Layout
from .probes import ask, ask_api, has_service_account, is_api_ready, is_free, is_node_ready
from .shell import step, wait_until

COMPONENTS = (
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
)
COMMANDS: dict[str, Callable[[Layout], list[str | Path]]] = {
    "etcd": components.etcd,
    "kube-apiserver": components.api_server,
    "kube-controller-manager": components.controller_manager,
    "kube-scheduler": components.scheduler,
    "kubelet": components.kubelet,
    "kube-proxy": components.proxy,
    "coredns": components.coredns,
}
"""What can be stopped and started by itself while the others run; pods live on containerd, which is not among them."""

PROXY_HEALTH = f"http://{NODE_ADDRESS}:{PROXY_HEALTH_PORT}/healthz"
DNS_READY = f"http://{NODE_ADDRESS}:{DNS_READY_PORT}/ready"


def prepare(layout: Layout) -> None:
    """Fill the cache: packages, binaries, images."""
    check(layout)
    if not layout.binaries.exists():
        build.find_go()  # before anything is installed in vain
    packages.install_missing()
    build.build_binaries(layout)
    base_images.make_images(layout)


def check(layout: Layout) -> None:
    """Refuse a machine that cannot hold a node, and make the cache folder."""
    packages.check_machine()
    layout.cache.mkdir(parents=True, exist_ok=True)


def up(layout: Layout) -> None:
    """Bring the node up; does nothing where it is up, and starts afresh after a crash."""
    started = time.monotonic()
    check(layout)
    with alone(layout):
        prepare(layout)
        if is_up(layout):
            say(f"already up: export KUBECONFIG={layout.kubeconfig}")
            return
        if layout.state.exists():
            with step("clean up after a node that did not end well"):
                clean(layout)
        refuse_foreign_node()
        layout.state.mkdir(parents=True, mode=0o755)
        layout.config.mkdir()
        traces.remember(layout)
        importing = start_control_plane(layout)
        start_node(layout, importing)
    say(f"up after {time.monotonic() - started:.1f} s: export KUBECONFIG={layout.kubeconfig}")


def down(layout: Layout) -> None:
    """Take the node down; whatever state it is in, nothing of it stays."""
    check(layout)
    with alone(layout), step("take the node down"):
        clean(layout)
        buildah.release(layout)


def start_control_plane(layout: Layout) -> images.Importing:
    """What is needed before a node can register; images are brought in meanwhile."""
    with step("make certificates"):
        certs.make_certificates(layout)
    with step("make the network"):
        network.set_up(layout)
        cgroups.make()
    with step("start containerd, etcd and the API server"):
        processes.start(layout, "etcd", components.etcd(layout))
        processes.start(layout, "kube-apiserver", components.api_server(layout))
        containers.start(layout)
        importing = images.start_import(layout, base_images.make_images(layout))
        wait_for(layout, "kube-apiserver", lambda: is_api_ready(layout), seconds=90)
    return importing


def start_node(layout: Layout, importing: images.Importing) -> None:
    """The node, its controllers and DNS."""
    with step("start the other components"):
        processes.start(layout, "kube-controller-manager", components.controller_manager(layout))
        processes.start(layout, "kube-scheduler", components.scheduler(layout))
        processes.start(layout, "kubelet", components.kubelet(layout))
        processes.start(layout, "kube-proxy", components.proxy(layout))
        for path, document in components.DNS_GRANTS:
            if ask_api(layout, path, document) is None:
                raise LocalkubeError(f"the API server refused what is posted to {path}")
        processes.start(layout, "coredns", components.coredns(layout))
    with step("import images"):
        images.finish_import(importing)
    with step("wait for the node"):
        wait_for(layout, "kubelet", lambda: is_node_ready(layout), seconds=60)
        wait_for(layout, "kube-proxy", lambda: ask(PROXY_HEALTH) is not None, seconds=30)
        wait_for(layout, "coredns", lambda: ask(DNS_READY) is not None, seconds=30)
        wait_for(layout, "kube-controller-manager", lambda: has_service_account(layout), seconds=30)


def clean(layout: Layout) -> None:
    """End everything, in the order that leaves each step the least to do.

    The kubelet goes first: it would start again what the next steps end.
    """
    remembered = {process.name: process for process in processes.recorded(layout)}
    for name in ("kubelet", *(name for name in COMPONENTS if name not in {"kubelet", "containerd"}), "containerd"):
        if name in remembered:
            # The API server would wait a minute for watches to end, and etcd's data is thrown away.
            patience = 0.0 if name in {"kube-apiserver", "etcd"} else 3.0
            processes.end(layout, remembered[name], patience_seconds=patience)
    leftovers.end_containers(layout)
    network.tear_down(layout)
    leftovers.remove_everything(layout)


def stop_components(layout: Layout, names: Sequence[str]) -> None:
    """End some components of a running node, as an outage would; pods run on."""
    remembered = {process.name: process for process in processes.recorded(layout)}
    for name in names:
        if name in remembered:
            # As in `clean`; what etcd has taken outlives its process.
            processes.end(layout, remembered[name], patience_seconds=0.0)


def start_components(layout: Layout, names: Sequence[str]) -> None:
    """Start again what was stopped, in this order; returns once the API server answers, if it is among them."""
    living = {process.name for process in processes.recorded(layout) if processes.is_running(process)}
    for name in names:
        if name not in living:
            processes.start(layout, name, COMMANDS[name](layout))
        if name == "kube-apiserver":
            wait_for(layout, name, lambda: is_api_ready(layout), seconds=90)


def is_up(layout: Layout) -> bool:
    """Whether every component lives and the node is ready."""
    living = {process.name for process in processes.recorded(layout) if processes.is_running(process)}
    return living.issuperset(COMPONENTS) and is_api_ready(layout) and is_node_ready(layout)


def describe(layout: Layout) -> str:
    """What `status` prints."""
    living = {process.name: process for process in processes.recorded(layout) if processes.is_running(process)}
    lines = [f"{name:24} {'pid ' + str(living[name].pid) if name in living else 'down'}" for name in COMPONENTS]
    if "kube-apiserver" in living:
        lines.append(f"{'node':24} {'Ready' if is_node_ready(layout) else 'NotReady'}")
    lines += [
        f"{'kubeconfig':24} {layout.kubeconfig}",
        f"{'audit log':24} {layout.audit_log}",
        f"{'logs':24} {layout.logs}",
        f"{'pod logs':24} {layout.pod_logs}",
        f"{'cache':24} {layout.cache}",
        f"{'kubelet health':24} http://{NODE_ADDRESS}:{KUBELET_HEALTH_PORT}/healthz",
    ]
    return "\n".join(lines)


def wait_for(layout: Layout, component: str, ready: Callable[[], bool], *, seconds: float) -> None:
    """Wait, and fail at once with its log when the component has ended."""

    def look() -> bool:
        processes.require_running(layout, component)
        return ready()

    wait_until(f"{component} ready (its log: {layout.logs / component}.log)", look, seconds=seconds)


def refuse_foreign_node() -> None:
    """Two kube-proxies would fight over one table."""
    if not is_free():
        raise LocalkubeError("a kube-proxy that is not ours has its tables here: this machine is part of a cluster")


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """One `up` or `down` at a time."""
    with (layout.cache.parent / "localkube.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """A line for the person."""
    print(text, file=sys.stderr, flush=True)

"""Cleaning up containers without anyone's help: containerd may be gone, and its shims and mounts are not.

Each thing is removed only on proof that it is ours: a socket on a command line, a control group, a path.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from . import cgroups, traces
from .layout import CGROUP, Layout
from .mounts import unmount_under
from .shell import wait_until

# containerd 1.x keeps its shims' sockets here, whatever its configuration says.
SHIM_SOCKETS = Path("/run/containerd/s")


def remove_everything(layout: Layout) -> None:
    """End the containers, unmount what lies under the state folder, and delete it last: it says what is ours."""
    end_containers(layout)
    unmount_under(layout.state)
    cgroups.remove()
    traces.put_right(layout)
    if layout.state.exists():
        shutil.rmtree(layout.state)


def end_containers(layout: Layout) -> None:
    """Kill every process of ours that has no record: the shims, and what runs in the containers."""
    sockets = shim_sockets(layout)

    def kill_all() -> bool:
        pids = [int(entry.name) for entry in our_processes(layout)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_until("the end of the containers", kill_all, seconds=15)
    for socket in sockets:
        socket.unlink(missing_ok=True)


def our_processes(layout: Layout) -> Iterator[Path]:
    """The folders in /proc of our shims and of what lives in our control groups."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if is_our_shim(layout, entry) or is_in_our_cgroup(entry):
                yield entry


def is_our_shim(layout: Layout, process: Path) -> bool:
    """Whether it is a containerd shim that was started for our socket."""
    words = (process / "cmdline").read_bytes().split(b"\0")
    return b"containerd-shim" in words[0] and str(layout.containerd_socket).encode() in words


def is_in_our_cgroup(process: Path) -> bool:
    """Whether it lives in a control group under the one that our kubelet was given; zombies need no signal."""
    if (process / "stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}:
        return False
    lines = (process / "cgroup").read_text().splitlines()
    return any(line.split(":", 2)[2].startswith(f"/{CGROUP}/") for line in lines)


def shim_sockets(layout: Layout) -> list[Path]:
    """The sockets of our shims, each named by a file in its container's folder."""
    found = []
    for address in (layout.state / "containerd" / "run").glob("*/*/*/address"):
        path = address.read_text().strip().removeprefix("unix://")
        if path.startswith(f"{SHIM_SOCKETS}/"):
            found.append(Path(path))
    return found

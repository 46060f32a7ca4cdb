"""Cleaning up containers without anyone's help: containerd may be gone, and its shims and mounts are not.

Each thing is removed only on proof that it is ours: a socket on a command line, a control group, a path.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from . import cgroups
from .layout import CGROUP, Layout
from .shell import wait_until

# containerd 1.x keeps its shims' sockets here, whatever its configuration says.
SHIM_SOCKETS = Path("/run/containerd/s")
# The kubelet links each container's log from here, whatever its configuration says.
LOG_LINKS = Path("/var/log/containers")
MNT_DETACH = 2


def remove_everything(layout: Layout) -> None:
    """End the containers, unmount what lies under the state folder, and delete it."""
    end_containers(layout)
    unmount(layout)
    cgroups.remove()
    for link in LOG_LINKS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{layout.pod_logs}/"):
            link.unlink()
    for folder in (SHIM_SOCKETS, SHIM_SOCKETS.parent, LOG_LINKS):
        with contextlib.suppress(OSError):
            folder.rmdir()  # succeeds on an empty one only: a system containerd has its own files in them
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


def unmount(layout: Layout) -> None:
    """Unmount what lies under the state folder, the deepest first."""
    libc = ctypes.CDLL(None, use_errno=True)
    for point in sorted(mount_points(f"{layout.state}/"), key=len, reverse=True):
        libc.umount2(point.encode(), MNT_DETACH)


def mount_points(prefix: str) -> list[str]:
    """The mount points whose path begins with the prefix; the kernel writes spaces and the like in octal."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    plain = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point) for point in points]
    return [point for point in plain if point.startswith(prefix)]

"""One control group for all that the kubelet makes, so that a system kubelet's are never touched and `down` finds ours.

Both versions are served: version 1 has a tree for each controller, version 2 has one.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from .layout import CGROUP

ROOT = Path("/sys/fs/cgroup")
# A version 1 cpuset is useless until these are copied from its parent.
CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")


def trees() -> list[Path]:
    """The root of each tree."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [Path(fields[4]) for fields in mounts if fields[fields.index("-") + 1] == "cgroup"]


def make() -> None:
    """The group, in every tree."""
    for tree in trees():
        group = tree / CGROUP
        group.mkdir(exist_ok=True)
        for name in CPUSET_FILES:
            if (tree / name).exists() and (group / name).exists() and not (group / name).read_text().strip():
                (group / name).write_text((tree / name).read_text())


def remove() -> None:
    """The group and all below it; the kernel needs a moment after the last process of each ends."""
    for tree in trees():
        deadline = time.monotonic() + 5
        while (tree / CGROUP).exists() and time.monotonic() < deadline:
            remove_tree(tree / CGROUP)


def remove_tree(group: Path) -> None:
    """Children first; a group's files go with it."""
    with contextlib.suppress(OSError):
        for child in [entry for entry in group.iterdir() if entry.is_dir()]:
            remove_tree(child)
        group.rmdir()

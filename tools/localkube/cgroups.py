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


def make() -> None:
    """The group in every tree that the kubelet will use."""
    trees = [tree for tree, kind in mounted() if kind == "cgroup"] or [ROOT]
    for tree in trees:
        group = tree / CGROUP
        group.mkdir(exist_ok=True)
        for name in CPUSET_FILES:
            if (tree / name).exists() and (group / name).exists() and not (group / name).read_text().strip():
                (group / name).write_text((tree / name).read_text())


def remove() -> None:
    """The group and all below it in every tree; the kernel needs a moment after the last process of each ends.

    Beside version 1 there may be a tree of version 2, in which runc makes groups unasked.
    """
    for tree, _ in mounted():
        deadline = time.monotonic() + 5
        while (tree / CGROUP).exists() and time.monotonic() < deadline:
            remove_tree(tree / CGROUP)


def mounted() -> list[tuple[Path, str]]:
    """Each tree's root with its version's name in the kernel."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = [(Path(fields[4]), fields[fields.index("-") + 1]) for fields in mounts]
    return [(root, kind) for root, kind in kinds if kind in {"cgroup", "cgroup2"}]


def remove_tree(group: Path) -> None:
    """Children first; a group's files go with it."""
    with contextlib.suppress(OSError):
        for child in [entry for entry in group.iterdir() if entry.is_dir()]:
            remove_tree(child)
        group.rmdir()

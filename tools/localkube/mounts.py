"""Unmounting what crashed programs left mounted in folders of ours."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

MNT_DETACH = 2


def unmount_under(folder: Path) -> None:
    """Unmount everything in a folder, the deepest first; what is still in use goes when its last user does."""
    libc = ctypes.CDLL(None, use_errno=True)
    for point in sorted(mount_points(f"{folder}/"), key=len, reverse=True):
        libc.umount2(point.encode(), MNT_DETACH)


def mount_points(prefix: str) -> list[str]:
    """The mount points whose path begins with the prefix; the kernel writes spaces and the like in octal."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    plain = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point) for point in points]
    return [point for point in plain if point.startswith(prefix)]

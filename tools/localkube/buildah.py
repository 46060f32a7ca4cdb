"""Buildah with storage of our own in the cache, and no mount or folder that stays elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .base_images import base_archive
from .containers import filesystem_type
from .layout import BASE_IMAGE, Layout
from .mounts import unmount_under
from .shell import attempt, run


@contextlib.contextmanager
def building(layout: Layout) -> Iterator[list[str]]:
    """The words that every call of buildah begins with; the base image is known to it.

    One at a time: at its end the containers of failed builds are removed, which would take another build's away.
    """
    storage = layout.cache / "buildah"
    storage.mkdir(parents=True, exist_ok=True)
    # What lies in runroot says what is mounted: it must not outlive a reboot, and the cache does.
    runroot = Path(tempfile.mkdtemp(prefix="modelway-buildah-", dir="/run"))
    overlay = filesystem_type(storage) != "overlayfs"
    driver = ["overlay", "--storage-opt", "overlay.skip_mount_home=true"] if overlay else ["vfs"]
    words = ["buildah", "--root", str(storage), "--runroot", str(runroot), "--storage-driver", *driver]
    with (layout.cache / "buildah.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            pull_base(layout, words)
            yield words
        finally:
            attempt(*words, "rm", "--all")
            unmount_under(storage)
            shutil.rmtree(runroot, ignore_errors=True)


def release(layout: Layout) -> None:
    """Unmount what a build that was killed left mounted, unless a build is running."""
    storage = layout.cache / "buildah"
    if not storage.exists():
        return
    with (layout.cache / "buildah.lock").open("w") as lock, contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unmount_under(storage)


def pull_base(layout: Layout, words: list[str]) -> None:
    """Bring the base image in from its archive, once for each archive."""
    archive = base_archive(layout)
    stamp = layout.cache / "buildah" / "base-stamp"
    now = str(archive.stat().st_mtime_ns)
    if stamp.exists() and stamp.read_text() == now:
        return
    run(*words, "pull", "-q", f"docker-archive:{archive}")
    run(*words, "inspect", "--type", "image", BASE_IMAGE)  # a name that the archive does not have fails here, not later
    stamp.write_text(now)

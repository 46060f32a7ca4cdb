"""The Debian packages that the node is made of, installed when they are missing.

Installing a package must start nothing: Debian starts `containerd` and friends from their installation scripts unless a
`policy-rc.d` forbids it. Prometheus is only unpacked into the cache: its package would leave a user and a service.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import CannotRunHereError
from .layout import Layout
from .shell import run, step

# A program of the package, by which its presence is seen: asking dpkg would miss programs installed another way.
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "nftables": "nft",
    "conntrack": "conntrack",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "iproute2": "ip",
    "openssl": "openssl",
    "mount": "umount",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
POLICY = Path("/usr/sbin/policy-rc.d")
START_NOTHING = "#!/bin/sh\n# Written by localkube for the time of one apt-get install: start no service.\nexit 101\n"


def check_machine() -> None:
    """Refuse, with the remedy, a machine that cannot hold a node."""
    if platform.system() != "Linux":
        raise CannotRunHereError("localkube needs Linux: use kind (MODELWAY_CLUSTER=kind) on this machine")
    if os.geteuid() != 0:
        raise CannotRunHereError("localkube needs root (namespaces, mounts, bridge): run it with sudo")


def install_missing() -> None:
    """Install what is missing from PROGRAMS, saying so."""
    missing = [package for package, program in PROGRAMS.items() if not is_present(program)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise CannotRunHereError(f"install these first, this is no Debian: {' '.join(missing)}")
    with step(f"apt-get install {' '.join(missing)}"), starting_nothing():
        apt_get("update", "-q")
        apt_get("install", "-q", "-y", "--no-install-recommends", *missing)


def fetch_prometheus(layout: Layout) -> Path:
    """The folder with Debian's `prometheus` and `promtool`, unpacked from the package."""
    folder = layout.cache / "prometheus"
    if folder.exists():
        return folder
    with step("unpack Debian's prometheus"), tempfile.TemporaryDirectory(dir=layout.cache) as scratch:
        os.chmod(scratch, 0o755)  # noqa: PTH101, S103  (apt's own user downloads into it)
        if "Candidate: (none)" in (policy := run("apt-cache", "policy", "prometheus")) or not policy:
            apt_get("update", "-q")
        run("apt-get", "download", "-q", "prometheus", cwd=Path(scratch))
        package = next(Path(scratch).glob("prometheus_*.deb"))
        unpacked = Path(scratch) / "unpacked"
        run("dpkg-deb", "--extract", package, unpacked)
        kept = Path(scratch) / "kept"
        kept.mkdir()
        for name in ("prometheus", "promtool"):
            shutil.copy2(unpacked / "usr/bin" / name, kept / name)
        kept.rename(folder)
    return folder


def is_present(program: str) -> bool:
    """Whether a program, or a file by its whole path, is there."""
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None


def apt_get(*words: str) -> None:
    """Run apt-get without questions."""
    run("apt-get", *words, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


@contextlib.contextmanager
def starting_nothing() -> Iterator[None]:
    """Keep installation scripts from starting services; a policy that is there already stays as it is."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text(START_NOTHING)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()

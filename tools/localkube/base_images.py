"""The images that the node brings along: pause, a Debian with Python to build on, and Prometheus."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from pathlib import Path

from .archives import write_archive, write_layer
from .layout import BASE_IMAGE, PAUSE_IMAGE, PROMETHEUS_IMAGE, Layout
from .packages import fetch_prometheus
from .shell import run, step

RELEASE = "trixie"
# The main mirror: a snapshot mirror, which the machine's own sources may name, may not have this release.
MIRROR = os.environ.get("MODELWAY_DEBIAN_MIRROR") or "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,ca-certificates"
# Half of a minimal Debian is what no program reads.
UNREAD = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")
PATH_VARIABLE = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOBODY = 65534


def make_images(layout: Layout) -> list[Path]:
    """The archives, made when the cache lacks them."""
    folder = layout.image_archives
    folder.mkdir(parents=True, exist_ok=True)
    pause = folder / f"pause-{layout.binaries.name.removeprefix('bin-')}.tar"
    base, prometheus = folder / "base.tar", folder / "prometheus.tar"
    if not pause.exists():
        make_pause(layout, pause)
    if not base.exists():
        make_base(folder, base)
    if not prometheus.exists():
        make_prometheus(layout, prometheus)
    return [pause, base, prometheus]


def make_pause(layout: Layout, target: Path) -> None:
    """One static binary, as nobody."""
    with tempfile.TemporaryDirectory(dir=layout.cache) as scratch:
        layer = Path(scratch) / "layer.tar"
        write_layer(layer, {"pause": layout.binaries / "pause"})
        config = {"Entrypoint": ["/pause"], "User": f"{NOBODY}:{NOBODY}"}
        write_archive(target, name=PAUSE_IMAGE, layers=[layer], config=config, machine=platform.machine())


def make_base(folder: Path, target: Path) -> None:
    """What `python:3-slim` is to others, as far as our Dockerfile needs it."""
    layer = folder / "base-layer.tar"
    if not layer.exists():
        with step(f"debootstrap {RELEASE} with {PACKAGES} (half a minute, once)"):
            bootstrap(folder, layer)
    config = {"Env": [PATH_VARIABLE], "Cmd": ["python3"]}
    write_archive(target, name=BASE_IMAGE, layers=[layer], config=config, machine=platform.machine())


def bootstrap(folder: Path, layer: Path) -> None:
    """Unpack Debian into a scratch folder and pack it as one layer."""
    scratch = Path(tempfile.mkdtemp(dir=folder))
    root = scratch / "root"
    try:
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, root, MIRROR)
        for name in UNREAD:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
        (root / "usr/bin/python").symlink_to("python3")  # Docker's Python image has both names
        for name in ("etc/resolv.conf", "etc/hostname"):
            (root / name).unlink(missing_ok=True)  # debootstrap copies the machine's own
        run("tar", "--create", "--numeric-owner", "--one-file-system", "-f", scratch / "layer.tar", "-C", root, ".")
        (scratch / "layer.tar").rename(layer)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def make_prometheus(layout: Layout, target: Path) -> None:
    """Debian's binary, which wants a C library, on top of the base."""
    programs = fetch_prometheus(layout)
    with tempfile.TemporaryDirectory(dir=layout.cache) as scratch:
        layer = Path(scratch) / "layer.tar"
        files = {f"usr/bin/{name}": programs / name for name in ("prometheus", "promtool")}
        write_layer(layer, files, folders={"prometheus": NOBODY})
        config = {
            "Env": [PATH_VARIABLE],
            "Entrypoint": ["/usr/bin/prometheus"],
            "Cmd": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
            "User": f"{NOBODY}:{NOBODY}",
            "WorkingDir": "/prometheus",
            "ExposedPorts": {"9090/tcp": {}},
        }
        layers = [layout.image_archives / "base-layer.tar", layer]
        write_archive(target, name=PROMETHEUS_IMAGE, layers=layers, config=config, machine=platform.machine())

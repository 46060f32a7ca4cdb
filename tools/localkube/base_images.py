"""The images that the node brings along: pause, a Debian with Python to build on, and Prometheus."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from .archives import Image, write_archive, write_layer
from .build import build_prometheus
from .layout import BASE_IMAGE, PAUSE_IMAGE, PROMETHEUS_IMAGE, Layout
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
    """The archives, made when the cache lacks them: pause, which every pod needs, and all others."""
    folder = layout.image_archives
    folder.mkdir(parents=True, exist_ok=True)
    pause, others = folder / f"pause-{layout.binaries.name}.tar", folder / f"others-{layout.prometheus_binary.name}.tar"
    if not pause.exists():
        make_pause(layout, pause)
    if not others.exists():
        base = make_base(layout)
        with step("make the image of Prometheus"):
            make_others(layout, base, others)
    return [pause, others]


def make_pause(layout: Layout, target: Path) -> None:
    """One static binary, as nobody."""
    with tempfile.TemporaryDirectory(dir=layout.cache) as scratch:
        layer = Path(scratch) / "layer.tar"
        write_layer(layer, {"pause": layout.binaries / "pause"})
        config = {"Entrypoint": ["/pause"], "User": f"{NOBODY}:{NOBODY}"}
        write_archive(target, Image(PAUSE_IMAGE, (layer,), config))


def make_base(layout: Layout) -> Image:
    """What `python:3-slim` is to others, as far as our Dockerfile needs it; alone in an archive for buildah."""
    layer, archive = layout.image_archives / "base-layer.tar", base_archive(layout)
    if not layer.exists():
        with step(f"debootstrap {RELEASE} with {PACKAGES} (half a minute, once)"):
            bootstrap(layout.image_archives, layer)
    image = Image(BASE_IMAGE, (layer,), {"Env": [PATH_VARIABLE], "Cmd": ["python3"]})
    if not archive.exists():
        write_archive(archive, image)
    return image


def base_archive(layout: Layout) -> Path:
    """Where the base image lies."""
    return layout.image_archives / "base.tar"


def make_others(layout: Layout, base: Image, target: Path) -> None:
    """The base, and on top of it, for people who want a shell there, Prometheus."""
    program = build_prometheus(layout)
    with tempfile.TemporaryDirectory(dir=layout.cache) as scratch:
        layer = Path(scratch) / "layer.tar"
        write_layer(layer, {"usr/bin/prometheus": program}, folders=["prometheus"])
        config = {
            "Env": [PATH_VARIABLE],
            "Entrypoint": ["/usr/bin/prometheus"],
            "Cmd": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
            "User": f"{NOBODY}:{NOBODY}",
            "WorkingDir": "/prometheus",
            "ExposedPorts": {"9090/tcp": {}},
        }
        write_archive(target, base, Image(PROMETHEUS_IMAGE, (*base.layers, layer), config))


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

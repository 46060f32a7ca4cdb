"""The product's images: built by buildah from the ordinary Dockerfile, and brought into the node."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from . import containers
from .base_images import make_images
from .buildah import building
from .errors import CommandError, LocalkubeError
from .layout import BASE_IMAGE, Layout
from .shell import run, step
from .wheelhouse import CERTIFICATES, PIP_CONFIGURATION, make_wheelhouse

Importing = list["subprocess.Popen[str]"]


def build_image(layout: Layout, *, target: str, tag: str, dockerfile: Path, context: Path, arguments: list[str]) -> str:
    """Build one stage of a Dockerfile; the image's id.

    No container runs for it (`--isolation chroot`), and pip finds what it wants in the wheelhouse.
    """
    make_images(layout)
    wheelhouse = make_wheelhouse(layout)
    with step(f"build {tag}"), tempfile.TemporaryDirectory(dir=layout.cache) as scratch:
        pip = Path(scratch) / "pip.conf"
        pip.write_text(PIP_CONFIGURATION)
        identity = Path(scratch) / "id"
        binds = [f"{wheelhouse}:/wheelhouse:ro", f"{pip}:/etc/pip.conf:ro", CERTIFICATES]
        with building(layout) as buildah:
            run(
                *buildah, "bud", "--isolation", "chroot", "--network", "host", "--layers", "--pull-never",
                *(word for value in [f"BASE_IMAGE={BASE_IMAGE}", *arguments] for word in ("--build-arg", value)),
                *(word for bind in binds for word in ("-v", bind)),
                *(("--target", target) if target else ()),
                "--iidfile", identity, "-t", tag, "-f", dockerfile, context,
            )  # fmt: skip
        return identity.read_text().strip()


def load(layout: Layout, images: list[str]) -> None:
    """Import archives (files) and images of ours (names) into the node."""
    for image in images:
        if Path(image).is_file():
            import_archive(layout, Path(image), name=image)
            continue
        with tempfile.TemporaryDirectory(dir=layout.cache) as scratch:
            archive = Path(scratch) / "image.tar"
            with building(layout) as buildah:
                if not run(*buildah, "images", "-q", image, check=False).strip():
                    raise LocalkubeError(f"{image} is neither a file nor an image built by `localkube image`")
                run(*buildah, "push", "-q", image, f"docker-archive:{archive}:{image}")
            import_archive(layout, archive, name=image)


def start_import(layout: Layout, archives: list[Path]) -> Importing:
    """Import in the background: the machine has time for it while the API server starts."""
    words = ["ctr", "--address", str(layout.containerd_socket), "--namespace", containers.NAMESPACE, "images", "import"]
    return [
        subprocess.Popen([*words, str(archive)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for archive in archives
    ]


def finish_import(importing: Importing) -> None:
    """Wait for it, and pass its failure on."""
    for process in importing:
        output, _ = process.communicate()
        if process.returncode:
            raise CommandError("ctr images import", process.returncode, output)


def import_archive(layout: Layout, archive: Path, *, name: str) -> None:
    """Into the namespace that the kubelet looks in."""
    with step(f"import {name}"):
        containers.ctr(layout, "images", "import", archive)

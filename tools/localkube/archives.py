"""Image archives, written without a builder: a tar of layers and two small documents, as `docker save` makes them."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Image:
    """A name, layers from the lowest up, and what a container of it does by default."""

    name: str
    layers: tuple[Path, ...]
    config: Mapping[str, object]


def write_archive(target: Path, *images: Image) -> None:
    """Write images, with the layers that they share once, beside the final place first.

    An interrupted archive so never looks finished.
    """
    manifest = []
    unfinished = target.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as archive:
        names: dict[Path, str] = {}
        for image in images:
            for layer in image.layers:
                if layer not in names:
                    names[layer] = f"{file_digest(layer)}.tar"
                    archive.add(layer, arcname=names[layer])
            layers = [names[layer] for layer in image.layers]
            config = render_config(image, layers)
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            add_bytes(archive, config_name, config)
            manifest.append({"Config": config_name, "RepoTags": [image.name], "Layers": layers})
        add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
    unfinished.rename(target)


def render_config(image: Image, layers: Sequence[str]) -> bytes:
    """The image's own document."""
    machine = platform.machine()
    digests = [f"sha256:{name.removesuffix('.tar')}" for name in layers]
    document = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": dict(image.config),
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [{"created_by": "localkube"} for _ in digests],  # buildah counts them
    }
    return json.dumps(document).encode()


def write_layer(target: Path, files: Mapping[str, Path], folders: Sequence[str] = ()) -> None:
    """A layer of executable files, and empty folders in which every user may write.

    Times are zero, so that equal contents make an equal image.
    """
    with tarfile.open(target, "w") as archive:
        for name in folders:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            archive.addfile(entry)
        for name, source in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, source.stat().st_size
            with source.open("rb") as content:
                archive.addfile(entry, content)


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """A small file in an archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def file_digest(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

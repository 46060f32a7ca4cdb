"""Image archives, written without a builder: a tar of layers and two small documents, as `docker save` makes them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_archive(target: Path, *, name: str, layers: Sequence[Path], config: Mapping[str, Any], machine: str) -> None:
    """Write the image beside its final place first, so that an interrupted one never looks finished."""
    document = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{file_digest(layer)}" for layer in layers]},
    }
    config_bytes = json.dumps(document).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    layer_names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": layer_names}]
    unfinished = target.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as archive:
        for layer, layer_name in zip(layers, layer_names, strict=True):
            archive.add(layer, arcname=layer_name)
        add_bytes(archive, config_name, config_bytes)
        add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
    unfinished.rename(target)


def write_layer(target: Path, files: Mapping[str, Path], folders: Mapping[str, int] | None = None) -> None:
    """A layer of executable files owned by root, and empty folders by their owner's number.

    Times are zero, so that equal contents make an equal image.
    """
    with tarfile.open(target, "w") as archive:
        for name, owner in (folders or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, owner, owner
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

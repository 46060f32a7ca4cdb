"""The Python packages that the images install, fetched once.

They are fetched inside the base image, so that they fit its Python, and checked against the locks' hashes twice: here,
and by the Dockerfile. With them a build needs no package index, and takes seconds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from .buildah import building
from .layout import BASE_IMAGE, REPOSITORY, Layout
from .shell import run, step

LOCKS = ("build", "gateway", "operator", "cli")
CERTIFICATES = "/etc/ssl/certs:/etc/ssl/certs:ro"
# Only these reach the container: a person behind a proxy or with a mirror needs them.
INDEX_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
FETCH = """set -e
python3 -m venv /venv
for lock in /locks/*.txt; do
    /venv/bin/pip --disable-pip-version-check download -q --no-deps --require-hashes -d /wheelhouse -r "$lock"
done"""
PIP_CONFIGURATION = """\
[global]
no-index = true
find-links = /wheelhouse
disable-pip-version-check = true
"""


def make_wheelhouse(layout: Layout) -> Path:
    """The folder with every package of the images' locks; made anew when a lock changes."""
    locks = [REPOSITORY / "locks" / f"{name}.txt" for name in LOCKS]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    wheelhouse = layout.cache / f"wheelhouse-{digest}"
    if wheelhouse.exists():
        return wheelhouse
    with step("fetch Python packages for the images (once)"), tempfile.TemporaryDirectory(dir=layout.cache) as scratch:
        wheels = Path(scratch) / "wheels"
        wheels.mkdir()
        fetch(layout, locks, wheels)
        wheels.rename(wheelhouse)
    for other in layout.cache.glob("wheelhouse-*"):
        if other != wheelhouse:
            shutil.rmtree(other, ignore_errors=True)
    return wheelhouse


def fetch(layout: Layout, locks: list[Path], wheels: Path) -> None:
    """Run the base image's own pip."""
    binds = [CERTIFICATES, f"{wheels}:/wheelhouse", *(f"{lock}:/locks/{lock.name}:ro" for lock in locks)]
    index = [word for name in INDEX_VARIABLES if name in os.environ for word in ("--env", f"{name}={os.environ[name]}")]
    with building(layout) as buildah:
        container = run(*buildah, "from", "--pull-never", BASE_IMAGE).strip()
        try:
            run(
                *buildah, "run", "--isolation", "chroot", "--network", "host", *index,
                *(word for bind in binds for word in ("-v", bind)),
                container, "--", "sh", "-c", FETCH,
            )  # fmt: skip
        finally:
            run(*buildah, "rm", container)

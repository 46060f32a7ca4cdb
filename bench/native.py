"""Builds the upstream and the load generator with the system's C compiler, once for each version of their source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent / "native"


class UnmeasurableError(Exception):
    """Something that measuring needs is not here; the text says what, and how to get it."""


def cache_folder() -> Path:
    """Where what was built once is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelway" / "bench"


def built() -> Path:
    """The folder with the programs `upstream` and `load`."""
    texts = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in texts)).hexdigest()[:16]
    folder = cache_folder() / digest
    for name in ("upstream", "load"):
        if not (folder / name).exists():
            _compile(SOURCES / f"{name}.c", folder / name)
    return folder


def _compile(source: Path, program: Path) -> None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise UnmeasurableError("a C compiler is needed (Debian and Ubuntu: apt-get install gcc libc6-dev)")
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, "-O2", "-o", str(unfinished), str(source)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UnmeasurableError(
            f"{source.name} could not be compiled (Linux with glibc 2.35 is needed):\n{done.stderr}"
        )
    unfinished.rename(program)  # at once, so that two runs do not disturb each other

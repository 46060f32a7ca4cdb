"""The Python that runs the gateway while it is measured.

How an interpreter was built makes a sixth of the gateway's cost: distributions and official images build theirs with
profile-guided optimisation, version managers often do not. `make bench BENCH_PYTHON=/usr/bin/python3` takes another one
than that of the checkout, in an environment of its own with the same locked packages.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.native import UnmeasurableError, cache_folder

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "locks" / "gateway.txt"
_SOURCES: Final = tuple(ROOT / name for name in ("contract", "gateway"))
_DESCRIBE: Final = (
    "import platform, sysconfig;"
    "flags = f\"{sysconfig.get_config_var('CONFIG_ARGS')} {sysconfig.get_config_var('PY_CORE_CFLAGS')}\";"
    "plain = '/.pyenv/' in flags and '--enable-optimizations' not in flags;"
    "print(f'Python {platform.python_version()}' + (' (built without optimisations)' if plain else ''))"
)


def gateway_python(python: str | None) -> str:
    """The interpreter to start the gateway with: this one, or that one in an environment made once a checkout."""
    if python is None:
        return sys.executable
    digest = hashlib.sha256(LOCK.read_bytes() + f"{describe(python)}{python}{ROOT}".encode()).hexdigest()[:16]
    folder = cache_folder() / f"python-{digest}"
    made = folder / "bin" / "python"
    if not (folder / "ready").exists():
        _run(python, "-m", "venv", "--without-pip", "--clear", str(folder))
        _run(
            sys.executable, "-m", "pip", "--python", str(made), "install", "--quiet", "--no-deps", "--require-hashes",
            "--disable-pip-version-check", "-r", str(LOCK),
        )  # fmt: skip
        (packages,) = folder.glob("lib/python*/site-packages")
        (packages / "checkout.pth").write_text("".join(f"{each}\n" for each in _SOURCES))
        (folder / "ready").touch()
    return str(made)


def describe(python: str) -> str:
    """Its version, and whether it is known to be a slow build."""
    return _run(python, "-c", _DESCRIBE).strip()


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, env=_environment()).stdout
    except (OSError, subprocess.CalledProcessError) as exc:
        said = exc.stderr if isinstance(exc, subprocess.CalledProcessError) else str(exc)
        raise UnmeasurableError(f"{' '.join(command)} failed: {said}") from exc


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

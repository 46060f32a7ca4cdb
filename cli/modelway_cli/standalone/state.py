"""The state folder: what an API server would keep for the manifests, one file for each object.

Rule: one process at a time holds it, by a lock that ends with the process, however it ends. Anybody may read: a file is
whole or not there. It holds objects of our own kinds and what the operator remembers for them, never a key.
"""

import fcntl
import json
import os
import urllib.parse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from modelway_cli.errors import CliError
from modelway_operator.kinds import Kind, Raw

DEFAULT_NAME: Final = ".modelway"
LOCK: Final = "lock"
EPOCH: Final = "epoch"
RUNNING: Final = "running.json"
OBJECTS: Final = "objects"


class FolderInUseError(CliError):
    """Another process serves this folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Where the process that serves the folder can be reached."""

    pid: int
    client_url: str
    metrics_url: str


class State:
    """The state folder, held by this process until `close`."""

    def __init__(self, path: Path) -> None:
        """Take it, made where it is not there.

        Raises FolderInUseError while another process holds it, and CliError where it cannot be had at all.
        """
        self._path = path
        try:
            (path / OBJECTS).mkdir(parents=True, exist_ok=True, mode=0o700)
            path.chmod(0o700)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CliError(
                f"no state can be kept in {path}: {error.strerror} (choose another place: --state)"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = read_running(path)
            os.close(self._lock)
            by = "" if other is None else f" (process {other.pid}, {other.client_url})"
            raise FolderInUseError(
                f"another `modelway run` holds {path}{by}: end that one first, or give this one its own --state"
            ) from None
        self._write(path / ".gitignore", "*\n")

    def close(self) -> None:
        """Let the next one have it."""
        (self._path / RUNNING).unlink(missing_ok=True)
        os.close(self._lock)

    def next_epoch(self) -> int:
        """A number above all that were used here before."""
        try:
            last = int((self._path / EPOCH).read_text("utf-8"))
        except (OSError, ValueError):
            last = 0
        self._write(self._path / EPOCH, f"{last + 1}\n")
        return last + 1

    def announce(self, running: Running) -> None:
        """Tell `modelway get` and people where this process is."""
        self._write(self._path / RUNNING, json.dumps(asdict(running)))

    def objects(self) -> list[Raw]:
        """Everything that was kept."""
        return list(read_objects(self._path))

    def keep(self, kind: Kind, raw: Raw) -> None:
        """Write an object down. Raises OSError; what was there before stands then."""
        (self._path / OBJECTS).mkdir(parents=True, exist_ok=True, mode=0o700)  # somebody may have tidied up
        self._write(self._file(kind, raw), json.dumps(raw, ensure_ascii=False, indent=1))

    def drop(self, kind: Kind, raw: Raw) -> None:
        """Forget an object."""
        self._file(kind, raw).unlink(missing_ok=True)

    def _file(self, kind: Kind, raw: Raw) -> Path:
        metadata = raw["metadata"]
        # Names are checked where manifests are read; quoting them costs nothing and holds whatever comes.
        parts = (kind.name, metadata["namespace"], metadata["name"])
        return self._path / OBJECTS / ".".join([*(urllib.parse.quote(part, safe="") for part in parts), "json"])

    def _write(self, path: Path, text: str) -> None:
        beside = path.with_name(path.name + ".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)


def read_objects(path: Path) -> Iterator[Raw]:
    """Everything that is kept in a state folder, held by whomever; what cannot be read is not there."""
    for file in sorted((path / OBJECTS).glob("*.json")):
        raw = _read(file)
        if isinstance(raw, dict) and isinstance(raw.get("metadata"), dict):
            yield raw


def read_running(path: Path) -> Running | None:
    """Who serves, as it said itself; None once it has ended, however that was."""
    try:
        running = Running(**_read(path / RUNNING))
        os.kill(running.pid, 0)
    except (TypeError, ProcessLookupError):
        return None
    except PermissionError:
        return running  # another user's
    return running


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None

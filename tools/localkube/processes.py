"""Processes that outlive the command: started, remembered, ended.

A process is known by its pid *and* its start time. A pid alone may belong to somebody else by the time it is read back,
after a crash or a reboot; nothing is ever looked for by name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import LocalkubeError
from .layout import Layout
from .shell import POLL_SECONDS

# What a component inherits. A proxy setting must not reach it: that would send the node's own traffic elsewhere.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Process:
    """One process of ours, as the state folder remembers it."""

    name: str
    pid: int
    start_time: str
    """The kernel's count of clock ticks at its start, which no later process with the same pid has."""


def start(layout: Layout, name: str, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> Process:
    """Start a component in its own session with its output in its own log file, and remember it."""
    layout.logs.mkdir(parents=True, exist_ok=True)
    layout.pids.mkdir(parents=True, exist_ok=True)
    environment = {key: os.environ[key] for key in INHERITED if key in os.environ} | dict(env or {})
    with (layout.logs / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=environment, cwd=layout.state, start_new_session=True,
        )  # fmt: skip
    process = Process(name, child.pid, read_start_time(child.pid) or "")
    (layout.pids / f"{name}.json").write_text(json.dumps(asdict(process)))
    return process


def recorded(layout: Layout) -> list[Process]:
    """Every process that the state folder remembers, in the order of their start."""
    files = sorted(layout.pids.glob("*.json"), key=lambda path: path.stat().st_mtime)
    processes = []
    for path in files:
        try:
            processes.append(Process(**json.loads(path.read_text())))
        except (ValueError, TypeError):
            path.unlink()  # half-written by a crash: it was never told to anyone
    return processes


def is_running(process: Process) -> bool:
    """Whether that very process lives (a zombie does not)."""
    return read_start_time(process.pid) == process.start_time


def require_running(layout: Layout, name: str) -> None:
    """Fail with the end of its log if a component has ended."""
    if not any(process.name == name and is_running(process) for process in recorded(layout)):
        log = layout.logs / f"{name}.log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
        raise LocalkubeError(f"{name} has ended; the end of {log}:\n{tail}")


def end(layout: Layout, process: Process, *, patience_seconds: float = 5) -> None:
    """Ask it to end, insist after a while, and forget it."""
    for number, seconds in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 5.0)):
        if not is_running(process):
            break
        os.kill(process.pid, number)
        wait_for_end(process, seconds)
    (layout.pids / f"{process.name}.json").unlink(missing_ok=True)


def wait_for_end(process: Process, seconds: float) -> None:
    """Return when it has ended, or the time is over."""
    deadline = time.monotonic() + seconds
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 4)


def read_start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat; None for no process and for a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may contain spaces and parentheses
    return None if fields[0] in {"Z", "X"} else fields[19]

"""Processes of pods as this machine sees them: found by their container's id, ended by their pid.

The one rule: a process is only ever found through its own container, never by its name.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.reach import wait_until

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Running:
    """A container's first process."""

    pod: str
    container_id: str
    pid: int

    def signal(self, number: int) -> None:
        """Send it a signal, from outside of the container."""
        os.kill(self.pid, number)

    @property
    def cpu_seconds(self) -> float:
        """What it has used of the processors since its start: what is left of a time on a busy machine."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    @property
    def started_at(self) -> float:
        """When the kernel started it, in seconds since 1970."""
        ticks = int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[19])
        since_boot = float(Path("/proc/uptime").read_text().split()[0]) - ticks / TICKS_PER_SECOND
        return time.time() - since_boot


def running(pod: dict[str, Any]) -> Running:
    """The process of a pod's one container, as its status has it."""
    container_id = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    pids = processes_of(container_id)
    assert pids, f"{pod['metadata']['name']} has no process"
    return Running(pod=pod["metadata"]["name"], container_id=container_id, pid=min(pids))


def successor(pod: dict[str, Any], former: Running, *, seconds: float) -> Running:
    """The process that the kubelet starts in its place, found without any API server."""
    uid = pod["metadata"]["uid"]
    found: list[Running] = []

    def look() -> bool:
        for pid, group in control_groups():
            if uid in group and former.container_id not in group and runs_a_program(pid):
                found.append(Running(former.pod, group.rpartition("/")[2], pid))
                return True
        return False

    wait_quickly("a new process", look, seconds=seconds)
    return found[0]


def wait_quickly(what: str, ready: Callable[[], bool], *, seconds: float) -> None:
    """As `wait_until`, for what is timed."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)


def wait_for_end(process: Running, *, seconds: float) -> None:
    """Return once it is gone."""
    wait_until(f"{process.pod} ends", lambda: not processes_of(process.container_id), seconds=seconds)


def processes_of(container_id: str) -> list[int]:
    """Pids of a container's processes."""
    return [pid for pid, group in control_groups() if container_id in group]


def control_groups() -> list[tuple[int, str]]:
    """Every process with the name of its control group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                first = (entry / "cgroup").read_text().partition("\n")[0]
            except OSError:
                continue  # it has ended meanwhile
            found.append((int(entry.name), first.rpartition(":")[2]))
    return found


def runs_a_program(pid: int) -> bool:
    """Whether it is neither what holds a pod's namespaces nor the runtime, which becomes the program in a moment."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(words) and not words.startswith((b"/pause", b"runc"))

"""What the machine says of itself and of processes: CPU time, memory, how busy a core is, and by whom."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PRECEDENCE: Final = -15


def monotonic_seconds() -> float:
    """The wall clock of measuring."""
    return time.monotonic()


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    with suppress(OSError):
        children = (PROC / f"{pid}/task/{pid}/children").read_text().split()
        return [pid, *(each for child in children for each in tree(int(child)))]
    return [pid]


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of all threads; to the nanosecond where the kernel counts so, else in ticks of 10 ms."""
    return sum(_cpu_seconds(pid) for pid in pids)


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError, IndexError):
        spent = [int((each / "schedstat").read_text().split()[0]) for each in (PROC / f"{pid}/task").iterdir()]
        if any(spent):
            return sum(spent) / 1e9
    with suppress(OSError):
        fields = (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
    return 0.0


def memory_bytes(pids: Iterable[int]) -> int:
    """Proportional resident memory: pages that processes share are counted once."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in (PROC / f"{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def busy_seconds(core: int) -> float:
    """Time in which a core did anything, for anybody, or was taken away by the host of a virtual machine."""
    for line in (PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            ticks = [int(each) for each in fields[:8]]
            return (sum(ticks) - ticks[3] - ticks[4]) / _TICKS_PER_SECOND
    raise OSError(f"there is no core {core}")


def fixed_work_us(core: int) -> float:
    """CPU time of the same small piece of work each time: how fast this core is just now."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return min(_one_piece_us() for _ in range(3))
    finally:
        os.sched_setaffinity(0, before)


def _one_piece_us() -> float:
    began, total = time.thread_time(), 0
    for number in range(100_000):
        total += number & 3
    return (time.thread_time() - began) * 1e6


def take_precedence(pid: int) -> None:
    """Let a process run before others, where this user may; other work on the machine then disturbs less.

    Where the kernel groups processes by session, a process's own priority counts within its session only.
    """
    with suppress(OSError):
        for each in tree(pid):
            os.setpriority(os.PRIO_PROCESS, each, _PRECEDENCE)
        (PROC / f"{pid}/autogroup").write_text(str(_PRECEDENCE))


def allow_many_files() -> None:
    """Held streams need two sockets each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def name() -> str:
    """The machine in a line: processor, cores, kernel."""
    model = "unknown processor"
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, {system}"

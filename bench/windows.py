"""One window: the load runs against one contestant for some seconds, and the contestant's CPU is read at both ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from bench import host
from bench.contestants import GATEWAY_CORE, LOAD_CORE, Contestant


class LoadFailedError(Exception):
    """The load generator got answers that it did not expect: then its figures mean nothing."""


class Spread(msgspec.Struct, frozen=True):
    """A distribution of times in microseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


class Outcome(msgspec.Struct, frozen=True):
    """What the load generator says."""

    answered: int
    answered_in_time: int
    chunks_in_time: int
    failed: int
    reopened: int
    unfinished: bool
    complaint: str
    latency_us: Spread | None = None
    first_chunk_us: Spread | None = None
    transit_us: Spread | None = None


@dataclass(frozen=True, kw_only=True)
class Load:
    """How the load generator is called."""

    mode: str
    body: bytes = field(repr=False)
    connections: int
    seconds: float
    warm_up_seconds: float = 0.4
    rate: float = 200.0
    chunks: int = 100
    spread_seconds: float = 0.0

    def command(self, programs: Path, body: Path, *, port: int, key: str) -> list[str]:
        options = {
            "-p": port,
            "-b": body,
            "-k": key,
            "-c": self.connections,
            "-d": self.seconds,
            "-w": self.warm_up_seconds,
            "-r": self.rate,
            "-n": self.chunks,
            "-s": self.spread_seconds,
        }
        return [str(programs / "load"), self.mode, *(text for pair in options.items() for text in map(str, pair))]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What came of one."""

    outcome: Outcome
    seconds: float
    cpu_seconds: float
    """Of the contestant's processes."""
    foreign_share: float
    """Part of the gateway's core that went to anybody else."""
    fixed_work_us: float
    """How long the same small piece of work took on that core."""


def measure(load: Load, contestant: Contestant, *, programs: Path, folder: Path, key: str) -> Window:
    """Run one window. Raises LoadFailedError."""
    fixed_work_us = host.fixed_work_us(GATEWAY_CORE)
    with running_load(load, contestant, programs=programs, folder=folder, key=key) as process:
        expect(process, "measuring")
        pids, began = contestant.pids, _now(contestant.pids)
        expect(process, "measured")
        ended = _now(pids)
        outcome = result(process)
    wall, cpu, busy = (end - start for end, start in zip(ended, began, strict=True))
    return Window(
        outcome=outcome,
        seconds=wall,
        cpu_seconds=cpu,
        foreign_share=max(0.0, busy - cpu) / wall,
        fixed_work_us=fixed_work_us,
    )


@contextmanager
def running_load(
    load: Load, contestant: Contestant, *, programs: Path, folder: Path, key: str
) -> Iterator[subprocess.Popen[str]]:
    """The load generator on its core, until the block ends."""
    body = folder / "body.json"
    body.write_bytes(load.body)
    process = subprocess.Popen(
        load.command(programs, body, port=contestant.port, key=key),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),  # noqa: PLW1509 - this process has one thread
    )
    with process:
        host.take_precedence(process.pid)
        try:
            yield process
        finally:
            process.kill()


def result(process: subprocess.Popen[str]) -> Outcome:
    """What a load generator that comes to its end says. Raises LoadFailedError."""
    text = _lines(process).read()
    if process.wait(30):
        raise LoadFailedError("the load generator gave up")
    outcome = msgspec.json.decode(text, type=Outcome)
    if outcome.failed or outcome.unfinished:
        what = outcome.complaint or "answers did not end"
        raise LoadFailedError(f"{outcome.failed} of {outcome.answered + outcome.failed} requests failed: {what}")
    return outcome


def expect(process: subprocess.Popen[str], word: str) -> None:
    """Wait until the load generator says this. Raises LoadFailedError."""
    said = _lines(process).readline().strip()
    if said != word:
        raise LoadFailedError(f"the load generator said {said!r} in place of {word!r}")


def _lines(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def _now(pids: list[int]) -> tuple[float, float, float]:
    """Wall clock, CPU time of these processes, and how long the gateway's core has been busy."""
    return host.monotonic_seconds(), host.cpu_seconds(pids), host.busy_seconds(GATEWAY_CORE)

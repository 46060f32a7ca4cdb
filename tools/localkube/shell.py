"""Running other programs, and telling the person what takes time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import CommandError, LocalkubeError

POLL_SECONDS = 0.1


def run(
    *command: str | Path,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """What the program printed on standard output; both streams are in the error if it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, check=False, env=env, cwd=cwd, input=stdin or "", text=True, errors="replace", capture_output=True
        )
    except FileNotFoundError as exc:
        raise LocalkubeError(f"{words[0]} is not installed") from exc
    if check and done.returncode:
        raise CommandError(" ".join(words), done.returncode, done.stdout + done.stderr)
    return done.stdout


def attempt(*command: str | Path) -> bool:
    """Whether the program succeeded; for cleaning up what may be gone already."""
    words: Sequence[str] = [str(word) for word in command]
    try:
        return subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def step(name: str) -> Iterator[None]:
    """Tell on standard error what is being done, and how long it took."""
    started = time.monotonic()
    print(f"  {name} …", end="", file=sys.stderr, flush=True)
    try:
        yield
    except BaseException:
        print(f" failed after {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        raise
    print(f" {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


def wait_until(what: str, ready: Callable[[], bool], *, seconds: float) -> None:
    """Return as soon as `ready` says so; give up with an error that says what was waited for."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise LocalkubeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(POLL_SECONDS)

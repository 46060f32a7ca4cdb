"""The config on disk: the bundle that the operator wrote, and the last good one that this process wrote.

The rule: a file is either whole or not there (written beside and renamed), and only its owner may read it: it holds
keys. It lives on a memory volume.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from modelway_contract import codec
from modelway_contract.config import Push
from modelway_contract.names import BUNDLE_KEY
from modelway_gateway import logs

LAST_GOOD_NAME: Final = "last-good.json.gz"
_log = logging.getLogger("modelway_gateway.snapshots")


def read_candidates(bundle_dir: Path | None, state_dir: Path | None) -> list[tuple[str, Push]]:
    """Every whole config there is, the newest first; of two equally new ones our own, which ran here."""
    found: list[tuple[str, Push]] = []
    for source, folder, name in (("last-good", state_dir, LAST_GOOD_NAME), ("bundle", bundle_dir, BUNDLE_KEY)):
        if folder is None:
            continue
        push = _read(source, folder / name)
        if push is not None:
            found.append((source, push))
    return sorted(found, key=lambda each: (each[1].live.epoch, each[1].live.sequence), reverse=True)


def _read(source: str, path: Path) -> Push | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        logs.event(_log, logging.ERROR, "snapshot_unreadable", source=source, error=exc.strerror or "I/O error")
        return None
    try:
        push = codec.unpack(data)
    except (codec.ContractError, RecursionError) as exc:
        code = exc.code if isinstance(exc, codec.ContractError) else "too_deep"
        logs.event(_log, logging.ERROR, "snapshot_corrupt", source=source, code=code)
        return None
    if push.base is None or push.credentials is None:
        logs.event(_log, logging.ERROR, "snapshot_corrupt", source=source, code="incomplete")
        return None
    return push


class LastGood:
    """Writes the last good config in the background; of several in a row only the last."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._waiting: Push | None = None
        self._task: asyncio.Task[None] | None = None
        self.failures_total = 0

    def keep(self, push: Push) -> None:
        """Write this soon. A failure is counted and logged, and changes nothing else."""
        if self._folder is None:
            return
        self._waiting = push
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write_waiting())

    async def flush(self) -> None:
        """Wait until nothing waits to be written."""
        if self._task is not None:
            await self._task

    async def _write_waiting(self) -> None:
        assert self._folder is not None
        while self._waiting is not None:
            push, self._waiting = self._waiting, None
            try:
                await asyncio.to_thread(_write, self._folder / LAST_GOOD_NAME, push)
            except OSError as exc:
                self.failures_total += 1
                logs.event(_log, logging.ERROR, "last_good_not_written", error=exc.strerror or "I/O error")


def _write(path: Path, push: Push) -> None:
    data = codec.pack(push)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    beside.replace(path)

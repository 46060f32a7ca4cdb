"""The command line as a process."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.search import overhearing


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    status: int | None
    out: str
    err: str


@asynccontextmanager
async def modelway(*arguments: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, ended with the block if it has not ended by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modelway_cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "PYTHONUNBUFFERED": "1", **variables},
    )
    async with overhearing(process, f"modelway {arguments[0]}"):
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def run(*arguments: str, **variables: str) -> Ended:
    """The command until it ends by itself."""
    async with modelway(*arguments, **variables) as process:
        out, err = await process.communicate()
        return Ended(process.returncode, out.decode(), err.decode())

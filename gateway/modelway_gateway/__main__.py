"""Starts the gateway: settings, event loop, signals.

The rule: it does not start where it could not keep its promises: without uvloop or aiohttp's compiled parser.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from modelway_gateway import logs
from modelway_gateway.client.connection import parser_is_compiled
from modelway_gateway.errors import SettingsError
from modelway_gateway.server import run
from modelway_gateway.settings import Settings, from_command_line


def main() -> None:
    """Entry point of `modelway-gateway`."""
    try:
        settings = from_command_line(sys.argv[1:], os.environ)
        logs.configure(settings.log_level)
        logs.forbid_core_dumps()
        _check_parser()
        uvloop.run(_serve(settings))
    except SettingsError as exc:
        sys.stderr.write(f"modelway-gateway: {exc}\n")
        sys.exit(2)
    except OSError as exc:
        sys.stderr.write(f"modelway-gateway: cannot open a port: {exc.strerror}\n")
        sys.exit(1)


def _check_parser() -> None:
    if not parser_is_compiled():
        raise SettingsError("aiohttp's compiled HTTP parser is not available; install a wheel of aiohttp")


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await run(settings, stop)


if __name__ == "__main__":
    main()

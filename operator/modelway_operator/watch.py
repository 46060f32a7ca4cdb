"""kopf as a watch engine: every event goes into the store, and nothing else happens here.

Rule: no handler that kopf would keep state for (it would write annotations and finalizers to users' objects), nothing
that waits, nothing that decides. kopf lives on a thread and a loop of its own, since it ends all tasks of a loop that
it leaves; and it does leave, on purpose, at a broken stream: then it is started again.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import kopf

from modelway_operator.clients.cluster import read_connection
from modelway_operator.kinds import WATCHED, Kind, Raw
from modelway_operator.settings import Settings
from modelway_operator.store import Store

RESTART_SECONDS: Final = 1.0
"""Pause before kopf is started again; with its own end, within two seconds."""
FAREWELL_SECONDS: Final = 0.25
BEAT_SECONDS: Final = 0.5
END_SECONDS: Final = 1.0
"""kopf has so long to end by itself."""
CANCELS: Final = 10
WATCHER: Final = "watcher for "
"""How kopf's tasks are called that watch one kind in one place."""
SERVER_TIMEOUT_SECONDS: Final = 540
CLIENT_TIMEOUT_SECONDS: Final = 600.0
INACTIVITY_SECONDS: Final = 70.0
REQUEST_SECONDS: Final = 15.0

logger = logging.getLogger(__name__)


class Watch:
    """kopf, and whoever restarts it."""

    def __init__(self, settings: Settings, store: Store, *, on_restart: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._store = store
        self._on_restart = on_restart
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._end_this_run: Callable[[], None] | None = None
        self.restarts = 0
        self.last_beat = time.monotonic()
        """When kopf's own loop last turned."""

    def start(self) -> None:
        """Watch from now on."""
        # A daemon thread, since nothing of value is lost with it and a stuck one must not keep the process alive.
        self._thread = threading.Thread(target=self._supervise, name="watch", daemon=True)
        self._thread.start()

    def restart(self) -> None:
        """Begin anew, for instance since a kind exists now that kopf did not find at its start."""
        # kopf's own thread takes it away when a run ends.
        end = self._end_this_run
        if end is not None:
            end()

    async def stop(self) -> None:
        """End it, and do not wait for long."""
        self._end.set()
        self.restart()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5.0)

    def _supervise(self) -> None:
        while not self._end.is_set():
            try:
                asyncio.run(self._run())
            except Exception as exc:
                # Not the traceback: kopf's errors quote what it was reading.
                logger.warning("the watch ended", extra={"error": type(exc).__name__})
            if not self._end.wait(RESTART_SECONDS):
                self.restarts += 1
                logger.info("the watch is started again")
                self._loop.call_soon_threadsafe(self._on_restart)

    async def _run(self) -> None:
        flag, loop = asyncio.Event(), asyncio.get_running_loop()
        self._end_this_run = lambda: _call_if_running(loop, flag.set)
        namespaces = self._settings.watch_namespaces
        operating = asyncio.ensure_future(
            kopf.operator(
                registry=self._registry(),
                settings=_kopf_settings(),
                clusterwide=not namespaces,
                namespaces=namespaces,
                standalone=True,
                # Never used without peering; kopf would otherwise ask for a user's name, which a container has not.
                identity=self._settings.identity,  # type: ignore[arg-type]  # a NewType of str that kopf keeps to itself
                stop_flag=flag,
            )
        )
        try:
            await self._until_broken(operating, flag)
            flag.set()
            await asyncio.wait({operating}, timeout=END_SECONDS)
        finally:
            self._end_this_run = None
            await _end_all_others()
            # kopf closes its connections without waiting for TLS to take leave; the loop must not end before.
            await asyncio.sleep(FAREWELL_SECONDS)
        if operating.done() and not operating.cancelled():
            operating.result()

    async def _until_broken(self, operating: asyncio.Future[None], flag: asyncio.Event) -> None:
        """Beat until kopf ends, shall end, or has lost one of its watchers.

        kopf ends when a watcher fails, but waits for the others first, and may wait for ever (1.45.2: one that still
        waits for an answer cannot be cancelled by its stopper). Meanwhile it looks alive and hears nothing.
        """
        asked, most = asyncio.ensure_future(flag.wait()), 0
        ends: set[asyncio.Future[Any]] = {operating, asked}
        while not (operating.done() or asked.done()):
            self.last_beat = time.monotonic()
            watchers = sum(task.get_name().startswith(WATCHER) for task in asyncio.all_tasks())
            if watchers < most:
                logger.warning("a watcher ended", extra={"left": watchers})
                return
            most = max(most, watchers)
            await asyncio.wait(ends, timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        for kind in WATCHED:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id="store")(self._handler(kind))

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            connection = await read_connection(self._settings)
            header = await connection.get_api_key_with_prefix("BearerToken")
            scheme, _space, token = (header or "").rpartition(" ")
            return kopf.ConnectionInfo(
                server=connection.host,
                ca_path=connection.ssl_ca_cert,
                insecure=not connection.verify_ssl,
                certificate_path=connection.cert_file,
                private_key_path=connection.key_file,
                scheme=scheme or None,
                token=token or None,
            )

        return registry

    def _handler(self, kind: Kind) -> Callable[..., Any]:
        async def hear(event: kopf.RawEvent, **_: Any) -> None:
            # kopf keeps the object for itself and changes it in places; ours must be another one.
            raw: Raw = {"apiVersion": kind.api_version, "kind": kind.name, **event["object"]}
            if event["type"] == "DELETED":
                self._loop.call_soon_threadsafe(self._store.discard, kind, raw["metadata"]["uid"])
            else:
                self._loop.call_soon_threadsafe(self._store.put, kind, raw)

        return hear


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = SERVER_TIMEOUT_SECONDS
    settings.watching.client_timeout = CLIENT_TIMEOUT_SECONDS
    settings.watching.connect_timeout = REQUEST_SECONDS
    settings.watching.inactivity_timeout = INACTIVITY_SECONDS
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.error_backoffs = (0.5, 1, 2)
    settings.queueing.error_delays = (1, 1, 2, 3, 5, 8, 13, 30)
    # kopf would kill the whole process when its own end takes long; whether we end is not its decision.
    settings.process.ultimate_exiting_timeout = None
    for kind in WATCHED:
        if kind.selector:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return settings


async def _end_all_others() -> None:
    """Cancel all tasks of this loop, again and again, since kopf's take some for something else."""
    for _ in range(CANCELS):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=0.1)


def _call_if_running(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)

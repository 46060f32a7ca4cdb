"""`modelway run`: puts the operator's parts and the gateway together, and runs until it is told to end.

Rule: nothing is decided here, as in the operator's own `__main__`, which this mirrors.
"""

import asyncio
import contextlib
import ipaddress
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvloop

from modelway_cli.errors import ListenError, UsageError
from modelway_cli.standalone.cluster import FolderCluster
from modelway_cli.standalone.console import Console, log_to
from modelway_cli.standalone.folder import Folder
from modelway_cli.standalone.gateway import POD, LocalGateway
from modelway_cli.standalone.leading import NoOwnSecrets, SoleLeader
from modelway_cli.standalone.services import LocalService, endpoint_slice, service_objects
from modelway_cli.standalone.state import DEFAULT_NAME, Running, State
from modelway_gateway.server import Gateway, running_gateway
from modelway_gateway.settings import Settings as GatewaySettings
from modelway_operator.apply import Applier
from modelway_operator.clients.events import Events
from modelway_operator.clients.metrics import MeasurementSource, Prometheus
from modelway_operator.clients.scrapes import GatewayScrapes
from modelway_operator.core.decide import decide, wanted
from modelway_operator.errors import SettingsError
from modelway_operator.gather import ADMIN_PORT_NAME, Gatherer
from modelway_operator.kinds import CONFIG_MAP, ENDPOINT_SLICE
from modelway_operator.loop import TICK_SECONDS, Alarm, Loop, Parts
from modelway_operator.settings import MetricsKind, Settings, load_settings
from modelway_operator.store import Store
from modelway_operator.telemetry import Metrics

POLL_SECONDS: Final = 0.5
SETTLE_SECONDS: Final = 0.1
"""A folder is read once it has not changed for so long: an editor may be in the middle of it."""
LONGEST_SETTLING_SECONDS: Final = 2.0
READY_POLL_SECONDS: Final = 0.02
PARENT_POLL_SECONDS: Final = 1.0
ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SHORTEST_SCRAPE_SECONDS: Final = 0.05
GRACE_SECONDS: Final = 10.0
NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    folder: Path
    state: Path | None = None
    services: tuple[LocalService, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 9090
    gateway_name: str = "default"
    anonymous_namespace: str | None = None
    prometheus_url: str | None = None
    scrape_seconds: float = 5.0
    verbose: bool = False
    parent: int | None = None
    """The process that started this one and must not be outlived."""


def run_folder(options: Options) -> None:
    """Serve the folder until SIGINT or SIGTERM."""
    if not options.folder.is_dir():
        raise UsageError(f"{options.folder} is not a folder")
    settings = operator_settings(options)
    console = Console()
    log_to(console, verbose=options.verbose)
    state = State(state_folder(options.folder, options.state))
    try:
        uvloop.run(_run(options, settings, state, console))
    finally:
        state.close()


def state_folder(folder: Path, state: Path | None) -> Path:
    """Where what an API server would keep is kept."""
    return state or folder / DEFAULT_NAME


def operator_settings(options: Options) -> Settings:
    """The operator's settings, checked by its own rules; raises UsageError."""
    arguments = [
        *("--namespace", NAMESPACE, "--pod-name", POD, "--gateway", options.gateway_name),
        *("--anonymous-namespace", options.anonymous_namespace or ""),
        *("--metrics-source", MetricsKind.PROMETHEUS if options.prometheus_url else MetricsKind.GATEWAYS),
        *("--prometheus-url", options.prometheus_url or ""),
    ]
    if not SHORTEST_SCRAPE_SECONDS <= options.scrape_seconds <= 3600:
        raise UsageError(f"--scrape-interval is between {SHORTEST_SCRAPE_SECONDS:g} s and one hour")
    try:
        ipaddress.ip_address(options.host)
    except ValueError:
        raise UsageError(f"--host {options.host}: give an address, such as 127.0.0.1 or ::1") from None
    try:
        settings = load_settings(arguments, {})
    except SettingsError as error:
        raise UsageError(str(error)) from error
    return replace(settings, scrape_interval_seconds=options.scrape_seconds)


async def _run(options: Options, settings: Settings, state: State, console: Console) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ENDING_SIGNALS:
        loop.add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as exits:
        gateway = await _open_gateway(options, exits)
        tasks = await _start(options, settings, state, console, gateway, exits)
        announcing = asyncio.create_task(_announce(options, state, console, gateway), name="announce")
        ending = asyncio.create_task(_wait_for_end(ended, options.parent), name="end")
        done, _ = await asyncio.wait({*tasks, ending}, return_when=asyncio.FIRST_COMPLETED)
        for number in ENDING_SIGNALS:
            # Who asks twice does not want to wait for answers under way.
            loop.add_signal_handler(number, os._exit, 130)
        if ending in done:
            console.say("Ending: answers under way are finished first")
        await _cancel(*tasks, announcing, ending)
        for task in done - {ending}:
            task.result()  # It never returns: what ended it is a fault of ours


async def _wait_for_end(ended: asyncio.Event, parent: int | None) -> None:
    """Return when a signal asks for it, or when the parent has died without a word."""
    while parent in (None, os.getppid()):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PARENT_POLL_SECONDS if parent else None):
                await ended.wait()
            return


async def _open_gateway(options: Options, exits: contextlib.AsyncExitStack) -> Gateway:
    settings = GatewaySettings(
        host=options.host, port=options.port, metrics_port=options.metrics_port, grace_seconds=GRACE_SECONDS
    )
    try:
        return await exits.enter_async_context(running_gateway(settings))
    except OSError as error:
        ports = f"{options.port} and {options.metrics_port}"
        raise ListenError(
            f"cannot listen on {options.host}, ports {ports}: {error.strerror} (0 takes a free one: --port 0"
            " --metrics-port 0)"
        ) from error


async def _start(
    options: Options,
    settings: Settings,
    state: State,
    console: Console,
    gateway: Gateway,
    exits: contextlib.AsyncExitStack,
) -> list[asyncio.Task[None]]:
    metrics, alarm = Metrics(), Alarm()
    admin = LocalService(
        namespace=settings.namespace, name=settings.admin_service, port=1, address="127.0.0.1", target_port=1
    )
    replica = endpoint_slice(admin, slice_name=settings.admin_service, port_name=ADMIN_PORT_NAME, pod=POD)
    fixed = [*service_objects(options.services), (ENDPOINT_SLICE, replica)]
    cluster = FolderCluster(Folder(options.folder), state, fixed=fixed, on_event=console.event)
    store = Store(on_change=alarm.ring)
    gateways = LocalGateway(
        gateway, on_change=alarm.ring, on_answer=lambda status: metrics.pushes.labels(str(status)).inc()
    )
    exits.push_async_callback(gateways.close)
    source = _source(settings, gateway)
    exits.push_async_callback(source.close)
    lease = SoleLeader(cluster, settings, epoch=state.next_epoch())
    applier = Applier(
        cluster=cluster,
        store=store,
        gateways=gateways,
        events=Events(cluster, instance=settings.identity),
        metrics=metrics,
        may_write=lambda: True,
    )
    parts = Parts(
        wanted=wanted,
        decide=decide,
        cluster=cluster,
        store=store,
        lease=lease,
        gateways=gateways,
        source=source,
        own_secrets=NoOwnSecrets(cluster, settings),
        gatherer=Gatherer(store, settings),
        applier=applier,
        metrics=metrics,
    )
    turning = Loop(parts, alarm)
    tasks = [
        asyncio.create_task(turning.run(), name="loop"),
        asyncio.create_task(_watch(cluster, store, console), name="watch"),
    ]
    if settings.scrape_interval_seconds < TICK_SECONDS:
        tasks.append(asyncio.create_task(_tick(alarm, settings.scrape_interval_seconds), name="ticks"))
    return tasks


def _source(settings: Settings, gateway: Gateway) -> MeasurementSource:
    if settings.prometheus is not None:
        prometheus = Prometheus(settings.prometheus)
        prometheus.start()
        return prometheus
    address = gateway.metrics_url.removeprefix("http://")
    scrapes = GatewayScrapes(lambda: [address], interval_seconds=settings.scrape_interval_seconds)
    scrapes.start()
    return scrapes


async def _watch(cluster: FolderCluster, store: Store, console: Console) -> None:
    """Tell the store of every change in the folder, as a watch of the API server would."""
    told_ignored = ""
    while True:
        for change in cluster.refresh():
            key = change.raw["metadata"]["namespace"], change.raw["metadata"]["name"]
            if change.kind is CONFIG_MAP:
                if key in store.read_config_maps():
                    store.put_config_map(key, None if change.gone else change.raw)
            elif change.gone:
                store.discard(change.kind, change.raw["metadata"]["uid"])
            else:
                store.put(change.kind, change.raw)
        console.problems(cluster.problems)
        ignored = ", ".join(f"{count} {kind}" for kind, count in sorted(cluster.ignored.items()))
        if ignored and ignored != told_ignored:
            console.say(f"Note     not needed here and left alone: {ignored}")
        told_ignored = ignored
        while not cluster.is_stale():  # noqa: ASYNC110 - a folder has no event to wait for
            await asyncio.sleep(POLL_SECONDS)
        await _settle(cluster.folder)


async def _settle(folder: Folder) -> None:
    """Return when the folder has not changed for a moment."""
    async with contextlib.AsyncExitStack() as exits:
        exits.enter_context(contextlib.suppress(TimeoutError))
        await exits.enter_async_context(asyncio.timeout(LONGEST_SETTLING_SECONDS))
        before, now = None, folder.fingerprint()
        while before != now:
            await asyncio.sleep(SETTLE_SECONDS)
            before, now = now, folder.fingerprint()


async def _tick(alarm: Alarm, seconds: float) -> None:
    """Turn as often as there are new figures, where that is more often than the operator's own tick."""
    while True:
        await asyncio.sleep(seconds)
        alarm.ring()


async def _announce(options: Options, state: State, console: Console, gateway: Gateway) -> None:
    """Say where everything is, once there is a config: whoever reads it may send requests at once."""
    while not gateway.is_ready:  # noqa: ASYNC110 - a gateway has no event to wait for
        await asyncio.sleep(READY_POLL_SECONDS)
    running = Running(pid=os.getpid(), client_url=f"{gateway.client_url}/v1", metrics_url=gateway.metrics_url)
    state.announce(running)
    console.say(f"Serving {options.folder} at {running.client_url}")
    console.say(f"Health and metrics at {running.metrics_url}")
    elsewhere = "" if options.state is None else f" --state {options.state}"
    console.say(f"See how it is doing: modelway get {options.folder}{elsewhere} -w")


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

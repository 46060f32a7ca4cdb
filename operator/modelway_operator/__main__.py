"""`modelway-operator`: reads its settings, puts the parts together, runs until it is told to end.

Rule: nothing is decided here. The exit status is 0 after SIGTERM, 2 for settings that cannot work, 1 for anything else.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from functools import partial

from modelway_operator.apply import Applier
from modelway_operator.clients.cluster import Cluster, read_connection
from modelway_operator.clients.events import Events
from modelway_operator.clients.gateways import Gateways
from modelway_operator.clients.lease import Lease, Role
from modelway_operator.clients.metrics import MeasurementSource, NoSource, Prometheus
from modelway_operator.clients.own_secrets import OwnSecrets
from modelway_operator.clients.scrapes import GatewayScrapes
from modelway_operator.core.decide import decide, wanted
from modelway_operator.errors import SettingsError
from modelway_operator.gather import Gatherer
from modelway_operator.kinds import WATCHED, Kind
from modelway_operator.loop import Alarm, Loop, Parts
from modelway_operator.settings import MetricsKind, Settings, load_settings
from modelway_operator.store import Store
from modelway_operator.telemetry import Health, Metrics, serve_health, set_up_logs
from modelway_operator.watch import Watch

WATCH_SILENCE_SECONDS = 150.0

logger = logging.getLogger(__name__)


def main() -> None:
    """Entry point of the console script."""
    try:
        settings = load_settings(sys.argv[1:], os.environ)
        set_up_logs(level=settings.log_level, form=settings.log_format)
        asyncio.run(run(settings))
    except SettingsError as exc:
        sys.stderr.write(f"modelway-operator: {exc}\n")
        sys.exit(2)


async def run(settings: Settings) -> None:
    """Operate until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as exits:
        loop = await _start(settings, exits)
        turning = asyncio.create_task(loop.run(), name="loop")
        exits.push_async_callback(_cancel, turning)
        ending = asyncio.create_task(ended.wait(), name="signals")
        await asyncio.wait({turning, ending}, return_when=asyncio.FIRST_COMPLETED)
        if turning.done():
            ending.cancel()
            # It never returns: what ended it is a fault of ours, and a new process is the remedy.
            turning.result()
        logger.info("ending")


async def _start(settings: Settings, exits: contextlib.AsyncExitStack) -> Loop:
    """Make every part; the order of the exits is the reverse: no more turns, then the lease, then connections."""
    metrics = Metrics()
    cluster = Cluster(
        await read_connection(settings),
        on_error=lambda method, status: metrics.api_errors.labels(method, str(status)).inc(),
    )
    exits.push_async_callback(cluster.close)
    alarm = Alarm()
    store = Store(namespaces=settings.watch_namespaces, on_change=alarm.ring)
    gateways = Gateways(
        on_change=alarm.ring,
        on_answer=lambda status: metrics.pushes.labels(str(status)).inc(),
        on_acknowledged=metrics.acknowledgement_seconds.observe,
    )
    exits.push_async_callback(gateways.close)
    gatherer = Gatherer(store, settings)
    source = _source(settings, gatherer)
    exits.push_async_callback(source.close)
    lease = Lease(
        cluster,
        namespace=settings.namespace,
        name=settings.lease,
        identity=settings.identity,
        on_change=alarm.ring,
    )
    applier = Applier(
        cluster=cluster,
        store=store,
        gateways=gateways,
        events=Events(cluster, instance=settings.identity),
        metrics=metrics,
        may_write=lambda: lease.role is Role.LEADING,
    )
    parts = Parts(
        wanted=wanted,
        decide=decide,
        cluster=cluster,
        store=store,
        lease=lease,
        gateways=gateways,
        source=source,
        own_secrets=OwnSecrets(cluster, settings),
        gatherer=gatherer,
        applier=applier,
        metrics=metrics,
    )
    loop = Loop(parts, alarm, on_reappearance=lambda: watch.restart())  # noqa: PLW0108 - made below
    watch = Watch(settings, store, on_restart=loop.relist_soon)

    def why_dead() -> str:
        # A silent watch is only ours to mend while the API server speaks to us.
        silent = time.monotonic() - watch.last_beat
        answers = time.monotonic() - cluster.last_answer < WATCH_SILENCE_SECONDS
        watch_dead = (
            f"the watch has stood still for {silent:.0f} s" if answers and silent > WATCH_SILENCE_SECONDS else ""
        )
        return loop.why_dead() or watch_dead

    health = Health(dead=why_dead, unready=loop.why_unready)
    runner = await serve_health(metrics, health, host=settings.health_host, port=settings.health_port)
    exits.push_async_callback(runner.cleanup)
    metrics.last_turn_age.set_function(lambda: loop.last_turn_age_seconds)
    for kind in WATCHED:
        metrics.store_objects.labels(kind.name).set_function(partial(_number_of, store, kind))
    metrics.watch_restarts.set_function(lambda: watch.restarts)
    watch.start()
    exits.push_async_callback(watch.stop)
    exits.push_async_callback(lease.release)
    return loop


def _number_of(store: Store, kind: Kind) -> float:
    return len(store.objects(kind))


def _source(settings: Settings, gatherer: Gatherer) -> MeasurementSource:
    if settings.prometheus is not None:
        prometheus = Prometheus(settings.prometheus)
        prometheus.start()
        return prometheus
    if settings.metrics_source is MetricsKind.GATEWAYS:
        scrapes = GatewayScrapes(
            lambda: [f"{endpoint.host}:{settings.gateway_metrics_port}" for endpoint in gatherer.gateways()],
            interval_seconds=settings.scrape_interval_seconds,
        )
        scrapes.start()
        return scrapes
    return NoSource()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    main()

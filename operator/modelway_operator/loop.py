"""The turn: gather, decide, apply; and when it comes.

Rule: one turn at a time, woken by change (debounced) or by the tick, never by a timer of one object. Whether this
replica may act is asked of the lease again after every wait, since a decision can take longer than a lease lasts.
"""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from modelway_contract import codec
from modelway_contract.config import Push
from modelway_operator.apply import Applier
from modelway_operator.clients.certificates import Identity, client_context
from modelway_operator.clients.cluster import Cluster
from modelway_operator.clients.gateways import Endpoint, Gateways
from modelway_operator.clients.lease import Lease, Role
from modelway_operator.clients.metrics import MeasurementSource
from modelway_operator.clients.own_secrets import OwnSecrets
from modelway_operator.clients.probes import Probes
from modelway_operator.core.memory import Memory
from modelway_operator.core.plan import Plan, Wanted
from modelway_operator.core.snapshot import Snapshot
from modelway_operator.errors import ClusterError, OperatorError
from modelway_operator.gather import Gatherer, gather_config_maps, gather_lists
from modelway_operator.kinds import CONFIG_MAP, WATCHED, Kind
from modelway_operator.store import Store
from modelway_operator.telemetry import Metrics

TICK_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 0.02
"""A burst of changes is waited out for so long after its last one..."""
LONGEST_BURST_SECONDS: Final = 0.2
"""...and for so long altogether."""
RELIST_SECONDS: Final = 60.0
RELIST_AGAIN_SECONDS: Final = 3.0
MEET_SECONDS: Final = 2.5
BUNDLE_SECONDS: Final = 10.0
CERTIFICATES_SECONDS: Final = 3600.0
CERTIFICATES_AGAIN_SECONDS: Final = 60.0
OUTBID_SECONDS: Final = 60.0
"""Two operators that both lead outbid each other no sooner again than this..."""
RELENT_SECONDS: Final = 3600.0
"""...then twice as late each time, up to this."""
STANDSTILL_SECONDS: Final = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that a turn uses; the two functions are `core`'s."""

    wanted: Callable[[Snapshot], Wanted]
    decide: Callable[[Snapshot], Plan]
    cluster: Cluster
    store: Store
    lease: Lease
    gateways: Gateways
    source: MeasurementSource
    own_secrets: OwnSecrets
    gatherer: Gatherer
    applier: Applier
    metrics: Metrics


class Alarm:
    """Wakes the loop; everything that may change the next decision rings it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rung = asyncio.Event()
        self._rung_at = 0.0

    def ring(self) -> None:
        """Something changed."""
        self._rung_at = self._clock()
        self._rung.set()

    async def wait(self) -> None:
        """Return when it was rung and the burst is over, or at the tick."""
        try:
            # Not wait_for: before Python 3.12 it loses a cancel that comes together with the event.
            async with asyncio.timeout(TICK_SECONDS):
                await self._rung.wait()
        except TimeoutError:
            return
        ends = self._clock() + LONGEST_BURST_SECONDS
        quiet = QUIET_SECONDS
        while quiet > 0 and self._clock() < ends:
            await asyncio.sleep(quiet)
            quiet = self._rung_at + QUIET_SECONDS - self._clock()
        self._rung.clear()


class Loop:
    """Turns, for as long as the process lives."""

    def __init__(
        self,
        parts: Parts,
        alarm: Alarm,
        *,
        on_reappearance: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._parts = parts
        self._on_reappearance = on_reappearance
        self._clock = clock
        self._wall_clock = wall_clock
        self._alarm = alarm
        self._relist_due = asyncio.Event()
        self._absent: frozenset[Kind] = frozenset()
        self._leads_epoch: int | None = None
        self._pushed: Push | None = None
        self._models_before = 0
        self._outbid_from = 0.0
        self._outbid_pause_seconds = OUTBID_SECONDS
        self._memory = Memory()
        self._warm_for: tuple[int, ...] = ()
        self._certificates_due = 0.0
        self._identity: Identity | None = None
        self._bundle: Push | None = None
        self._saved: tuple[str, int] | None = None
        self._saved_at: float | None = None
        self._probes = Probes(parts.gateways, on_answer=alarm.ring, clock=clock)
        self._told: frozenset[str] = frozenset()
        self._refused: str | None = None
        self._turned_at = clock()

    def relist_soon(self) -> None:
        """Events may have been lost."""
        self._relist_due.set()

    @property
    def last_turn_age_seconds(self) -> float:
        """How long ago a turn ended."""
        return self._clock() - self._turned_at

    def why_dead(self) -> str:
        """Empty while turns come."""
        stands = self.last_turn_age_seconds
        return f"the loop has stood still for {stands:.0f} s" if stands > STANDSTILL_SECONDS else ""

    def why_unready(self) -> str:
        """Empty once everything was listed; a standby is ready too."""
        return "" if self._parts.store.is_complete else "not everything was listed yet"

    async def run(self) -> None:
        """Turn until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_listed(), name="relist")
            tasks.create_task(self._parts.lease.run(), name="lease")
            tasks.create_task(self._keep_turning(), name="turns")

    async def turn(self) -> None:
        """One turn."""
        parts, role = self._parts, self._parts.lease.role
        if not parts.store.is_complete:
            return
        if role is Role.FOLLOWING:
            self._step_down()
            await self._stay_warm()
            return
        if role is Role.LEADING and not await self._lead():
            return
        if self._leads_epoch is None:
            return
        parts.gateways.set_endpoints(parts.gatherer.gateways())
        plan = await self._decide()
        if plan.shrunk:
            logger.warning("most models are gone; listing everything again before that is believed")
            if not (await gather_lists(parts.store, parts.cluster, clock=self._clock)).whole:
                return
            plan = await self._decide()
        await self._apply(plan)

    async def _lead(self) -> bool:
        """Have what a leader needs: certificates, the gateways' word, and an epoch above all that were."""
        parts = self._parts
        if self._clock() >= self._certificates_due:
            self._certificates_due = self._clock() + await self._keep_identity()
        bundle = None
        if self._leads_epoch is None:
            # A watch may have stood still unnoticed for a minute: what the last leader knew must not be taken back.
            if not (await gather_lists(parts.store, parts.cluster, clock=self._clock)).answered:
                return False
            parts.gateways.set_endpoints(parts.gatherer.gateways())
            await parts.gateways.meet(within_seconds=MEET_SECONDS)
            bundle = await parts.own_secrets.read_bundle()
            self._bundle = bundle
            self._saved = None if bundle is None else _bundle_key(bundle)
            self._models_before = len(bundle.base.models) if bundle is not None and bundle.base is not None else 0
        seen = [report.ack.epoch for report in parts.gateways.reports() if report.ack is not None]
        seen += [report.fenced.epoch for report in parts.gateways.reports() if report.fenced is not None]
        highest = max([*seen, bundle.live.epoch if bundle is not None else 0])
        fenced = any(report.fenced is not None for report in parts.gateways.reports())
        is_outbid = highest > parts.lease.epoch or (fenced and highest == parts.lease.epoch)
        if self._leads_epoch is None or (is_outbid and self._may_outbid()):
            await parts.lease.raise_epoch(highest)
        if self._leads_epoch != parts.lease.epoch:
            self._leads_epoch, self._pushed = parts.lease.epoch, None
            logger.info("leading", extra={"epoch": parts.lease.epoch})
        return parts.lease.role is Role.LEADING

    def _may_outbid(self) -> bool:
        """Whether to take a higher epoch than somebody who pushed under a higher one than ours.

        At once the first time. One who bids again has a Lease of his own, which is a mistake of whoever installed him:
        the pauses grow, so that gateways do not go from hand to hand, and whoever bid last is left in peace.
        """
        now, pause = self._clock(), self._outbid_pause_seconds
        if now < self._outbid_from:
            return False
        self._outbid_pause_seconds = (
            OUTBID_SECONDS if now > self._outbid_from + pause else min(2 * pause, RELENT_SECONDS)
        )
        self._outbid_from = now + self._outbid_pause_seconds
        logger.error("another operator pushes to these gateways", extra={"epoch": self._parts.lease.epoch})
        return True

    async def _keep_identity(self) -> float:
        """Renew what is due; when to look again."""
        now = dt.datetime.fromtimestamp(self._wall_clock(), dt.UTC)
        try:
            identity = await self._parts.own_secrets.keep_identity(now)
        except ClusterError as exc:
            if self._leads_epoch is None:
                raise
            # What there is will do for weeks; traffic must be moved now.
            logger.warning("the internal certificates were not looked at", extra={"error": str(exc)})
            return CERTIFICATES_AGAIN_SECONDS
        if identity != self._identity:
            await self._parts.gateways.set_identity(client_context(identity))
            self._identity = identity
        return CERTIFICATES_SECONDS

    async def _stay_warm(self) -> None:
        """Compile what a leader would and keep it, so that taking over costs a push and no compilation."""
        parts = self._parts
        seen = tuple(parts.store.changes(kind) for kind in (*WATCHED, CONFIG_MAP))
        if seen == self._warm_for:
            return
        snapshot, asks = await self._ask(replace(parts.gatherer.snapshot(now=self._wall_clock()), memory=self._memory))
        self._memory = (
            await asyncio.to_thread(parts.decide, replace(snapshot, memory=asks.memory))
        ).memory.of_a_standby()
        self._warm_for = seen

    def _step_down(self) -> None:
        if self._leads_epoch is not None:
            logger.info("following")
            self._memory, self._warm_for = self._memory.of_a_standby(), ()
        self._leads_epoch = self._pushed = None
        self._certificates_due = 0.0
        self._parts.gateways.propose(None)
        self._parts.gateways.set_endpoints(())

    async def _decide(self) -> Plan:
        parts = self._parts
        snapshot, asks = await self._ask(replace(self._snapshot(), memory=self._memory))
        complete = replace(
            snapshot,
            measurements=await parts.source.fetch(asks.measurements),
            probes=self._probes.answers(asks.probes, self._ready_endpoints()),
            source=parts.source.health,
            memory=asks.memory,
        )
        plan = await asyncio.to_thread(parts.decide, complete)
        self._memory = plan.memory
        self._tell(plan)
        return plan

    async def _ask(self, snapshot: Snapshot) -> tuple[Snapshot, Wanted]:
        """What the decision needs beyond this, and the snapshot with the ConfigMaps among it."""
        parts = self._parts
        # In threads, since large configs take a while and the lease must be renewed meanwhile.
        asks = await asyncio.to_thread(parts.wanted, snapshot)
        parts.store.keep_config_maps(asks.config_maps)
        unread = parts.store.unread_config_maps(asks.config_maps)
        if unread:
            await gather_config_maps(parts.store, parts.cluster, unread)
        return replace(snapshot, config_maps=parts.gatherer.snapshot(now=snapshot.now).config_maps), asks

    def _snapshot(self) -> Snapshot:
        parts = self._parts
        return replace(
            parts.gatherer.snapshot(now=self._wall_clock()),
            replicas=parts.gatherer.replicas(parts.gateways.reports(), clock=parts.gateways.clock()),
            epoch=self._leads_epoch or 1,
            pushed=self._pushed,
            bundle=self._bundle,
            models_before=self._models_before,
        )

    def _ready_endpoints(self) -> list[Endpoint]:
        ready = self._parts.gatherer.gateways()
        return [
            report.endpoint
            for report in self._parts.gateways.reports()
            if ready.get(report.endpoint) and report.ack is not None and not report.error
        ]

    async def _apply(self, plan: Plan) -> None:
        parts = self._parts
        match parts.lease.role:
            case Role.LEADING if parts.lease.epoch == self._leads_epoch:
                self._pushed = await parts.applier.apply_plan(plan) or self._pushed
                await self._save_bundle()
            case Role.CUT_OFF:
                self._pushed = await parts.applier.apply_decreases(plan) or self._pushed

    async def _save_bundle(self) -> None:
        push = self._pushed
        waited = self._saved_at is None or self._clock() - self._saved_at >= BUNDLE_SECONDS
        if push is None or not waited or self._parts.lease.role is not Role.LEADING:
            return
        key = _bundle_key(push)
        reports = self._parts.gateways.reports()
        # A config that gateways refuse would keep new ones from starting.
        taken = not reports or any(report.ack is not None and report.ack.base == push.base_digest for report in reports)
        if key == self._saved or not taken:
            return
        self._saved_at = self._clock()
        if await self._parts.own_secrets.save_bundle(push):
            self._saved = key

    async def _keep_turning(self) -> None:
        while True:
            await self._alarm.wait()
            started, result = self._clock(), "failed"
            try:
                await self.turn()
                result = "ok"
            except ClusterError as exc:
                logger.warning("a turn was not finished", extra={"error": str(exc)})
            except (OperatorError, codec.ContractError):
                logger.exception("a turn failed")
            except Exception:
                # Whatever it was, the next turn sees the world anew; standing still helps nobody.
                logger.exception("a turn failed unexpectedly")
            self._turned_at = self._clock()
            self._parts.metrics.turns.labels(result).inc()
            self._parts.metrics.turn_seconds.observe(self._turned_at - started)
            self._show()

    async def _keep_listed(self) -> None:
        parts = self._parts
        while True:
            self._relist_due.clear()
            relisted = await gather_lists(parts.store, parts.cluster, clock=self._clock)
            parts.metrics.watch_missed.inc(relisted.missed)
            if self._absent - relisted.absent:
                # kopf watches only what was there when it started.
                logger.info("a kind is there again", extra={"kinds": sorted(one.name for one in self._absent)})
                self._on_reappearance()
            self._absent = relisted.absent
            try:
                pause = RELIST_SECONDS if relisted.whole else RELIST_AGAIN_SECONDS
                async with asyncio.timeout(pause):
                    await self._relist_due.wait()
            except TimeoutError:
                continue

    def _tell(self, plan: Plan) -> None:
        standing = frozenset(f"{one.about}: {one.reason}: {one.message}" for one in plan.findings)
        for finding in sorted(standing - self._told):
            logger.info("a finding", extra={"finding": finding})
        self._told = standing
        if plan.refused and plan.refused != self._refused:
            logger.error("the config is refused", extra={"reason": plan.refused})
        self._refused = plan.refused
        counts, show = plan.counts, self._parts.metrics.objects
        show.labels("LLMModel", "all").set(counts.models)
        show.labels("LLMModel", "accepted").set(counts.models_accepted)
        show.labels("RoutingPolicy", "all").set(counts.policies)
        show.labels("RoutingPolicy", "accepted").set(counts.policies_accepted)
        self._parts.metrics.compiled.inc(counts.compiled)
        self._parts.metrics.config_bytes.set(counts.config_bytes)

    def _show(self) -> None:
        parts, metrics = self._parts, self._parts.metrics
        metrics.show(metrics.role, {role.value: float(role is parts.lease.role) for role in Role})
        metrics.epoch.set(parts.lease.epoch)
        replicas = parts.gatherer.replicas(parts.gateways.reports(), clock=parts.gateways.clock())
        metrics.show(
            metrics.gateways,
            {
                "known": len(replicas),
                "ready": sum(replica.ready for replica in replicas),
                "live": sum(replica.live for replica in replicas),
                "rejecting": sum(replica.rejected is not None for replica in replicas),
            },
        )
        health = parts.source.health
        metrics.metrics_available.set(health.available)
        metrics.clock_skew.set(health.clock_skew_seconds)
        metrics.is_leader.set(parts.lease.role is Role.LEADING)
        # Only who acts shows rollouts, or two replicas would count each end twice.
        metrics.rollouts.show(parts.gatherer.rollouts() if self._leads_epoch is not None else ())


def _bundle_key(push: Push) -> tuple[str, int]:
    return codec.revision(push), push.live.epoch

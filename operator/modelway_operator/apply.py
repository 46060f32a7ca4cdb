"""Carrying out a plan, in the order that keeps its promises: down, written, up.

Rule: what takes traffic from a candidate goes out before anything is written; what gives it traffic goes out only when
the status that says so is in the API server. One object's failure keeps no other object from being written and no
other policy's traffic from rising.
"""

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from modelway_contract.config import Push, Split
from modelway_operator.clients.cluster import Cluster
from modelway_operator.clients.events import Events
from modelway_operator.clients.gateways import Gateways
from modelway_operator.core.findings import Event, ObjectRef
from modelway_operator.core.findings import Kind as ObjectKind
from modelway_operator.core.plan import Plan, SecretWrite, StatusWrite
from modelway_operator.errors import ClusterError, ConflictError, NotFoundError
from modelway_operator.kinds import LLM_MODEL, ROUTING_POLICY, SECRET, Kind, Raw
from modelway_operator.store import Store
from modelway_operator.telemetry import Metrics

SETTLE_SECONDS: Final = 1.0
"""How long writing waits for gateways to take a candidate's traffic away; one that hangs is not waited for longer."""

WRITE_SECONDS: Final = 1.0
"""How long a turn begins writes: with thousands to write, the next turn's decreases must not wait for all of them."""
WRITERS: Final = 8

KINDS: Final[dict[ObjectKind, Kind]] = {
    ObjectKind.LLM_MODEL: LLM_MODEL,
    ObjectKind.ROUTING_POLICY: ROUTING_POLICY,
    ObjectKind.SECRET: SECRET,
}

W = TypeVar("W")

logger = logging.getLogger(__name__)


class Applier:
    """Carries out plans, as long as `may_write` says that this replica is the one to do so."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        gateways: Gateways,
        events: Events,
        metrics: Metrics,
        may_write: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._gateways = gateways
        self._events = events
        self._metrics = metrics
        self._may_write = may_write
        self._clock = clock

    async def apply_decreases(self, plan: Plan) -> Push | None:
        """Only take traffic away: all that an operator without an API server may still do."""
        if plan.push_first is None:
            return None
        self._gateways.propose(plan.push_first)
        await self._gateways.settle(within_seconds=SETTLE_SECONDS)
        return plan.push_first

    async def apply_plan(self, plan: Plan) -> Push | None:
        """Do all of it that can be done now; what the gateways were offered last, None where that was nothing."""
        pushed = await self.apply_decreases(plan)
        ends = self._clock() + WRITE_SECONDS
        unwritten = await self._write_all(plan.secrets, self._write_secret, _owner, ends)
        # A status may refer to what the Secret remembers, so it waits for that. Policies come first: they announce.
        ready = [status for status in plan.statuses if status.about not in unwritten]
        ready.sort(key=lambda status: status.about.kind is not ObjectKind.ROUTING_POLICY)
        unwritten |= await self._write_all(ready, self._write_status, _about, ends)
        if plan.push is not None and self._may_write():
            before = plan.push_first or self._gateways.offered
            pushed = held_back(plan.push, before, unwritten)
            self._gateways.propose(pushed)
        await self._write_all(plan.events, self._tell, _subject, self._clock() + WRITE_SECONDS)
        return pushed

    async def _write_all(
        self,
        writes: Iterable[W],
        write: Callable[[W], Awaitable[bool]],
        subject: Callable[[W], ObjectRef],
        ends: float,
    ) -> set[ObjectRef]:
        """Write a few at a time until the time is over; the subjects of what was not written."""
        slots, unwritten = asyncio.Semaphore(WRITERS), set()

        async def one(item: W) -> None:
            async with slots:
                if self._clock() >= ends or not self._may_write() or not await write(item):
                    unwritten.add(subject(item))

        await asyncio.gather(*(one(item) for item in writes))
        return unwritten

    async def _tell(self, event: Event) -> bool:
        return self._count("event", done=await self._events.tell(event))

    async def _write_secret(self, write: SecretWrite) -> bool:
        body: Raw = {
            "metadata": {
                "namespace": write.namespace,
                "name": write.name,
                "labels": dict(write.labels),
                "ownerReferences": [
                    {
                        "apiVersion": write.owner.kind.api_version,
                        "kind": str(write.owner.kind),
                        "name": write.owner.name,
                        "uid": write.owner.uid,
                        "controller": True,
                        "blockOwnerDeletion": False,
                    }
                ],
            },
            "type": "Opaque",
            "data": encoded_secret(write.data),
        }
        try:
            self._store.put(SECRET, await self._cluster.apply_object(SECRET, body))
        except NotFoundError:
            # Its namespace is gone, and so is its owner.
            return True
        except ClusterError as exc:
            return self._failed("secret", f"{write.namespace}/{write.name}", exc)
        return self._count("secret", done=True)

    async def _write_status(self, write: StatusWrite) -> bool:
        about, kind = write.about, KINDS[write.about.kind]
        try:
            answer = await self._cluster.apply_status(
                kind,
                namespace=about.namespace,
                name=about.name,
                resource_version=write.resource_version,
                status=write.status,
            )
        except NotFoundError:
            # It was deleted meanwhile; nobody is left to tell.
            return True
        except ConflictError as exc:
            await self._read_again(kind, about.namespace, about.name, about.uid)
            return self._failed("status", str(about), exc)
        except ClusterError as exc:
            return self._failed("status", str(about), exc)
        self._store.put(kind, answer)
        return self._count("status", done=True)

    async def _read_again(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        began = self._clock()
        try:
            raw = await self._cluster.get_object(kind, namespace, name)
        except ClusterError:
            return
        if raw is None or raw["metadata"]["uid"] != uid:
            self._store.discard(kind, uid)
        if raw is not None:
            self._store.put_read(kind, raw, began=began)

    def _count(self, what: str, *, done: bool) -> bool:
        self._metrics.writes.labels(what, "ok" if done else "failed").inc()
        return done

    def _failed(self, what: str, name: str, exc: ClusterError) -> bool:
        logger.warning("a write failed", extra={"what": what, "object": name, "error": str(exc)})
        return self._count(what, done=False)


def held_back(push: Push, before: Push | None, unannounced: Collection[ObjectRef]) -> Push:
    """The push without the rises of those policies whose status does not stand; the one before where that is all."""
    places = {(ref.namespace, ref.name) for ref in unannounced if ref.kind is ObjectKind.ROUTING_POLICY}
    shares = {_place(split): split.share for split in before.live.state.splits} if before is not None else {}
    splits = tuple(
        msgspec.structs.replace(split, share=min(split.share, shares.get(_place(split), 0)))
        if (split.namespace, split.policy) in places
        else split
        for split in push.live.state.splits
    )
    if splits == push.live.state.splits:
        return push
    if before is not None and splits == before.live.state.splits:
        return before
    state = msgspec.structs.replace(push.live.state, splits=splits)
    return msgspec.structs.replace(push, live=msgspec.structs.replace(push.live, state=state))


def _place(split: Split) -> tuple[str, ...]:
    return split.namespace, split.policy, split.rule, split.target, split.rollout_id


def _owner(write: SecretWrite) -> ObjectRef:
    return write.owner


def _about(write: StatusWrite) -> ObjectRef:
    return write.about


def _subject(event: Event) -> ObjectRef:
    return event.about


def encoded_secret(data: Mapping[str, bytes]) -> dict[str, str]:
    """Data of a Secret as the API server wants it."""
    return {name: base64.b64encode(value).decode() for name, value in data.items()}

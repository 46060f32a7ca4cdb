"""Which operator acts: one Lease, its holder, and the epoch that fences every push of a former holder.

Rule: time is the monotonic clock of this process only. The times in the Lease are for people; a record that has not
changed for `LEASE_SECONDS` while we watched belongs to nobody, and a holder that has not renewed for
`RENEW_DEADLINE_SECONDS` has stopped acting well before that.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import time
import uuid
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from modelway_contract import names
from modelway_operator.clients.cluster import Cluster
from modelway_operator.errors import ClusterError, ConflictError, NotFoundError, UnreachableError
from modelway_operator.kinds import LEASE, Raw

LEASE_SECONDS: Final = 15
RENEW_DEADLINE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 1.0
"""How often one that does not lead looks: a lease that was given back is not to lie about."""
EPOCH_ANNOTATION: Final = f"{names.GROUP}/epoch"

logger = logging.getLogger(__name__)


class Role(StrEnum):
    """What this replica may do now."""

    LEADING = "leading"
    """Everything."""
    CUT_OFF = "cut-off"
    """It led, and the API server has not answered since: only take traffic away from candidates."""
    FOLLOWING = "following"
    """Nothing but watch."""


class Lease:
    """This replica's part in the election; `run` keeps it going, everything else only asks."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        # A container that was restarted keeps its pod's name, but must not take itself for its predecessor.
        self._identity = f"{identity}_{uuid.uuid4().hex[:8]}"
        self._clock = clock
        self._on_change = on_change
        self._record: Raw | None = None
        self._record_seen_at = 0.0
        self._renewed_at: float | None = None
        self._unanswered = False
        self._last_role = Role.FOLLOWING
        self._lock = asyncio.Lock()
        self.epoch = 0
        """The epoch that this replica's pushes carry; 0 before it ever led."""

    @property
    def identity(self) -> str:
        """This process in the Lease."""
        return self._identity

    @property
    def role(self) -> Role:
        """What this replica may do at this very moment."""
        if self._renewed_at is None:
            return Role.FOLLOWING
        if self._clock() - self._renewed_at < RENEW_DEADLINE_SECONDS:
            return Role.LEADING
        return Role.CUT_OFF if self._unanswered else Role.FOLLOWING

    async def run(self) -> None:
        """Take part until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(RETRY_SECONDS if self.role is Role.LEADING else LOOK_SECONDS)

    async def step(self) -> None:
        """Renew, watch or take over, once."""
        async with self._lock:
            try:
                await self._step()
            except UnreachableError as exc:
                self._unanswered = True
                logger.warning("the lease was not renewed", extra={"error": str(exc)})
            except ClusterError as exc:
                self._unanswered = False
                logger.warning("the lease was not renewed", extra={"error": str(exc)})
            else:
                self._unanswered = False
            self._tell()

    async def raise_epoch(self, above: int) -> int:
        """Make this leader's epoch higher than `above`, and write it down before it is used.

        Raises ClusterError; the old epoch stands then.
        """
        async with self._lock:
            if above < self.epoch:
                return self.epoch
            if self.role is not Role.LEADING or self._record is None:
                raise ConflictError("this replica does not hold the lease")
            await self._write(self._record, epoch=above + 1)
            return self.epoch

    async def release(self) -> None:
        """Let the next replica take over at once; used on the way out."""
        async with self._lock:
            if self.role is not Role.LEADING or self._record is None:
                return
            spec = {**self._record["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
            self._renewed_at = None
            with contextlib.suppress(ClusterError):
                await self._cluster.replace_object(LEASE, {**self._record, "spec": spec})
            self._tell()

    async def _step(self) -> None:
        if self._renewed_at is not None and self._record is not None and self._holds(self._record):
            try:
                await self._write(self._record, epoch=self.epoch)
            except (ConflictError, NotFoundError):
                # Somebody wrote to it, perhaps only a person who set a label, or deleted it.
                logger.info("the lease was changed by somebody else")
            else:
                return
        record = await self._cluster.get_object(LEASE, self._namespace, self._name)
        now = self._clock()
        if record is None:
            await self._create()
            return
        if self._record is None or _version(record) != _version(self._record):
            self._record_seen_at = now
        self._record = record
        if self._renewed_at is not None and self._holds(record):
            await self._write(record, epoch=self.epoch)
        elif self._is_free(record, now):
            await self._take(record)
        else:
            self._renewed_at = None

    async def _create(self) -> None:
        started = self._clock()
        epoch = self.epoch + 1
        metadata = {"name": self._name, "namespace": self._namespace, "annotations": {EPOCH_ANNOTATION: str(epoch)}}
        spec = {**self._spec(), "acquireTime": _now(), "leaseTransitions": 0}
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}
        self._renewed_at = None
        with contextlib.suppress(ConflictError):
            self._adopt(await self._cluster.create_object(LEASE, self._namespace, body), started, epoch)

    async def _take(self, record: Raw) -> None:
        epoch = max(self.epoch, _epoch_of(record)) + 1
        acquired = {"acquireTime": _now(), "leaseTransitions": int(record["spec"].get("leaseTransitions") or 0) + 1}
        self._renewed_at = None
        # A conflict means that the other one was faster, or is alive after all.
        with contextlib.suppress(ConflictError):
            await self._write({**record, "spec": {**record["spec"], **acquired}}, epoch=epoch)

    async def _write(self, record: Raw, *, epoch: int) -> None:
        # Counted from before the request was sent: the others count from when they see it.
        started = self._clock()
        metadata = record["metadata"]
        annotations = {**(metadata.get("annotations") or {}), EPOCH_ANNOTATION: str(epoch)}
        body = {
            **record,
            "metadata": {**metadata, "annotations": annotations},
            "spec": {**record["spec"], **self._spec()},
        }
        self._adopt(await self._cluster.replace_object(LEASE, body), started, epoch)

    def _adopt(self, record: Raw, renewed_at: float, epoch: int) -> None:
        self._record = record
        self._record_seen_at = self._clock()
        self._renewed_at = renewed_at
        self.epoch = epoch

    def _spec(self) -> dict[str, Any]:
        return {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": _now()}

    def _holds(self, record: Raw) -> bool:
        return bool(record["spec"].get("holderIdentity") == self._identity)

    def _is_free(self, record: Raw, now: float) -> bool:
        if not record["spec"].get("holderIdentity"):
            return True
        lasts = max(int(record["spec"].get("leaseDurationSeconds") or LEASE_SECONDS), 1)
        return now - self._record_seen_at >= lasts

    def _tell(self) -> None:
        role = self.role
        if role is not self._last_role:
            self._last_role = role
            logger.info("the role changed", extra={"role": role.value, "epoch": self.epoch})
            self._on_change()


def _version(record: Raw) -> tuple[str, str]:
    return record["metadata"].get("uid", ""), record["metadata"].get("resourceVersion", "")


def _epoch_of(record: Raw) -> int:
    text = (record["metadata"].get("annotations") or {}).get(EPOCH_ANNOTATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

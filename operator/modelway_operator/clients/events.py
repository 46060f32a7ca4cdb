"""Kubernetes Events: each transition told once, and never so many that they are a load.

Rule: an Event is a courtesy. It may be lost and it delays nothing.
"""

import datetime as dt
import hashlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from modelway_operator.clients.cluster import FIELD_MANAGER, Cluster
from modelway_operator.core.findings import Event
from modelway_operator.errors import ClusterError
from modelway_operator.kinds import EVENT

SAME_SECONDS: Final = 600.0
"""The same Event about the same object within this time is told once."""
PER_MINUTE: Final = 120
REMEMBERED: Final = 4096
MAX_MESSAGE: Final = 1024

logger = logging.getLogger(__name__)


class Events:
    """Writes Events."""

    def __init__(self, cluster: Cluster, *, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._instance = instance
        self._clock = clock
        self._told: OrderedDict[str, float] = OrderedDict()
        self._lately: deque[float] = deque()

    async def tell(self, event: Event) -> bool:
        """Write it, unless it was told lately or too much is being told; whether nothing went wrong."""
        now = self._clock()
        parts = (event.about.uid, event.severity, event.reason, event.message)
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        if digest in self._told and now - self._told[digest] < SAME_SECONDS:
            return True
        while self._lately and now - self._lately[0] > 60:
            self._lately.popleft()
        if len(self._lately) >= PER_MINUTE:
            logger.warning("too many Events", extra={"about": str(event.about), "reason": event.reason})
            return False
        self._lately.append(now)
        self._told[digest] = now
        self._told.move_to_end(digest)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return await self._write(event, digest)

    async def _write(self, event: Event, digest: str) -> bool:
        about, moment = event.about, dt.datetime.now(dt.UTC)
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {
                "namespace": about.namespace,
                "name": f"{about.name[:200]}.{digest}{int(moment.timestamp() * 1000):x}",
            },
            "involvedObject": {
                "apiVersion": about.kind.api_version,
                "kind": str(about.kind),
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "type": str(event.severity),
            "reason": event.reason[:128],
            "message": event.message[:MAX_MESSAGE],
            "count": 1,
            "firstTimestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lastTimestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance[:128],
        }
        try:
            await self._cluster.create_object(EVENT, about.namespace, body)
        except ClusterError as exc:
            logger.warning("an Event was not written", extra={"about": str(about), "error": str(exc)})
            return False
        return True

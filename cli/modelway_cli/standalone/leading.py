"""What stands for the Lease and the installation's own Secrets, neither of which one process needs.

Rule: the lock on the state folder is the lease. Whoever holds it leads, from the first turn to the last, under an epoch
above those of all who held it before.
"""

import asyncio
import datetime as dt

from modelway_contract.config import Push
from modelway_operator.clients import certificates
from modelway_operator.clients.certificates import Identity
from modelway_operator.clients.cluster import Cluster
from modelway_operator.clients.lease import Lease, Role
from modelway_operator.clients.own_secrets import OwnSecrets
from modelway_operator.settings import Settings


class SoleLeader(Lease):
    """Always leads."""

    def __init__(self, cluster: Cluster, settings: Settings, *, epoch: int) -> None:
        super().__init__(cluster, namespace=settings.namespace, name=settings.lease, identity=settings.identity)
        self.epoch = epoch

    @property
    def role(self) -> Role:
        """Leading."""
        return Role.LEADING

    async def run(self) -> None:
        """There is nothing to renew."""
        await asyncio.Event().wait()

    async def step(self) -> None:
        """There is nothing to renew."""

    async def raise_epoch(self, above: int) -> int:
        """Go above what the gateway has seen."""
        self.epoch = max(self.epoch, above + 1)
        return self.epoch

    async def release(self) -> None:
        """The lock goes with the process."""


class NoOwnSecrets(OwnSecrets):
    """No certificates, since nothing here speaks TLS with itself, and no bundle, since it would hold keys."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        super().__init__(cluster, settings)
        self._identity: Identity | None = None

    async def keep_identity(self, now: dt.datetime) -> Identity:
        """One made up once; it is shown to nobody."""
        if self._identity is None:
            self._identity = certificates.renew({}, {}, now=now)
        return self._identity

    async def read_bundle(self) -> Push | None:
        """There is none."""
        return None

    async def save_bundle(self, push: Push) -> bool:
        """It is not needed: the manifests and the state folder make the same config again."""
        del push
        return True

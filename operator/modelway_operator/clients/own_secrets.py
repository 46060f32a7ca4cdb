"""The installation's own Secrets: the internal certificates, and the bundle that gateways boot from.

Rule: each is read before it is written and written only when it differs, so that at rest nothing is. The Lease owns
them: the chart makes it, so an uninstall removes it, and the cluster then removes them.
"""

import asyncio
import base64
import datetime as dt
import logging
from collections.abc import Mapping
from typing import Final

from modelway_contract import codec
from modelway_contract.config import Push
from modelway_contract.names import BUNDLE_KEY
from modelway_operator.clients import certificates
from modelway_operator.clients.certificates import Identity
from modelway_operator.clients.cluster import FIELD_MANAGER, Cluster
from modelway_operator.kinds import LEASE, SECRET, Raw
from modelway_operator.settings import Settings

MAX_BUNDLE_BYTES: Final = 1_000_000
"""A Secret holds a mebibyte, base64 not counted, names and labels counted."""

logger = logging.getLogger(__name__)


class OwnSecrets:
    """Reads and writes them, by name."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings

    async def keep_identity(self, now: dt.datetime) -> Identity:
        """The certificates as they have to be now, and as they are stored from now on."""
        ca, tls = self._settings.ca_secret, self._settings.tls_secret
        stored_ca, stored_tls = await self._read(ca), await self._read(tls)
        identity = certificates.renew(stored_ca, stored_tls, now=now)
        # The authority first: a server's certificate that nobody can check is worse than an old one.
        for name, stored, wanted in (
            (ca, stored_ca, identity.as_ca_secret()),
            (tls, stored_tls, identity.as_tls_secret()),
        ):
            if stored != wanted:
                await self._write(name, wanted)
                logger.info("internal certificates were renewed", extra={"secret": name})
        return identity

    async def read_bundle(self) -> Push | None:
        """The last config that was saved; None where there is none that can be read."""
        packed = (await self._read(self._settings.bundle_secret)).get(BUNDLE_KEY)
        if packed is None:
            return None
        try:
            return codec.unpack(packed)
        except codec.ContractError as exc:
            logger.warning("the bundle cannot be read", extra={"code": exc.code})
            return None

    async def save_bundle(self, push: Push) -> bool:
        """Keep this config for gateways that start while nobody pushes; whether it was small enough."""
        packed = await asyncio.to_thread(codec.pack, push)  # a large one must not stop the loop
        if len(packed) > MAX_BUNDLE_BYTES:
            logger.warning("the config is too large for the bundle", extra={"bytes": len(packed)})
            return False
        await self._write(self._settings.bundle_secret, {BUNDLE_KEY: packed})
        return True

    async def _read(self, name: str) -> dict[str, bytes]:
        raw = await self._cluster.get_object(SECRET, self._settings.namespace, name)
        return {} if raw is None else {key: base64.b64decode(value) for key, value in (raw.get("data") or {}).items()}

    async def _write(self, name: str, data: Mapping[str, bytes]) -> None:
        body: Raw = {
            "metadata": {
                "namespace": self._settings.namespace,
                "name": name,
                "labels": {"app.kubernetes.io/managed-by": FIELD_MANAGER},
                "ownerReferences": await self._owners(),
            },
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        await self._cluster.apply_object(SECRET, body)

    async def _owners(self) -> list[dict[str, str]]:
        lease = await self._cluster.get_object(LEASE, self._settings.namespace, self._settings.lease)
        if lease is None:  # deleted under us: the next write names the one that was made since
            return []
        uid = lease["metadata"]["uid"]
        return [{"apiVersion": LEASE.api_version, "kind": LEASE.name, "name": self._settings.lease, "uid": uid}]

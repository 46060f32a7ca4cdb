"""What every gateway runs, looked at ten times a second by somebody who is not the operator.

The one rule: a sample is what one gateway process said of itself, with the time at which it said so; what was to be
expected is no business of this module.
"""

import asyncio
import base64
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

import aiohttp

from modelway_contract.names import ADMIN_SERVER_NAME, CONFIG_STATUS_PATH

from tests.cluster.api import Api, pods_of

PERIOD_SECONDS = 0.1
ADMIN_PORT = 8443


@dataclass(frozen=True, slots=True)
class Sample:
    """What one gateway said."""

    pod: str
    asked_at: float
    at: float
    """When its answer was here, in seconds since 1970."""
    epoch: int
    sequence: int
    base: str
    credentials: str
    shares: dict[str, int]
    """The candidates' shares in basis points, by rollout id."""


@dataclass(slots=True)
class Sampler:
    """Looks at all gateways of a release until it is stopped."""

    api: Api
    namespace: str
    selector: str = "app.kubernetes.io/component=gateway"
    release: str = "modelway"
    samples: list[Sample] = field(default_factory=list)
    failed_looks: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)
    _addresses: dict[str, str] = field(default_factory=dict)

    def latest(self) -> dict[str, Sample]:
        """The last word of each gateway."""
        return {sample.pod: sample for sample in list(self.samples)}

    @contextmanager
    def sampling(self) -> Iterator["Sampler"]:
        """Sample while the block lasts."""
        self._find_gateways()
        threads = [threading.Thread(target=target, daemon=True) for target in (self._sample, self._keep_finding)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(20)
                assert not thread.is_alive()

    def _find_gateways(self) -> None:
        pods = pods_of(self.api, self.namespace, self.selector)
        self._addresses = {
            pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")
        }

    def _keep_finding(self) -> None:
        while not self._ended.wait(1.0):
            try:
                self._find_gateways()
            except (OSError, HTTPException, AssertionError):
                continue  # the API server is not there: the gateways are where they were

    def _sample(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=1.0)
        connector = aiohttp.TCPConnector(ssl=operator_context(self.api, self.namespace, self.release), limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            due = time.monotonic()
            under_way: dict[str, asyncio.Task[None]] = {}
            while not self._ended.is_set():
                for pod, address in self._addresses.items():
                    if pod not in under_way or under_way[pod].done():
                        under_way[pod] = asyncio.create_task(self._look(session, pod, address))
                due += PERIOD_SECONDS
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.gather(*under_way.values())

    async def _look(self, session: aiohttp.ClientSession, pod: str, address: str) -> None:
        asked_at = time.time()
        url = f"https://{address}:{ADMIN_PORT}{CONFIG_STATUS_PATH}"
        try:
            async with session.get(url, server_hostname=ADMIN_SERVER_NAME) as answer:
                said = await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            said = None
        if said is None:
            self.failed_looks += 1
            return
        self.samples.append(
            Sample(
                pod=pod,
                asked_at=asked_at,
                at=time.time(),
                epoch=said["epoch"],
                sequence=said["sequence"],
                base=said["base"],
                credentials=said["credentials"],
                shares={split["rollout_id"]: split["share"] for split in said.get("splits", ())},
            )
        )


def operator_context(api: Api, namespace: str, release: str) -> ssl.SSLContext:
    """The operator's client certificate: the only one that the admin port admits."""
    stored = api.get(f"/api/v1/namespaces/{namespace}/secrets/{release}-internal-ca")["data"]
    data = {name: base64.b64decode(value) for name, value in stored.items()}
    context = ssl.create_default_context(cadata=data["ca.crt"].decode())
    with tempfile.NamedTemporaryFile() as file:
        file.write(data["tls.crt"] + data["tls.key"])
        file.flush()
        context.load_cert_chain(file.name)
    return context


def as_json(sample: Sample) -> dict[str, Any]:
    """For a record."""
    return {"pod": sample.pod, "at": round(sample.at, 3), "epoch": sample.epoch, "shares": sample.shares}

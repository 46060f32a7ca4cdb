"""Builders of configs (a valid object with one override), and a gateway of its own for each test.

`a_push(...)` is whole and valid; `Ordered` numbers pushes as an operator would.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from modelway_contract import codec
from modelway_contract.config import (
    Backend,
    BackendCredential,
    Base,
    Client,
    Credentials,
    CredentialUse,
    Endpoints,
    Live,
    LiveState,
    Model,
    Policy,
    PublicName,
    Push,
    Rule,
    Scheme,
    Split,
    Target,
    Timeouts,
)
from modelway_gateway.core.prompt.reader import Reader
from modelway_gateway.core.runtime import Runtime, build
from modelway_gateway.core.series import SeriesBook
from modelway_gateway.core.signals import Senses
from modelway_gateway.server import Gateway, running_gateway
from modelway_gateway.settings import Settings

from tests.support.canary import PROMPT, WRITTEN

NAMESPACE = "team"
KEY = "mw-0123456789abcdef-canary-client-key"
TOKEN = "token-for-tests-0123456789"
UPSTREAM_KEY = "sk-upstream-canary-key-42"
TIMEOUTS = Timeouts(connect=2.0, first_token=5.0, idle=5.0, total=30.0)


def a_backend(**changes: Any) -> Backend:
    """One on port 9 of this machine, where nobody listens."""
    fields: dict[str, Any] = {
        "id": "team/llama/main",
        "name": "main",
        "scheme": Scheme.HTTP,
        "host": "127.0.0.1",
        "port": 9,
        "path": "/v1",
        "upstream_model": "simulated",
        "timeouts": TIMEOUTS,
    }
    return Backend(**{**fields, **changes})


def a_model(name: str = "llama", **changes: Any) -> Model:
    """A model with one backend whose id follows from its key."""
    version = changes.pop("version", "v1")
    key = f"{NAMESPACE}/{name}@{version}"
    port = changes.pop("port", 9)
    fields: dict[str, Any] = {
        "key": key,
        "namespace": NAMESPACE,
        "name": name,
        "version": version,
        "public_name": name,
        "backends": (a_backend(id=f"{key}/main", port=port),),
    }
    return Model(**{**fields, **changes})


def a_target(model: Model, **changes: Any) -> Target:
    """All of its weight on one model; with `candidate=` a rollout."""
    candidate: Model | None = changes.pop("candidate", None)
    fields: dict[str, Any] = {"name": "main", "weight": 1, "stable": model.key}
    if candidate is not None:
        fields |= {"candidate": candidate.key, "rollout_id": "rollout-1"}
    return Target(**{**fields, **changes})


def a_rule(*targets: Target, **changes: Any) -> Rule:
    """One that always matches."""
    return Rule(**{"name": "default", "targets": targets, **changes})


def a_policy(*rules: Rule, **changes: Any) -> Policy:
    """One that answers for `chat`."""
    return Policy(**{"namespace": NAMESPACE, "name": "chat", "models": ("chat",), "rules": rules, **changes})


def public(model: Model, **changes: Any) -> PublicName:
    """The model's name, to be called directly."""
    return PublicName(
        **{
            "namespace": model.namespace,
            "name": model.public_name,
            "model": model.key,
            "created": 1700000000,
            **changes,
        }
    )


def a_client(key: str = KEY, **changes: Any) -> Client:
    """A client of the tests' namespace."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return Client(**{"key_sha256": digest, "namespace": NAMESPACE, "name": "alice", **changes})


def a_split(share: int, **changes: Any) -> Split:
    """The candidate's share of the one target."""
    fields: dict[str, Any] = {
        "namespace": NAMESPACE,
        "policy": "chat",
        "rule": "default",
        "target": "main",
        "rollout_id": "rollout-1",
    }
    return Split(**{**fields, "share": share, **changes})


def credentials(*clients: Client, keys: Mapping[str, str] | None = None) -> Credentials:
    """The one client of the tests, unless others are named."""
    keys = keys or {}
    clients = clients or (a_client(),)
    sources = tuple(
        hashlib.sha256(text.encode()).hexdigest()
        for text in (*(f"{name}{value}" for name, value in keys.items()), *(each.key_sha256 for each in clients))
    )
    backends = tuple(BackendCredential(id=name, value=value) for name, value in keys.items())
    return Credentials(sources=sources, backends=backends, clients=clients)


USE_KEY = CredentialUse(id="key", header="Authorization", prefix="Bearer ")


def a_base(*models: Model, policies: tuple[Policy, ...] = (), **changes: Any) -> Base:
    """These models, each to be called directly, and these policies."""
    names = tuple({each.public_name: public(each) for each in models}.values())
    return Base(**{"models": models, "public_names": names, "policies": policies, **changes})


def a_push(
    base: Base,
    *,
    epoch: int = 1,
    sequence: int = 1,
    splits: tuple[Split, ...] = (),
    endpoints: tuple[Endpoints, ...] = (),
    secrets: Credentials | None = None,
) -> Push:
    """A whole push."""
    secrets = secrets or credentials()
    state = LiveState(splits=splits, endpoints=endpoints)
    return Push(
        live=Live(epoch=epoch, sequence=sequence, state=state),
        base_digest=codec.digest_base(base),
        credentials_digest=codec.digest_credentials(secrets),
        base=base,
        credentials=secrets,
    )


def only_live(push: Push) -> Push:
    """The same without the sections that a gateway has already."""
    return msgspec.structs.replace(push, base=None, credentials=None)


def a_runtime(
    base: Base,
    *,
    splits: tuple[Split, ...] = (),
    endpoints: tuple[Endpoints, ...] = (),
    secrets: Credentials | None = None,
    previous: Runtime | None = None,
    book: SeriesBook | None = None,
    reader: Reader | None = None,
    senses: Senses | None = None,
) -> Runtime:
    """What a gateway makes of it, with a plain object for each origin."""
    runtime = build(
        base,
        secrets or credentials(),
        previous,
        make_origin=lambda backend: object(),  # noqa: ARG005 - unchanged backends are told by identity
        senses=senses or Senses(reader=reader, book=book or SeriesBook(), clock=time.perf_counter),
    )
    return runtime.with_live(LiveState(splits=splits, endpoints=endpoints), revision="sha256:test")


def settings(**changes: Any) -> Settings:
    """Loopback, free ports, a token for the admin port."""
    fields: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "metrics_port": 0,
        "admin_host": "127.0.0.1",
        "admin_port": 0,
        "admin_token": TOKEN,
        "pre_stop_seconds": 0.0,
        "grace_seconds": 5.0,
    }
    return Settings(**{**fields, **changes})


class Harness:
    """A gateway, its current push, and a session to talk to it."""

    def __init__(self, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session
        self.epoch = 1
        self._sequence = 0

    async def run(self, base: Base, **live: Any) -> None:
        """Push this as the next config."""
        self._sequence += 1
        await self.gateway.live.apply_push(a_push(base, epoch=self.epoch, sequence=self._sequence, **live))

    async def put(self, push: Push | bytes, **headers: str) -> tuple[int, Any]:
        """`PUT /config` over HTTP."""
        data = push if isinstance(push, bytes) else codec.pack(push)
        headers = {"Authorization": f"Bearer {TOKEN}", **headers}
        async with self.session.put(f"{self.gateway.admin_url}/config", data=data, headers=headers) as answer:
            body = await answer.read()
            return answer.status, msgspec.json.decode(body) if answer.content_type == "application/json" else body

    def chat(self, body: Any = None, **headers: str) -> Any:
        """`POST /v1/chat/completions`, as a context manager."""
        if body is None:
            body = {"model": "chat", "messages": [{"role": "user", "content": PROMPT}]}
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers}
        return self.session.post(f"{self.gateway.client_url}/v1/chat/completions", data=data, headers=headers)

    async def metrics(self) -> dict[str, float]:
        """Every sample by its full name."""
        async with self.session.get(f"{self.gateway.metrics_url}/metrics") as answer:
            text = await answer.text()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    async def requests(self, **labels: str) -> dict[str, float]:
        """Counts by outcome, summed over the series with these labels; only those above 0."""
        found: dict[str, float] = {}
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        for name, value in (await self.metrics()).items():
            if name.startswith("modelway_requests_total{") and all(each in name for each in wanted) and value:
                outcome = name.partition('outcome="')[2].partition('"')[0]
                found[outcome] = found.get(outcome, 0) + value
        return found


@asynccontextmanager
async def gateway_harness(
    base: Base | None = None, *, changes: Mapping[str, Any] | None = None, **live: Any
) -> AsyncIterator[Harness]:
    """A gateway on free ports, with this config pushed."""
    async with (
        running_gateway(settings(**(changes or {}))) as gateway,
        aiohttp.ClientSession(trace_configs=[_error_answers()]) as session,
    ):
        harness = Harness(gateway, session)
        try:
            if base is not None:
                await harness.run(base, **live)
            yield harness
        finally:
            search_gateway(gateway)


def search_gateway(gateway: Gateway) -> None:
    """Search what it shows to whoever asks: its metrics and its config."""
    live = gateway.live
    pages = gateway.metrics.render(revision=live.revision, config_age_seconds=live.age_seconds)
    WRITTEN.search("/metrics of a gateway", b"".join(pages))
    if (push := live.redacted()) is not None:
        WRITTEN.search("GET /config of a gateway", codec.encode(push))
        WRITTEN.search("GET /config/status of a gateway", codec.encode(live.status()))


def _error_answers() -> aiohttp.TraceConfig:
    """Searches the heads of all answers and the bodies of errors, as far as a test reads them.

    An upstream may repeat a prompt in its 400, to the client who sent it; such a test asks by a session of its own.
    """
    config = aiohttp.TraceConfig()

    async def head(_: aiohttp.ClientSession, context: Any, ended: aiohttp.TraceRequestEndParams) -> None:
        context.status = ended.response.status
        WRITTEN.search("head of an answer", str(ended.response.headers))

    async def body(_: aiohttp.ClientSession, context: Any, part: aiohttp.TraceResponseChunkReceivedParams) -> None:
        if context.status >= 400:
            WRITTEN.search("error answer", part.chunk)

    config.on_request_end.append(head)
    config.on_response_chunk_received.append(body)
    return config

"""Three namespaces with the same things in each, one real gateway, and an upstream that knows whom it serves.

`blue` and `red` are tenants, `commons` is shared by the install. Everything in a namespace X is named `X-…`, and in
each namespace somebody tries to use everybody's things, by every kind of reference there is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from modelway_operator.core.decide import wanted
from modelway_operator.core.rollout.promql import query_of
from modelway_operator.core.snapshot import Address, Install, Service, ServicePort

from tests.support.builders import (
    Raw,
    a_backend,
    a_client,
    a_config_map,
    a_model,
    a_policy,
    a_rollout,
    a_rule,
    a_secret,
    a_target,
)
from tests.support.canary import PROMPT, WRITTEN
from tests.support.gateway import Harness, gateway_harness
from tests.support.turns import World
from tests.support.upstreams import Authority, an_authority

TENANTS = ("blue", "red")
SHARED = "commons"
NAMESPACES = (*TENANTS, SHARED)


class Upstream:
    """Answers for every model of every namespace, and notes who was called with which key."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.port = self.tls_port = 0
        self.calls: list[tuple[str, str]] = []
        """Whose model, and the key it was called with."""

    def place(self, owner: str, *, tls: bool = False, fails: bool = False) -> str:
        """The base URL of a model of this namespace."""
        start = f"https://127.0.0.1:{self.tls_port}" if tls else f"http://127.0.0.1:{self.port}"
        return f"{start}/{owner}/{'fails' if fails else 'serves'}"

    async def answer(self, request: web.Request) -> web.Response:
        """One completion, or a failure where the place is one that fails."""
        WRITTEN.arrived(await request.read())
        owner, fate = request.match_info["owner"], request.match_info["fate"]
        if fate == "fails":
            return web.json_response({"error": {"message": "down"}}, status=500)
        self.calls.append((owner, request.headers.get("authorization", "")))
        choice = {"index": 0, "message": {"role": "assistant", "content": owner}, "finish_reason": "stop"}
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        return web.json_response(body)


class Scene:
    """The three namespaces as clients see them."""

    def __init__(self, world: World, harness: Harness, upstream: Upstream) -> None:
        self.world = world
        self.harness = harness
        self.upstream = upstream

    async def ask(self, viewer: str, name: str, **headers: str) -> tuple[int, str | None, Any]:
        """A request with the viewer's key: status, whose model served it, and the body."""
        self.upstream.calls.clear()
        body = {"model": name, "messages": [{"role": "user", "content": PROMPT}]}
        async with self.harness.chat(body, Authorization=f"Bearer {key_of(viewer)}", **headers) as answer:
            said = await answer.json()
            return answer.status, self.upstream.calls[-1][0] if self.upstream.calls else None, said

    async def reaches(self, viewer: str, name: str, owner: str) -> bool:
        """Whether a model of the owner serves what the viewer asks for under this name."""
        return (await self.ask(viewer, name))[:2] == (200, owner)

    async def listed(self, viewer: str) -> set[str]:
        """What `GET /v1/models` shows to the viewer."""
        url = f"{self.harness.gateway.client_url}/v1/models"
        headers = {"Authorization": f"Bearer {key_of(viewer)}"}
        async with self.harness.session.get(url, headers=headers) as answer:
            return {each["id"] for each in (await answer.json())["data"]}

    async def counted(self, owner: str) -> float:
        """Requests in all series of the owner's namespace."""
        return sum((await self.harness.requests(modelway_namespace=owner)).values())

    def queries(self, viewer: str) -> list[str]:
        """What the operator would ask Prometheus about the viewer's rollouts now."""
        asked = wanted(self.world.snapshot()).measurements
        return [query_of(request).text for request in asked if request.key.namespace == viewer]

    async def selected(self, viewer: str) -> set[str]:
        """The namespaces of all series on the gateway's page that the viewer's queries select."""
        page = [(name, labels_of(name)) for name in await self.harness.metrics()]
        selectors = [each for query in self.queries(viewer) for each in re.findall(r"\w+\{[^}]*\}", query)]
        assert selectors
        found = set()
        for selector in selectors:
            metric, matchers = selector.partition("{")[0], re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', selector)
            assert {"="} == {operator for _, operator, _ in matchers}, "only exact matches keep tenants apart"
            found |= {
                labels["modelway_namespace"]
                for name, labels in page
                if name.partition("{")[0] == metric and all(labels.get(key) == value for key, _, value in matchers)
            }
        return found

    async def push(self) -> None:
        """Let the operator decide anew, and give the gateway what comes of it."""
        plan = self.world.turn(seconds=1)
        assert plan.push is not None
        assert 200 == (await self.harness.put(plan.push))[0]


def labels_of(sample: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', sample))


def key_of(namespace: str) -> str:
    """The key of the namespace's one client."""
    return f"mw-{namespace}-client-key-0123456789"


def provider_key(namespace: str) -> str:
    """The key that the namespace has for its provider."""
    return f"sk-{namespace}-provider-key"


@asynccontextmanager
async def a_scene() -> AsyncIterator[Scene]:
    """All of it, running."""
    upstream = Upstream(an_authority())
    app = web.Application()
    app.router.add_post("/{owner}/{fate}/chat/completions", upstream.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=upstream.authority.server_context("127.0.0.1")).start()
        upstream.port, upstream.tls_port = (address[1] for address in runner.addresses)
        async with gateway_harness() as harness:
            scene = Scene(a_world(upstream), harness, upstream)
            await scene.push()
            yield scene
    finally:
        await runner.cleanup()


def a_world(upstream: Upstream) -> World:
    """Everybody's objects, with a rollout under way in each namespace."""
    world = World(install=Install(shared_namespaces=(SHARED,)))
    for namespace in NAMESPACES:
        add_namespace(world, upstream, namespace)
    world.settle(turns=8)
    for index, raw in enumerate(world.policies):
        if raw["metadata"]["name"] == "rolling":
            rule = a_rule(targets=[a_target(model="next")])
            meta = {**raw["metadata"], "generation": 2}
            world.policies[index] = {**raw, "metadata": meta, "spec": {**raw["spec"], "rules": [rule]}}
    for _ in range(60):
        world.turn(seconds=5)
        if {request.key.namespace for request in wanted(world.snapshot()).measurements} == set(NAMESPACES):
            return world
    raise AssertionError("no rollout came to the point of measuring")


ANYBODYS = [a_backend(url="http://127.0.0.1:9/v1")]
"""The same place in each namespace, so that the versions of models there are the same too."""


def add_namespace(world: World, upstream: Upstream, namespace: str) -> None:
    """What one namespace owns, and its tries to use what the others own."""
    own: dict[str, Any] = {"namespace": namespace}
    url = upstream.place(namespace)
    plain = [a_backend(url=url)]
    world.models += [
        a_model(f"{namespace}-direct", backends=plain, **own),
        a_model(f"{namespace}-private", backends=plain, access="PolicyOnly", **own),
        *(
            a_model(name, access="PolicyOnly", backends=ANYBODYS, parameters={"n": n}, **own)
            for n, name in (("1", "present"), ("2", "next"))
        ),
        a_model(
            f"{namespace}-down",
            backends=[a_backend(url=upstream.place(namespace, fails=True))],
            access="PolicyOnly",
            **own,
        ),
    ]
    world.policies += [
        one_target(f"{namespace}-exact", f"{namespace}-private", **own),
        one_target("glob", f"{namespace}-private", models=[f"{namespace}/*"], **own),
        one_target("same", f"{namespace}-private", **own),
        a_policy(
            "rolling",
            models=["rolling"],
            rules=[a_rule(targets=[a_target(model="present")])],
            rollouts=[a_rollout()],
            **own,
        ),
    ]
    annotations = {"modelway.dev/groups": "staff", "modelway.dev/tier": "gold"}
    world.secrets |= dict(
        [
            a_client("app", key_of(namespace), annotations=annotations, **own),
            a_secret(f"{namespace}-key", {"token": provider_key(namespace).encode()}, **own),
        ]
    )
    place, config_map = a_config_map(f"{namespace}-ca", {"ca.crt": upstream.authority.pem}, **own)
    world.config_maps[place] = config_map
    port = ServicePort(namespace, f"{namespace}-llm", 80)
    world.services[place._replace(name=port.service)] = Service(ports=(80,))
    world.endpoints[port] = (Address("127.0.0.1", upstream.port),)
    for who, condition in CONDITIONS.items():
        world.policies.append(for_some(f"{namespace}-{who}", condition, namespace))
    for owner in NAMESPACES:
        add_tries(world, upstream, namespace, owner)


CONDITIONS: dict[str, Raw] = {
    "groups": {"groups": ["staff"]},
    "tiers": {"tiers": ["gold"]},
    "names": {"names": ["app"]},
}
"""What every client of every namespace is: told from the client's own Secret."""


def for_some(name: str, client: Raw, namespace: str) -> Raw:
    """A policy that serves only clients of this kind; to the others it offers what fails."""
    rules = [
        a_rule("some", f"{namespace}-private", when={"all": [{"client": client}]}),
        a_rule("others", f"{namespace}-down"),
    ]
    return a_policy(name, models=[name], rules=rules, namespace=namespace)


def add_tries(world: World, upstream: Upstream, namespace: str, owner: str) -> None:
    """One reference of each kind to something of the owner."""
    own: dict[str, Any] = {"namespace": namespace}
    fallback = {"targets": [{"modelRef": {"name": f"{owner}-private", "namespace": owner}}], "maxAttempts": 2}
    world.policies += [
        one_target(f"target-{owner}", f"{owner}-private", of=owner, **own),
        one_target(f"fallback-{owner}", f"{namespace}-down", fallback=fallback, **own),
    ]
    key = {"secretRef": {"name": f"{owner}-key", "key": "token"}, "scheme": "Bearer"}
    authorities = {"caRef": {"name": f"{owner}-ca", "key": "ca.crt"}}
    service = {"name": f"{owner}-llm", "port": 80, "path": f"/{owner}/serves"}
    tries = {
        "secret": a_backend(url=upstream.place(owner), credentials=key),
        "ca": a_backend(url=upstream.place(owner, tls=True), tls=authorities),
        "service": a_backend(serviceRef=service),
    }
    world.models += [a_model(f"{kind}-{owner}", backends=[backend], **own) for kind, backend in tries.items()]


def one_target(name: str, model: str, *, of: str | None = None, namespace: str, **fields: Any) -> Raw:
    """A policy that answers for its own name by one model."""
    models = fields.pop("models", [name])
    rule = a_rule(targets=[a_target(model=model, namespace=of)], **fields)
    return a_policy(name, namespace=namespace, models=models, rules=[rule])

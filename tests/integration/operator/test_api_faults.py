"""The API server misbehaves: watches break in every way, answers are slow, stale, refused, or do not come at all."""

import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelway_operator.clients.cluster import Cluster, read_connection
from modelway_operator.gather import gather_lists
from modelway_operator.kinds import LLM_MODEL
from modelway_operator.settings import Settings
from modelway_operator.store import Store
from modelway_operator.watch import Watch

from tests.integration.operator.installation import Installation, Operator, an_installation
from tests.integration.operator.test_cluster import a_model
from tests.support.apiproxy import ApiProxy, WatchFault, an_api_proxy
from tests.support.apiserver import OPERATOR_TOKEN, ApiServer, Kube
from tests.support.cut import Line, a_line
from tests.support.waiting import eventually


@pytest.fixture
async def proxy(apiserver: ApiServer) -> AsyncIterator[ApiProxy]:
    """Before the session's API server."""
    async with an_api_proxy(apiserver) as one:
        yield one


def behind(settings: Settings, apiserver: ApiServer, url: str) -> Settings:
    """The settings of one who speaks to the API server by this way."""
    return dataclasses.replace(settings, kubeconfig=apiserver.kubeconfig(url=url))


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[tuple[Store, Watch]]:
    store = Store(namespaces=settings.watch_namespaces)
    watch = Watch(settings, store)
    watch.start()
    try:
        yield store, watch
    finally:
        await watch.stop()


def names(store: Store) -> set[str]:
    return {raw["metadata"]["name"] for raw in store.objects(LLM_MODEL)}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(WatchFault.ERROR, id="f06-error-event"),
        pytest.param(WatchFault.GONE, id="f07-http-410"),
        pytest.param(WatchFault.HALF_LINE, id="f08-half-line"),
        pytest.param(WatchFault.RESET, id="f10-reset"),
    ],
)
async def test_f07_f08_f10_broken_watch_watches_again(
    apiserver: ApiServer, settings: Settings, kube: Kube, namespace: str, proxy: ApiProxy, fault: WatchFault
) -> None:
    """Whatever ended it: seconds after the fault is over, what was made meanwhile is known, and nothing was lost."""
    await kube.create(a_model(namespace, "before"))
    async with watching(behind(settings, apiserver, proxy.url)) as (store, _):
        await eventually(lambda: names(store) == {"before"})
        proxy.break_watches(fault)
        await kube.create(a_model(namespace, "meanwhile"))
        met = len(proxy.requests)
        await eventually(lambda: len(proxy.requests) > met)
        proxy.break_watches(WatchFault.NONE)
        await eventually(lambda: names(store) == {"before", "meanwhile"}, within_seconds=10.0)


async def test_f09_silent_watch_is_found_out(
    apiserver: ApiServer,
    settings: Settings,
    kube: Kube,
    namespace: str,
    proxy: ApiProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stream on which nothing comes, not even bookmarks, is given up and opened anew; 3 s here stand for 70."""
    monkeypatch.setattr("modelway_operator.watch.INACTIVITY_SECONDS", 3.0)
    await kube.create(a_model(namespace, "before"))
    async with watching(behind(settings, apiserver, proxy.url)) as (store, _):
        await eventually(lambda: names(store) == {"before"})
        proxy.break_watches(WatchFault.SILENCE)
        await kube.create(a_model(namespace, "unheard"))
        silent = time.monotonic()
        proxy.fault = WatchFault.NONE  # for new streams; those that fell silent stay so
        await eventually(lambda: names(store) == {"before", "unheard"}, within_seconds=12.0)

        assert time.monotonic() - silent <= 3.0 + 5.0


async def test_f07_list_whose_continue_token_expired_is_begun_again(
    apiserver: ApiServer,
    settings: Settings,
    kube: Kube,
    namespace: str,
    proxy: ApiProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HTTP 410 between two pages: the whole list in one piece."""
    monkeypatch.setattr("modelway_operator.clients.cluster.LIST_CHUNK", 2)
    for number in range(5):
        await kube.create(a_model(namespace, f"model-{number}"))
    cluster = Cluster(await read_connection(behind(settings, apiserver, proxy.url)))
    proxy.stale_continue_tokens = 1
    found = await cluster.list_objects(LLM_MODEL, namespace)
    await cluster.close()

    assert 5 == len(found)
    assert 0 == proxy.stale_continue_tokens


async def test_p2_reads_are_never_allowed_to_be_stale(
    apiserver: ApiServer, settings: Settings, namespace: str, proxy: ApiProxy
) -> None:
    """No LIST or GET asks for `resourceVersion=0`, which an API server may answer from the past; kopf's neither."""
    async with watching(behind(settings, apiserver, proxy.url)) as (store, _):
        cluster = Cluster(await read_connection(behind(settings, apiserver, proxy.url)))
        await gather_lists(store, cluster)
        await eventually(lambda: sum("watch=true" in one for one in proxy.requests) >= 5)
        await cluster.close()
    reads = [one for one in proxy.requests if one.startswith("GET") and "watch=true" not in one]

    assert len(reads) >= 10
    assert [] == [one for one in reads if "resourceVersion" in one]


@asynccontextmanager
async def serving(
    apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path, url: str
) -> AsyncIterator[tuple[Installation, Operator]]:
    """Two gateways and one operator that reaches the API server by this way; a model is Ready."""
    async with an_installation(apiserver, kube, namespace, tmp_path, gateways=2) as install:
        install.kubeconfig = apiserver.kubeconfig(OPERATOR_TOKEN, url=url)
        operator = await install.start_operator()
        await install.add_keys()
        await install.ready(await install.add_model("llama"))
        yield install, operator


@pytest.fixture
async def line(apiserver: ApiServer) -> AsyncIterator[Line]:
    """A line that can be cut."""
    async with a_line(apiserver.url) as one:
        yield one


async def test_f11_nothing_happens_to_traffic_without_an_api_server_and_recovery_is_quick(
    apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path, line: Line
) -> None:
    """Gone until the leader is cut off: gateways serve, `/livez` is well; back: a change is Ready within 10 s."""
    async with serving(apiserver, kube, namespace, tmp_path, line.url) as (install, operator):
        line.cut()
        statuses: list[int] = []
        lively: list[int] = []

        async def is_cut_off() -> bool:
            statuses.append((await install.chat("llama", len(statuses) % 2))[0])
            lively.append((await operator.page("/livez"))[0])
            return await operator.metric('modelway_operator_role{role="cut-off"}') == 1.0

        await eventually(is_cut_off, within_seconds=25.0)
        late = await install.add_model("late")
        line.mend()
        mended = time.monotonic()
        await install.ready(late, within_seconds=20.0)

        assert time.monotonic() - mended <= 10.0
        assert ({200}, {200}) == (set(statuses), set(lively))


async def test_f12_pause_that_the_api_server_asks_for_is_kept(
    apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path, proxy: ApiProxy
) -> None:
    """429 with Retry-After: the operator's own calls stay away, but for the lease, and everything goes on after it."""
    async with serving(apiserver, kube, namespace, tmp_path, proxy.url) as (install, operator):
        proxy.refusal = (429, {"Retry-After": "15"})
        began = len(proxy.requests)
        model = await install.add_model("late")
        lies = 'modelway_operator_turns_total{result="ok"}'
        turns = await operator.metric(lies)

        async def has_turned() -> bool:
            return await operator.metric(lies) >= turns + 5

        await eventually(has_turned)
        asked = [one for one in proxy.requests[began:] if "/leases/" not in one and "watch=true" not in one]
        proxy.refusal = None
        await install.ready(model)

        assert 1 <= len(asked) <= 2
        assert 200 == (await operator.page("/livez"))[0]
        assert 200 == (await install.chat("late"))[0]


async def test_f13_slow_api_server_costs_time_and_nothing_else(
    apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path, proxy: ApiProxy
) -> None:
    """Five seconds a call, which is as long as a call may take: alive all the while, each Event told once."""
    async with serving(apiserver, kube, namespace, tmp_path, proxy.url) as (install, operator):
        policy = await install.add_policy("chat", "llama")
        await install.ready(policy)
        proxy.delay_seconds = 5.0
        target = {"name": "main", "modelRef": {"name": "late"}, "weight": 1}
        late = await install.add_model("late")
        await kube.patch(policy, {"spec": {"rules": [{"name": "default", "targets": [target]}]}})
        ends = time.monotonic() + 12.0

        async def has_lived_on() -> bool:
            assert 200 == (await operator.page("/livez"))[0]
            assert 200 == (await install.chat("llama"))[0]
            return time.monotonic() >= ends

        await eventually(has_lived_on)
        proxy.delay_seconds = 0.0
        await install.ready(late, policy)

        async def is_told() -> list[str]:
            events = await kube.call("GET", f"/api/v1/namespaces/{namespace}/events")
            return [one["message"] for one in events["items"] if one["reason"] == "TargetSwitched"]

        assert 1 == len(await eventually(is_told))

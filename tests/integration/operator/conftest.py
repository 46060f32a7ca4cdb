"""One API server for all, a namespace for each."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from modelway_operator.clients.cluster import Cluster, read_connection
from modelway_operator.settings import Settings, load_settings

from tests.support.apiserver import ApiServer, Kube, request, running_apiserver
from tests.support.canary import WRITTEN

MODELWAY = "/apis/modelway.dev/v1alpha1"
WHERE_PEOPLE_LOOK = (
    f"{MODELWAY}/llmmodels",
    f"{MODELWAY}/routingpolicies",
    "/apis/events.k8s.io/v1/events",
    "/apis/coordination.k8s.io/v1/leases",
    "/api/v1/configmaps",
    "/api/v1/secrets",
)


@pytest.fixture(scope="session")
def apiserver() -> Iterator[ApiServer]:
    """Started once: it takes some seconds."""
    with running_apiserver() as server:
        yield server
        for path in WHERE_PEOPLE_LOOK:
            WRITTEN.search(f"objects at {path}", request(server, path))


@pytest.fixture
async def kube(apiserver: ApiServer) -> AsyncIterator[Kube]:
    """The admin."""
    connector = aiohttp.TCPConnector(ssl=apiserver.context())
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Kube(apiserver, session)


@pytest.fixture
async def namespace(kube: Kube) -> str:
    """A namespace that no other test knows."""
    return await kube.namespace()


@pytest.fixture
def settings(apiserver: ApiServer, namespace: str) -> Settings:
    """An installation in that namespace, which watches it alone."""
    arguments = ["--namespace", namespace, "--watch-namespaces", namespace, "--metrics-source", "none"]
    return load_settings([*arguments, "--kubeconfig", str(apiserver.kubeconfig())], {})


@pytest.fixture
async def cluster(settings: Settings) -> AsyncIterator[Cluster]:
    """Our own client."""
    client = Cluster(await read_connection(settings))
    yield client
    await client.close()

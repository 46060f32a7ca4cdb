"""`helm upgrade` and `helm rollback` in the middle of a rollout: it goes on where it was, and no request fails."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.api import Api, pods_of
from tests.cluster.crossing import lost_otherwise
from tests.cluster.installation import (
    CHART,
    CHART_VALUES,
    SYSTEM,
    TENANT,
    Installation,
    as_flags,
    wait_for_release,
)
from tests.cluster.kills import GATEWAYS
from tests.cluster.reach import Cluster, wait_until
from tests.cluster.record import backward, unannounced, unearned, writes_of
from tests.cluster.sampling import Sampler
from tests.cluster.subject import GOOD, Subject, Watcher

CRD = "llmmodels.modelway.dev"
NEXT_VERSION = "0.1.1"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def subject(installation: Installation) -> Iterator[Subject]:
    """A policy of our own whose steps take long enough for a release to be replaced twice."""
    if installation.cluster.audit_log is None:
        pytest.skip("this cluster's audit log and its pods' addresses are out of reach")
    subject = Subject(installation, Api(installation.cluster.kubeconfig), "released", steps=(25, 50), min_intervals=6)
    subject.create()
    yield subject
    subject.delete()


@pytest.fixture
def next_chart(tmp_path: Path) -> Path:
    """The chart of a later version, whose CRD has a column more."""
    chart = tmp_path / "modelway"
    shutil.copytree(CHART, chart)
    about, crds = chart / "Chart.yaml", chart / "templates" / "crds.yaml"
    about.write_text(about.read_text().replace("version: 0.1.0", f"version: {NEXT_VERSION}"))
    column = "    - name: Age\n      type: date\n      jsonPath: .metadata.creationTimestamp\n"
    more = "    - name: Generation\n      type: integer\n      jsonPath: .metadata.generation\n"
    text = crds.read_text()
    assert column in text
    crds.write_text(text.replace(column, column + more, 1))
    return chart


def columns(cluster: Cluster) -> list[str]:
    """Of the CRD, as the cluster has it."""
    version = cluster.get("crd", CRD)["spec"]["versions"][0]
    return [column["name"] for column in version["additionalPrinterColumns"]]


def charts_of_gateways(api: Api) -> set[str]:
    """The chart's version that each running gateway came with."""
    return {pod["metadata"]["labels"]["helm.sh/chart"] for pod in pods_of(api, SYSTEM, GATEWAYS)}


def test_f62_release_is_upgraded_and_rolled_back_while_a_rollout_goes_on(
    installation: Installation, subject: Subject, next_chart: Path
) -> None:
    """Every pod is replaced twice, the CRD with them; weights only rise with a Pass, and every answer is good.

    A client without retries may still send on a resting connection in the moment in which that is closed.
    """
    cluster, api, audit_log = installation.cluster, subject.api, installation.cluster.audit_log
    assert audit_log is not None
    began = time.time()
    with ExitStack() as stack:
        sampler = stack.enter_context(Sampler(api, SYSTEM).sampling())
        watcher = stack.enter_context(Watcher(subject).watching())
        traffic = stack.enter_context(installation.traffic(rate=60, model=subject.name))
        candidate = subject.new_model(GOOD)
        subject.point_to(candidate)
        begun = watcher.wait_for(lambda rollout: rollout.get("phase") == "Soaking", seconds=60)
        cluster.helm("upgrade", "modelway", str(next_chart), "-n", SYSTEM, *as_flags(CHART_VALUES))
        wait_for_release(cluster)
        upgraded, columns_then = dict(watcher.rollout), columns(cluster)
        wait_until("the former gateways are gone", lambda: len(charts_of_gateways(api)) == 1, seconds=90)
        charts_then = charts_of_gateways(api)
        cluster.helm("rollback", "modelway", "-n", SYSTEM)
        wait_for_release(cluster)
        columns_after = columns(cluster)
        watcher.wait_for(
            lambda rollout: rollout.get("phase") == "Stable" and rollout["stable"]["model"].endswith(candidate),
            seconds=240,
        )
        wait_until("the former gateways are gone", lambda: len(pods_of(api, SYSTEM, GATEWAYS)) == 3, seconds=90)
    writes = writes_of(audit_log, namespace=TENANT, policy=subject.name, since=began)
    weights = [write.weight for write in writes if write.rollout_id == begun["rolloutId"] and write.phase != "Stable"]

    assert [] == lost_otherwise(traffic)
    assert begun["rolloutId"] == upgraded["rolloutId"]
    assert weights == sorted(weights)
    assert [] == unannounced(sampler.samples, writes)
    assert [] == unearned(writes, min_intervals=subject.min_intervals)
    assert [] == backward(sampler.samples, [])
    assert {f"modelway-{NEXT_VERSION}"} == charts_then
    assert "Generation" in columns_then
    assert "Generation" not in columns_after

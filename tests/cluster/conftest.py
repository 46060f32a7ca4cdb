"""The cluster that these tests run against: a node of our own (default), kind's, or the kubeconfig's.

None of them is a fake. Where there can be none the tests are skipped with the reason, and with CI=true they fail.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.installation import Installation, install
from tests.cluster.reach import CANNOT_RUN_HERE, Cluster, folders_of_local_node, localkube
from tests.cluster.readable import ContainerLogs
from tests.support.canary import WRITTEN

# `up` may have to build Kubernetes first; a test itself keeps the time-out of pyproject.toml.
UP_SECONDS = 1500


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, order them, and give the one that brings the node up the time that it takes.

    What needs the machine without a node comes before the first that asks for the session's cluster.
    """
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
    ordered = sorted(ours, key=lambda item: "bare_machine" not in fixtures_of(item))
    places = [index for index, item in enumerate(items) if Path(__file__).parent in item.path.parents]
    for place, item in zip(places, ordered, strict=True):
        items[place] = item
    # pytest-timeout counts a session fixture in the first test that asks for it.
    asking = [item for item in ordered if "cluster" in fixtures_of(item)]
    if asking:
        own = asking[0].get_closest_marker("timeout")
        asking[0].add_marker(pytest.mark.timeout(UP_SECONDS + (own.args[0] if own and own.args else 0)))


def fixtures_of(item: pytest.Item) -> list[str]:
    """The names of the fixtures that a test asks for, through others too."""
    return list(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The session's cluster; a node of our own is taken down at the end unless MODELWAY_KEEP_CLUSTER=1."""
    flavour = os.environ.get("MODELWAY_CLUSTER") or "local"
    match flavour:
        case "local":
            yield from local_cluster()
        case "kind" | "current":
            yield from given_cluster(flavour)
        case _:
            pytest.fail(f"MODELWAY_CLUSTER={flavour}: local, kind or current")


@pytest.fixture(scope="session")
def installation(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The one installation that the tests of the product share; `test_uninstall.py`, the last, takes it down.

    While it stands, what its containers log is searched for prompts; after it, what the API server was asked to write.
    """
    with ExitStack() as overheard:
        if cluster.pod_logs is not None:
            overheard.enter_context(ContainerLogs(cluster.pod_logs, WRITTEN.search).overheard())
        yield install(cluster, tmp_path_factory.mktemp("installation"))
    if cluster.audit_log is not None:
        WRITTEN.search("audit log", cluster.audit_log.read_bytes())


def local_cluster() -> Iterator[Cluster]:
    """A node of tools/localkube; with MODELWAY_KEEP_CLUSTER=1 one that runs is used as it is."""
    keep = os.environ.get("MODELWAY_KEEP_CLUSTER") == "1"
    if not keep:
        localkube("down", check=False)  # another session's objects would be in the way
    done = localkube("up", check=False)
    if done.returncode == CANNOT_RUN_HERE:
        cannot_run(done.stderr.strip())
    assert done.returncode == 0, f"localkube up: {done.stderr}"
    folders = folders_of_local_node()
    yield Cluster(
        flavour="local",
        kubeconfig=folders["kubeconfig"],
        audit_log=folders["audit log"],
        pod_logs=folders["pod logs"],
        image="localhost/modelway-base:trixie",
        prometheus_image="localhost/prometheus:test",
        programs=folders["cache"] / "commands",
    )
    if not keep:
        localkube("down")


def given_cluster(flavour: str) -> Iterator[Cluster]:
    """A cluster that somebody else keeps: kind's own kubeconfig, or the current one."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        if flavour == "kind":
            if shutil.which("kind") is None:
                cannot_run("MODELWAY_CLUSTER=kind, and there is no kind on the PATH")
            command = ["kind", "get", "kubeconfig", "--name", os.environ.get("KIND_CLUSTER_NAME") or "kind"]
        else:
            command = ["kubectl", "config", "view", "--raw", "--minify", "--flatten"]
        kubeconfig.write_text(subprocess.run(command, text=True, capture_output=True, check=True).stdout)
        image = os.environ.get("MODELWAY_TEST_IMAGE") or "python:3.13-slim"
        yield Cluster(
            flavour=flavour,
            kubeconfig=kubeconfig,
            audit_log=None,
            pod_logs=None,
            image=image,
            prometheus_image=os.environ.get("MODELWAY_TEST_PROMETHEUS") or "docker.io/prom/prometheus:v3.5.0",
            programs=None,
        )


def cannot_run(reason: str) -> None:
    """Skip, with the reason; in CI a missing cluster is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true and no cluster: {reason}")
    pytest.skip(reason)

"""The cluster that these tests run against: a node of our own (default), kind's, or the kubeconfig's.

None of them is a fake. Where there can be none the tests are skipped with the reason, and with CI=true they fail.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCALKUBE = ROOT / "tools" / "localkube" / "localkube"
CANNOT_RUN_HERE = 3
"""What `localkube` exits with when the machine cannot hold a node."""

# `up` may have to build Kubernetes first; a test itself keeps the time-out of pyproject.toml.
UP_SECONDS = 1500


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and the commands that reach it."""

    flavour: str
    """`local`, `kind` or `current`."""
    kubeconfig: Path
    audit_log: Path | None
    """The API server's, one JSON event a line; only a node of our own has one that tests can read."""
    image: str
    """An image with python3 that the cluster has."""
    programs: Path | None
    """A folder with kubectl and helm that comes before the PATH."""

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002
        """What kubectl printed on standard output; with `check=False` both streams, whatever its exit code."""
        return self._run("kubectl", *args, stdin=input, check=check)

    def helm(self, *args: str, check: bool = True) -> str:
        """The same for helm."""
        return self._run("helm", *args, stdin=None, check=check)

    def load(self, *images: str) -> None:
        """Bring image archives, or images built by `localkube image`, to the nodes."""
        match self.flavour:
            case "local":
                localkube("load", *images)
            case "kind":
                for image in images:
                    kind = "image-archive" if Path(image).is_file() else "docker-image"
                    subprocess.run(["kind", "load", kind, image], check=True)
            case _:
                pytest.skip("images cannot be brought into the kubeconfig's cluster: push them to its registry")

    def get(self, *args: str) -> Any:
        """What `kubectl get` answers, read."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *documents: dict[str, Any]) -> None:
        """Apply objects given as plain values."""
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def _run(self, program: str, *args: str, stdin: str | None, check: bool) -> str:
        path = os.environ["PATH"] if self.programs is None else f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        found = shutil.which(program, path=path)
        assert found, f"{program} is not on the PATH"
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}
        done = subprocess.run(
            [found, *args], input=stdin or "", env=environment, text=True, capture_output=True, check=False
        )
        if check:
            assert done.returncode == 0, f"{program} {' '.join(args)}: {done.stdout}{done.stderr}"
            return done.stdout
        return done.stdout + done.stderr


def localkube(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command; its progress is captured and shown when it fails."""
    done = subprocess.run([str(LOCALKUBE), *args], text=True, capture_output=True, check=False)
    if check:
        assert done.returncode == 0, f"localkube {' '.join(args)}: {done.stdout}{done.stderr}"
    return done


def wait_until(what: str, ready: Callable[[], bool], *, seconds: float) -> None:
    """Return as soon as it is so; the tests of a cluster have nothing better than to look again."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)


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
        asking[0].add_marker(pytest.mark.timeout(UP_SECONDS))


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
        image="localhost/modelway-base:trixie",
        programs=folders["cache"] / "commands",
    )
    if not keep:
        localkube("down")


def folders_of_local_node() -> dict[str, Path]:
    """The paths that `localkube status` shows, by their labels."""
    lines = localkube("status").stdout.splitlines()
    pairs = [(line[:24].strip(), line[24:].strip()) for line in lines]
    return {label: Path(value) for label, value in pairs if value.startswith("/")}


def given_cluster(flavour: str) -> Iterator[Cluster]:
    """A cluster that somebody else keeps: kind's own kubeconfig, or the current one."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        if flavour == "kind":
            if shutil.which("kind") is None:
                cannot_run("MODELWAY_CLUSTER=kind, and there is no kind on the PATH")
            command = ["kind", "get", "kubeconfig"]
        else:
            command = ["kubectl", "config", "view", "--raw", "--minify", "--flatten"]
        kubeconfig.write_text(subprocess.run(command, text=True, capture_output=True, check=True).stdout)
        image = os.environ.get("MODELWAY_TEST_IMAGE") or "python:3.13-slim"
        yield Cluster(flavour=flavour, kubeconfig=kubeconfig, audit_log=None, image=image, programs=None)


def cannot_run(reason: str) -> None:
    """Skip, with the reason; in CI a missing cluster is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true and no cluster: {reason}")
    pytest.skip(reason)

"""A cluster and what reaches it: kubectl, helm, images, the local node's command.

The one rule: nothing here knows which cluster it is but `load` and what only a node of our own can tell.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCALKUBE = ROOT / "tools" / "localkube" / "localkube"
CANNOT_RUN_HERE = 3
"""What `localkube` exits with when the machine cannot hold a node."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and the commands that reach it."""

    flavour: str
    """`local`, `kind` or `current`."""
    kubeconfig: Path
    audit_log: Path | None
    """The API server's, one JSON event a line; only a node of our own has one that tests can read."""
    pod_logs: Path | None
    """The folder with the logs of all containers; only a node of our own has one that tests can read."""
    image: str
    """An image with python3 that the cluster has."""
    prometheus_image: str
    """An image whose entry point is Prometheus."""
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

    def build(self, part: str, tag: str) -> str:
        """Build one of the product's images by its Dockerfile and bring it to the nodes; its id."""
        match self.flavour:
            case "local":
                return localkube("image", part, tag).stdout.strip().splitlines()[-1]
            case "kind":
                subprocess.run(["docker", "build", "--quiet", "--target", part, "--tag", tag, str(ROOT)], check=True)
                self.load(tag)
                inspect = ["docker", "image", "inspect", "--format", "{{.Id}}", tag]
                return subprocess.run(inspect, check=True, text=True, capture_output=True).stdout.strip()
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


def folders_of_local_node() -> dict[str, Path]:
    """The paths that `localkube status` shows, by their labels."""
    lines = localkube("status").stdout.splitlines()
    pairs = [(line[:24].strip(), line[24:].strip()) for line in lines]
    return {label: Path(value) for label, value in pairs if value.startswith("/")}

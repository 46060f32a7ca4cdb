"""Starts what is measured: nginx and Modelway's gateway, each on the gateway's core, and the upstream behind them.

The rule: each runs as one would run it. Modelway boots from a bundle that the operator's own compiler made.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from modelway_contract import codec
from modelway_contract.names import BUNDLE_KEY
from modelway_operator.core.decide import decide
from modelway_operator.core.snapshot import ObjectKey, Secret, Snapshot

from bench import host
from bench.native import UnmeasurableError

CONFIG: Final = Path(__file__).parent / "config"
LOAD_CORE: Final = 0
GATEWAY_CORE: Final = 1
NGINX: Final = "nginx"
MODELWAY: Final = "modelway"
_START_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Contestant:
    """Something that answers on a port; without a process it is the upstream itself, asked directly."""

    name: str
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> list[int]:
        return host.tree(self.process.pid) if self.process is not None else []


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


def nginx_program() -> str:
    """The path of nginx. Raises UnmeasurableError."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise UnmeasurableError("nginx is needed to compare with (Debian and Ubuntu: apt-get install nginx-light)")
    return found


def api_key() -> str:
    """The key of the one client."""
    for document in _documents(0):
        if document["kind"] == "Secret":
            key: str = document["stringData"]["api-key"]
            return key
    raise AssertionError("bench/config/modelway.yaml has no client")


@contextmanager
def upstream(programs: Path) -> Iterator[Contestant]:
    """The upstream, which is also what `direct` means."""
    port = free_port()
    with _running([str(programs / "upstream"), str(port)], core=LOAD_CORE, port=port):
        yield Contestant("direct", port)


def upstream_counts(port: int) -> dict[str, int]:
    """What the upstream has served so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=5) as answer:
        counts: dict[str, int] = json.load(answer)
        return counts


@contextmanager
def nginx(folder: Path, upstream_port: int) -> Iterator[Contestant]:
    """A plain proxy: the least that a gateway can cost."""
    port, own = free_port(), folder / NGINX
    own.mkdir()
    text = (CONFIG / "nginx.conf").read_text()
    for word, value in (("FOLDER", str(own)), ("UPSTREAM", str(upstream_port)), ("PORT", str(port))):
        text = text.replace(word, value)
    (own / "nginx.conf").write_text(text)
    with _running([nginx_program(), "-c", str(own / "nginx.conf")], core=GATEWAY_CORE, port=port) as process:
        yield Contestant(NGINX, port, process)


@contextmanager
def modelway(folder: Path, upstream_port: int, *, python: str = sys.executable) -> Iterator[Contestant]:
    """The gateway with a key, a policy, and metrics; `python` has what it needs installed (interpreter.py)."""
    port, own = free_port(), folder / MODELWAY
    own.mkdir()
    (own / BUNDLE_KEY).write_bytes(bundle(upstream_port))
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--metrics-port", str(free_port())]
    arguments += ["--admin-host", "127.0.0.1", "--admin-port", str(free_port())]
    arguments += ["--bundle-dir", str(own), "--pre-stop-seconds", "0", "--grace-seconds", "1", "--log-level", "warning"]
    command = [python, "-m", "modelway_gateway", *arguments]
    with _running(command, core=GATEWAY_CORE, port=port) as process:
        yield Contestant(MODELWAY, port, process)


def bundle(upstream_port: int) -> bytes:
    """What the operator would write for the manifests of `config/modelway.yaml`."""
    documents = _documents(upstream_port)
    for document in documents:
        document["metadata"] |= {"uid": document["metadata"]["name"], "generation": 1, "resourceVersion": "1"}
    snapshot = Snapshot(
        now=time.time(),
        models=tuple(each for each in documents if each["kind"] == "LLMModel"),
        policies=tuple(each for each in documents if each["kind"] == "RoutingPolicy"),
        secrets={_key(each): _secret(each) for each in documents if each["kind"] == "Secret"},
    )
    plan = decide(snapshot)
    if plan.push is None or plan.findings:
        raise AssertionError(f"the operator finds fault with bench/config/modelway.yaml: {plan.findings}")
    return codec.pack(plan.push)


def _documents(upstream_port: int) -> list[dict[str, Any]]:
    text = (CONFIG / "modelway.yaml").read_text().replace("PORT", str(upstream_port))
    return list(yaml.safe_load_all(text))


def _key(document: dict[str, Any]) -> ObjectKey:
    return ObjectKey(document["metadata"]["namespace"], document["metadata"]["name"])


def _secret(document: dict[str, Any]) -> Secret:
    meta = document["metadata"]
    return Secret(
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        use=meta["labels"]["modelway.dev/secret"],
        data={name: value.encode() for name, value in document["stringData"].items()},
        annotations=meta.get("annotations", {}),
    )


@contextmanager
def _running(command: list[str], *, core: int, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process bound to a core, from when its port answers until the block ends."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - this process has one thread
    )
    try:
        _wait_for(port, process)
        host.take_precedence(process.pid)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
        else:
            return
    raise UnmeasurableError(f"{process.args!r} did not start")

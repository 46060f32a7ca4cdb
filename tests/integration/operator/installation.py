"""A whole installation on one machine: a real API server, the operator as a process, gateways, and a kubelet's errands.

Gateways listen on an address that is not loopback, since EndpointSlices refuse that one.
"""

import asyncio
import base64
import contextlib
import gzip
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from modelway_contract.names import BUNDLE_KEY
from modelway_gateway.server import Gateway, running_gateway

from tests.integration.operator.rbac import WATCHED_RULES, own_rules
from tests.support.apiserver import OPERATOR_TOKEN, OPERATOR_USER, ApiServer, Kube, outside_address
from tests.support.canary import PROMPT, WRITTEN
from tests.support.gateway import search_gateway
from tests.support.gateway import settings as gateway_settings
from tests.support.ports import free_ports
from tests.support.waiting import eventually

CLIENT_KEY = "mw-canary-client-key-0123456789abcdef"
UPSTREAM_KEY = "sk-canary-upstream-key-0123456789"


class Operator:
    """One replica, as a process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, port: int) -> None:
        self.process = process
        self.log = log
        self._url = f"http://127.0.0.1:{port}"

    async def page(self, path: str) -> tuple[int, str]:
        """One of its pages; status 0 while it does not listen."""
        try:
            async with aiohttp.ClientSession() as session, session.get(self._url + path) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def metric(self, name: str) -> float:
        """One sample by its full name."""
        _, text = await self.page("/metrics")
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 20)

    def logged(self) -> list[dict[str, Any]]:
        """Every line it wrote."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class Installation:
    """Everything in one namespace."""

    def __init__(self, server: ApiServer, kube: Kube, namespace: str, folder: Path) -> None:
        self.server = server
        self.kube = kube
        self.namespace = namespace
        self.kubeconfig: Path | None = None
        """The operators' way to the API server, where it is not the straight one."""
        self._folder = folder
        self._address = outside_address()
        self._stack = contextlib.AsyncExitStack()
        self._ended = asyncio.Event()
        self.mounts: list[Path] = []
        self.operators: list[Operator] = []
        self.gateways: list[Gateway] = []
        self.upstream_url = ""
        self.upstream_keys: list[str] = []
        self.failing: set[str] = set()
        """Models whose requests the upstream fails."""

    async def __aenter__(self) -> Self:
        await self._grant()
        await self._start_upstream()
        self._kubelet = asyncio.create_task(self._carry_secrets())
        return self

    async def __aexit__(self, *_: object) -> None:
        # Asked to end and not cancelled: a TLS connection that is dropped half-way outlives the test's loop.
        self._ended.set()
        await self._kubelet
        for operator in self.operators:
            if operator.process.returncode is None:
                await operator.end(signal.SIGKILL)
            WRITTEN.search(f"log of {operator.log.stem}", operator.log.read_bytes())
        for gateway in self.gateways:
            search_gateway(gateway)
        if BUNDLE_KEY in (bundle := await self.secret("modelway-config")):
            WRITTEN.search("bundle", gzip.decompress(bundle[BUNDLE_KEY]))
        await self._stack.aclose()

    # What a user does

    async def apply(self, kind: str, name: str, **content: Any) -> dict[str, Any]:
        """Create an object."""
        version = "v1" if kind in {"Secret", "Service", "ConfigMap"} else "modelway.dev/v1alpha1"
        metadata = {"namespace": self.namespace, "name": name} | content.pop("metadata", {})
        return await self.kube.create({"apiVersion": version, "kind": kind, "metadata": metadata, **content})

    async def add_keys(self) -> None:
        """A client's key and a backend's, as Secrets."""
        client = {"labels": {"modelway.dev/secret": "client"}}
        await self.apply("Secret", "alice", metadata=client, stringData={"api-key": CLIENT_KEY})
        backend = {"labels": {"modelway.dev/secret": "credentials"}}
        await self.apply("Secret", "llm-key", metadata=backend, stringData={"token": UPSTREAM_KEY})

    async def add_model(self, name: str, **spec: Any) -> dict[str, Any]:
        """A model behind the fake upstream."""
        backend = {
            "name": "main",
            "url": f"{self.upstream_url}/v1",
            "credentials": {"secretRef": {"name": "llm-key", "key": "token"}, "scheme": "Bearer"},
        }
        return await self.apply("LLMModel", name, spec={"backends": [backend], **spec})

    async def add_policy(self, name: str, model: str, **spec: Any) -> dict[str, Any]:
        """A policy whose only target is this model."""
        rule = {"name": "default", "targets": [{"name": "main", "modelRef": {"name": model}, "weight": 1}]}
        return await self.apply("RoutingPolicy", name, spec={"models": [name], "rules": [rule], **spec})

    async def chat(self, model: str, gateway: int = 0, key: str = CLIENT_KEY) -> tuple[int, str]:
        """One request through a gateway."""
        body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.gateways[gateway].client_url}/v1/chat/completions"
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def condition(self, manifest: dict[str, Any], kind: str) -> dict[str, Any]:
        """One condition of an object, empty where it is not there; of its present generation only."""
        now = await self.kube.get(manifest)
        found = [one for one in now["status"]["conditions"] if one["type"] == kind]
        current = [one for one in found if one.get("observedGeneration") == now["metadata"]["generation"]]
        return current[0] if current else {}

    async def is_true(self, manifest: dict[str, Any], kind: str = "Ready") -> bool:
        return (await self.condition(manifest, kind)).get("status") == "True"

    async def ready(self, *manifests: dict[str, Any], within_seconds: float = 30.0) -> None:
        """Wait until all of these are."""
        for manifest in manifests:
            await eventually(lambda one=manifest: self.is_true(one), within_seconds=within_seconds)  # type: ignore[misc]

    # What the installation consists of

    async def start_operator(self, *arguments: str) -> Operator:
        """One more replica."""
        (port,) = free_ports(1)
        log = self._folder / f"operator-{len(self.operators)}.log"
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "modelway_operator",
                "--namespace", self.namespace, "--watch-namespaces", self.namespace,
                "--pod-name", f"operator-{len(self.operators)}",
                "--kubeconfig", str(self.kubeconfig or self.server.kubeconfig(OPERATOR_TOKEN)),
                "--health-host", "127.0.0.1", "--health-port", str(port), "--log-level", "debug",
                *(arguments or ("--metrics-source", "none")),
                stdout=output, stderr=asyncio.subprocess.STDOUT, env=environment,
            )  # fmt: skip
        operator = Operator(process, log, port)
        self.operators.append(operator)
        return operator

    async def add_gateway(self, *, metrics_port: int = 0) -> Gateway:
        """One more replica, with the Secret mounted and an endpoint."""
        mount = self._folder / f"tls-{len(self.mounts)}"
        mount.mkdir()
        self.mounts.append(mount)
        settings = gateway_settings(
            host=self._address,
            admin_host=self._address,
            admin_port=self.free_port(),
            admin_token=None,
            admin_tls_dir=mount,
            metrics_port=metrics_port,
        )
        gateway = await self._stack.enter_async_context(running_gateway(settings))
        self.gateways.append(gateway)
        await self.add_endpoint(f"gateway-{len(self.gateways) - 1}", settings.admin_port)
        return gateway

    async def add_endpoint(self, pod: str, port: int, *, ready: bool = True) -> None:
        """What Kubernetes would make of one pod behind the headless Service."""
        await self.kube.create(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "namespace": self.namespace,
                    "name": pod,
                    "labels": {"kubernetes.io/service-name": "modelway-gateway-admin"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "admin", "port": port}],
                "endpoints": [
                    {
                        "addresses": [self._address],
                        "conditions": {"ready": ready},
                        "targetRef": {"kind": "Pod", "namespace": self.namespace, "name": pod},
                    }
                ],
            }
        )

    def free_port(self) -> int:
        """A port of the outside address that was free a moment ago."""
        with socket.socket() as probe:
            probe.bind((self._address, 0))
            port: int = probe.getsockname()[1]
            return port

    @property
    def address(self) -> str:
        return self._address

    async def secret(self, name: str) -> dict[str, bytes]:
        """Contents of a Secret; nothing where it is not there."""
        found = await self.kube.call("GET", f"/api/v1/namespaces/{self.namespace}/secrets/{name}", expect=False)
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    async def lease(self) -> dict[str, Any]:
        """The Lease's spec."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/modelway-operator"
        found = await self.kube.call("GET", path, expect=False)
        spec: dict[str, Any] = found.get("spec") or {}
        return spec

    async def _grant(self) -> None:
        base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        rules = [*WATCHED_RULES, *own_rules("modelway")]
        await self.kube.call("POST", f"{base}/roles", {"metadata": {"name": "operator"}, "rules": rules})
        group = "rbac.authorization.k8s.io"
        binding = {
            "metadata": {"name": "operator"},
            "subjects": [{"kind": "User", "name": OPERATOR_USER, "apiGroup": group}],
            "roleRef": {"kind": "Role", "name": "operator", "apiGroup": group},
        }
        await self.kube.call("POST", f"{base}/rolebindings", binding)

    async def _start_upstream(self) -> None:
        async def chat(request: web.Request) -> web.Response:
            self.upstream_keys.append(request.headers.get("Authorization", ""))
            WRITTEN.arrived(await request.read())
            asked = await request.json()
            message = {"role": "assistant", "content": f"hello from {asked['model']}"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            body = {"id": "x", "object": "chat.completion", "created": 1, "model": asked["model"]}
            status = 500 if asked["model"] in self.failing else 200
            return web.json_response(body | {"choices": [choice], "usage": usage}, status=status)

        async def models(_: web.Request) -> web.Response:
            return web.json_response({"object": "list", "data": []})

        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", chat), web.get("/v1/models", models)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self._address, 0).start()
        self.upstream_url = f"http://{self._address}:{runner.addresses[0][1]}"

    async def _carry_secrets(self) -> None:
        """What a kubelet does: write a changed Secret into the folders of the pods that mount it."""
        while not self._ended.is_set():
            content = await self.secret("modelway-gateway-tls")
            for mount in self.mounts:
                for name, value in content.items():
                    file = mount / name
                    if not file.exists() or file.read_bytes() != value:
                        file.write_bytes(value)
            for gateway in self.gateways if content else ():
                await gateway.admin_listener.refresh()
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def an_installation(
    server: ApiServer, kube: Kube, namespace: str, folder: Path, *, gateways: int = 1
) -> AsyncIterator[Installation]:
    """Gateways and the upstream run; the operator is started by the test."""
    async with Installation(server, kube, namespace, folder) as installation:
        for _ in range(gateways):
            await installation.add_gateway()
        yield installation

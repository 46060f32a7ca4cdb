"""A whole installation on the cluster: images of this commit, the chart, Prometheus, simulated backends, a key.

Nothing in it is a fake: images are built by the product's own Dockerfile, the chart is installed by helm, Prometheus
runs as a pod and finds the gateways by Kubernetes discovery, and keys are made by `modelway client create`.
"""

import asyncio
import json
import math
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from modelway_cli.traffic.plan import TrafficPlan
from modelway_cli.traffic.report import Sample, TrafficReport
from modelway_cli.traffic.run import run_traffic

from tests.cluster.reach import ROOT, Cluster, wait_until
from tests.support.canary import PROMPT

SYSTEM = "modelway"
TENANT = "shop"
MONITORING = "monitoring"
TAG = "test"
SCRAPE_SECONDS = 1
INTERVAL_SECONDS = 4
PARTS = ("operator", "gateway", "cli")
CHART = ROOT / "charts" / "modelway"
CHART_VALUES = {
    "operator.image.repository": "localhost/modelway-operator",
    "operator.image.tag": TAG,
    "operator.resources.requests.cpu": "20m",
    "gateway.image.repository": "localhost/modelway-gateway",
    "gateway.image.tag": TAG,
    "gateway.resources.requests.cpu": "50m",
    "gateway.drainSeconds": "40",
    "metrics.scrapeInterval": f"{SCRAPE_SECONDS}s",
    "metrics.prometheus.url": f"http://prometheus.{MONITORING}:9090",
}
"""What the tests' release is installed with."""


def image(part: str) -> str:
    """The name under which a part's image is in the node."""
    return f"localhost/modelway-{part}:{TAG}"


@dataclass(slots=True)
class Installation:
    """What the tests of the main job share."""

    cluster: Cluster
    image_ids: dict[str, str] = field(default_factory=dict)
    api_key: str = ""
    _addresses: dict[tuple[str, str], str] = field(default_factory=dict)

    def service_url(self, namespace: str, name: str) -> str:
        """Where a Service answers, by its cluster address, which this machine reaches as the node does."""
        if (namespace, name) not in self._addresses:
            spec = self.cluster.get("service", name, "-n", namespace)["spec"]
            self._addresses[namespace, name] = f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"
        return self._addresses[namespace, name]

    @property
    def gateway_url(self) -> str:
        """The clients' base URL, as an OpenAI SDK takes it."""
        return self.service_url(SYSTEM, "modelway-gateway") + "/v1"

    def gateway_addresses(self) -> list[str]:
        """Where each gateway's pod is."""
        pods = self.cluster.get("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=gateway")["items"]
        return [pod["status"]["podIP"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def received(self) -> dict[str, int]:
        """How many requests each simulated version has received, by its own count."""
        return {
            version: int(json.loads(fetch(self.service_url(TENANT, f"llm-{version}") + "/stats"))["received"])
            for version in ("v1", "v2", "v3")
        }

    def policy(self) -> dict[str, Any]:
        """The policy `chat` as the API server has it."""
        found: dict[str, Any] = self.cluster.get("routingpolicy", "chat", "-n", TENANT)
        return found

    def rollout(self) -> dict[str, Any]:
        """The status of its one rollout; empty before the operator has written any."""
        rollouts = self.policy().get("status", {}).get("rollouts") or [{}]
        found: dict[str, Any] = rollouts[0]
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        """One of the policy's conditions; empty when it is absent."""
        conditions = self.policy().get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def point_to(self, model: str) -> None:
        """Change the one line that a user changes, by `kubectl apply` of the whole manifest."""
        self.cluster.kubectl("apply", "-n", TENANT, "-f", "-", input=yaml.safe_dump(policy_manifest(model)))

    @contextmanager
    def traffic(
        self, *, rate: float = 40.0, model: str = "chat", stream_share: float = 0.3, api_key: str = ""
    ) -> Iterator["Traffic"]:
        """Requests through the Service for as long as the block lasts; bounded at an hour."""
        plan = TrafficPlan(
            url=self.gateway_url,
            model=model,
            rate=rate,
            duration_seconds=3600,
            stream_share=stream_share,
            session_count=500,
            api_key=api_key or self.api_key,
            prompt=PROMPT,
        )
        running = Traffic(plan)
        running.start()
        try:
            yield running
        finally:
            running.stop()


@dataclass(frozen=True, slots=True)
class Ended:
    """One request that has ended."""

    begun_at: float
    """Seconds since 1970."""
    ended_at: float
    error: str | None
    status: int | None
    model: str | None


class Traffic:
    """Traffic on a thread of its own, so that tests may block."""

    def __init__(self, plan: TrafficPlan) -> None:
        self._plan = plan
        self._stop: Callable[[], None] = lambda: None
        self._enough: Callable[[], None] = lambda: None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.report: TrafficReport | None = None
        self.ended: list[Ended] = []

    def start(self) -> None:
        """Return once the first request may go out."""
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """End it and keep its report."""
        if self._thread.is_alive():
            self._stop()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def finish(self) -> None:
        """Begin no more requests, and wait for those that are under way."""
        self._enough()
        self._thread.join(120)
        assert not self._thread.is_alive()

    def failed(self, *, since: float = 0.0, until: float = math.inf) -> list[Ended]:
        """Requests that failed in that time."""
        return [one for one in list(self.ended) if one.error is not None and since <= one.ended_at <= until]

    def open_at(self, moment: float) -> int:
        """How many requests were under way."""
        return sum(one.begun_at <= moment <= one.ended_at for one in list(self.ended))

    async def _run(self) -> None:
        stop, enough = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        self._stop = partial(wake, loop, stop)
        self._enough = partial(wake, loop, enough)
        self._ready.set()
        self.report = await run_traffic(self._plan, self._note, stop=stop, enough=enough)

    def _note(self, sample: Sample) -> None:
        now = time.time()
        self.ended.append(Ended(now - sample.latency_seconds, now, sample.error, sample.status, sample.model))


def wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of another thread's loop."""
    loop.call_soon_threadsafe(event.set)


def fetch(url: str) -> str:
    """GET, without any proxy of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()


def behave(cluster: Cluster, name: str, change: dict[str, Any]) -> None:
    """Change a simulated backend while it runs."""
    service = cluster.get("service", name, "-n", TENANT)["spec"]
    request = urllib.request.Request(
        f"http://{service['clusterIP']}:{service['ports'][0]['port']}/behaviour",
        data=json.dumps(change).encode(),
        method="PUT",
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        assert 200 == answer.status


def locked_model(key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model whose backend demands a key, and the Secret that holds it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "locked-key", "namespace": TENANT, "labels": {"modelway.dev/secret": "credentials"}},
        "stringData": {"token": key},
    }
    backend = {
        "name": "main",
        "serviceRef": {"name": "llm-v1", "port": 8000},
        "upstreamModel": "chat-v1",
        "credentials": {"secretRef": {"name": "locked-key", "key": "token"}, "scheme": "Bearer"},
    }
    model = {
        "apiVersion": "modelway.dev/v1alpha1",
        "kind": "LLMModel",
        "metadata": {"name": "locked", "namespace": TENANT},
        "spec": {"backends": [backend]},
    }
    return secret, model


def policy_manifest(model: str) -> dict[str, Any]:
    """examples/canary/policy.yaml, pointing to a model, with times for a test instead of for production."""
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "canary" / "policy.yaml").read_text())
    manifest["spec"]["rules"][0]["targets"][0]["modelRef"]["name"] = model
    strategy = manifest["spec"]["rollouts"][0]["strategy"]
    strategy.update(
        interval=f"{INTERVAL_SECONDS}s", minIntervals=2, minSamples=20, bake={"intervals": 2}, holdDeadline="5m"
    )
    return manifest


def as_flags(values: dict[str, str]) -> list[str]:
    """Values as helm's command line takes them."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def wait_for_release(cluster: Cluster) -> None:
    """Return once every replica of the present revision is ready."""
    for deployment in ("modelway-operator", "modelway-gateway"):
        cluster.kubectl("rollout", "status", "-n", SYSTEM, f"deployment/{deployment}", "--timeout=180s")


def install(cluster: Cluster, folder: Path) -> Installation:
    """Everything, in the order in which an administrator would do it."""
    installation = Installation(cluster)
    for part in PARTS:
        installation.image_ids[part] = cluster.build(part, image(part))
    for namespace in (SYSTEM, TENANT):
        cluster.apply(restricted_namespace(namespace))
    install_prometheus(cluster, folder)
    cluster.helm("install", "modelway", str(CHART), "-n", SYSTEM, *as_flags(CHART_VALUES))
    wait_for_release(cluster)
    simulated = "\n---\n".join(
        path.read_text() for path in sorted((ROOT / "examples" / "simulated-llm").glob("*.yaml"))
    )
    cluster.kubectl(
        "apply", "-n", TENANT, "-f", "-", input=simulated.replace("image: modelway-cli:0.1.0", f"image: {image('cli')}")
    )
    for version in ("v1", "v2", "v3"):
        cluster.kubectl("rollout", "status", "-n", TENANT, f"deployment/llm-{version}", "--timeout=120s")
    cluster.kubectl("rollout", "status", "-n", MONITORING, "deployment/prometheus", "--timeout=120s")
    installation.api_key = create_client(cluster, "demo")
    return installation


def create_client(cluster: Cluster, name: str) -> str:
    """Make a client's key with the product's own command; the key that it prints."""
    done = subprocess.run(
        [
            sys.executable, "-m", "modelway_cli", "client", "create", name, "--namespace", TENANT,
            "--apply", "--kubeconfig", str(cluster.kubeconfig),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return next(word for word in done.stdout.split() if word.startswith("mw-"))


def restricted_namespace(name: str) -> dict[str, Any]:
    """A namespace where Pod Security enforces `restricted`."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def install_prometheus(cluster: Cluster, folder: Path) -> None:
    """Prometheus as a pod; its data outlive the pod, as they would on a volume."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MONITORING}})
    settings = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            {
                "job_name": "modelway",
                "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [SYSTEM]}}],
                "relabel_configs": [
                    {
                        "source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_component"],
                        "regex": "gateway",
                        "action": "keep",
                    },
                    {
                        "source_labels": ["__meta_kubernetes_pod_container_port_name"],
                        "regex": "metrics",
                        "action": "keep",
                    },
                    {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
                ],
            }
        ],
    }
    name = {"name": "prometheus", "namespace": MONITORING}
    labels = {"app": "prometheus"}
    pod = {
        "serviceAccountName": "prometheus",
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"runAsUser": 65534, "runAsNonRoot": True},
        "containers": [
            {
                "name": "prometheus",
                "image": cluster.prometheus_image,
                # Without a request it would be the first to starve on a busy machine.
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "imagePullPolicy": "IfNotPresent",
                "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
                "ports": [{"containerPort": 9090}],
                "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "settings", "mountPath": "/etc/prometheus"},
                    {"name": "data", "mountPath": "/data"},
                ],
            }
        ],
        "volumes": [
            {"name": "settings", "configMap": {"name": "prometheus"}},
            {"name": "data", **volume_for_data(cluster, folder)},
        ],
    }
    reader = {"kind": "ServiceAccount", "name": "prometheus", "namespace": MONITORING}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"prometheus.yml": json.dumps(settings)}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "prometheus", "namespace": SYSTEM},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "prometheus", "namespace": SYSTEM},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "prometheus"},
            "subjects": [reader],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": name,
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": name,
            "spec": {"selector": labels, "ports": [{"port": 9090}]},
        },
    )


def volume_for_data(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """A volume that outlives pods: a folder of this machine, or where pods run elsewhere a claim."""
    if cluster.flavour == "local":
        data = folder / "prometheus"
        data.mkdir()
        data.chmod(0o777)
        return {"hostPath": {"path": str(data), "type": "Directory"}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "prometheus", "namespace": MONITORING}
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
    return {"persistentVolumeClaim": {"claimName": "prometheus"}}


def watch_rollout(
    installation: Installation, done: Callable[[dict[str, Any]], bool], *, seconds: float
) -> list[tuple[dict[str, Any], dict[str, int]]]:
    """Sample the rollout's status and the backends' own counts until `done`; the samples, in order."""
    samples: list[tuple[dict[str, Any], dict[str, int]]] = []

    def look() -> bool:
        samples.append((installation.rollout(), installation.received()))
        return done(samples[-1][0])

    started = time.monotonic()
    wait_until("the rollout gets there", look, seconds=seconds)
    assert time.monotonic() - started <= seconds
    return samples

"""The node of tools/localkube is a real one, and goes without a trace.

The tests of `bare_machine` come first (see `conftest.py`): they need the machine before the session's cluster is there.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.reach import CANNOT_RUN_HERE, LOCALKUBE, Cluster, folders_of_local_node, localkube, wait_until

NAMESPACE = "localkube-test"
STATE = Path(os.environ.get("MODELWAY_LOCALKUBE_STATE") or "/var/lib/modelway-localkube")
SERVER = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = socket.gethostname().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
RESOLVE = "import sys, socket; print(socket.gethostbyname(sys.argv[1]))"
HARMLESS = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node could leave behind."""

    links: list[str]
    mounts: list[str]
    tables: str
    routes: str
    settings: dict[str, str]
    folders: list[str]
    processes: list[str]


def look_around() -> Machine:
    """The machine as it is now; of processes those that name our folders, for others come and go."""
    links = sorted(link.name for link in Path("/sys/class/net").iterdir())
    mounts = sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    settings = ["net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "vm/overcommit_memory", "kernel/panic"]
    present = [Path("/proc/sys") / name for name in settings if (Path("/proc/sys") / name).exists()]
    folders = [str(STATE), "/run/containerd", "/run/netns", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers"]
    groups = [str(group) for group in Path("/sys/fs/cgroup").glob("**/modelway-localkube")]
    return Machine(
        links=links,
        mounts=mounts,
        tables=output("nft", "list", "tables"),
        routes=output("ip", "route"),
        settings={str(path): path.read_text() for path in present},
        folders=[str(folder) for folder in folders if Path(folder).exists()] + groups,
        processes=sorted(processes_of_ours()),
    )


def processes_of_ours() -> Iterator[str]:
    """Command lines that name the state folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(STATE) in words:
                yield words


def output(*command: str) -> str:
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout


@pytest.fixture
def bare_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """The machine without a node; and without one again after the test."""
    if (os.environ.get("MODELWAY_CLUSTER") or "local") != "local":
        pytest.skip("MODELWAY_CLUSTER names another cluster")
    if os.environ.get("MODELWAY_KEEP_CLUSTER") == "1":
        pytest.skip("MODELWAY_KEEP_CLUSTER=1: the node that runs is not to be taken down")
    done = localkube("build", check=False)
    if done.returncode == CANNOT_RUN_HERE:
        request.getfixturevalue("cluster")  # skips or fails, with the reason
    assert done.returncode == 0, done.stderr
    localkube("down")
    yield look_around()
    localkube("down")


@pytest.mark.timeout(1500)
def test_down_leaves_no_trace(bare_machine: Machine) -> None:
    """Up and down, twice, with a pod running: links, mounts, tables, settings, folders, processes are as they were."""
    for _ in range(2):
        localkube("up")
        run_a_pod()
        localkube("down")

        assert bare_machine == look_around()


@pytest.mark.timeout(600)
def test_up_works_after_a_crash(bare_machine: Machine) -> None:
    """With every recorded process killed, `up` gives a Ready node, and `down` leaves no trace."""
    localkube("up")
    run_a_pod()
    pids = [json.loads(path.read_text())["pid"] for path in (STATE / "pids").glob("*.json")]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    localkube("up")

    assert localkube("status").returncode == 0
    localkube("down")
    assert bare_machine == look_around()


@pytest.mark.timeout(600)
def test_a_foreign_process_with_a_recorded_pid_survives(bare_machine: Machine) -> None:
    """A pid that belongs to somebody else by now is not ended: its start time is not the recorded one."""
    del bare_machine
    with subprocess.Popen(["sleep", "600"]) as foreign:
        try:
            (STATE / "pids").mkdir(parents=True)
            record = {"name": "kubelet", "pid": foreign.pid, "start_time": "1"}
            (STATE / "pids" / "kubelet.json").write_text(json.dumps(record))

            localkube("down")

            assert foreign.poll() is None
            assert not STATE.exists()
        finally:
            foreign.kill()


def test_without_root_the_remedy_is_named() -> None:
    """As nobody, `localkube up` exits with 3 and says that it needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as folder:  # the checkout may lie where nobody may look
        Path(folder).chmod(0o755)
        tool = shutil.copytree(LOCALKUBE.parent, Path(folder) / "tools" / LOCALKUBE.parent.name)
        command = [*as_nobody, str(tool / LOCALKUBE.name), "up"]
        done = subprocess.run(command, text=True, capture_output=True, check=False)

    assert (CANNOT_RUN_HERE, True) == (done.returncode, "needs root" in done.stderr), done.stderr


def run_a_pod() -> None:
    """A pod that is Ready on the node of our own."""
    folders = folders_of_local_node()
    own = Cluster(
        flavour="local",
        kubeconfig=folders["kubeconfig"],
        audit_log=None,
        pod_logs=None,
        image="localhost/modelway-base:trixie",
        prometheus_image="localhost/prometheus:test",
        programs=folders["cache"] / "commands",
    )
    own.apply(pod("lonely", namespace="default"))
    own.kubectl("wait", "pod", "lonely", "--for=condition=Ready", "--timeout=60s")


def pod(name: str, *, namespace: str = NAMESPACE, image: str = "localhost/modelway-base:trixie") -> dict[str, Any]:
    """A server that tells its host name."""
    container = {
        "name": "server",
        "image": image,
        "command": ["python3", "-c", SERVER],
        "securityContext": HARMLESS,
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def deployment(name: str, replicas: int, image: str) -> dict[str, Any]:
    template = pod(name, image=image)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
        },
    }


def service(name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


@pytest.fixture(scope="module")
def servers(cluster: Cluster) -> Iterator[Cluster]:
    """Two replicas of a server behind the Service `many`, and one pod behind the Service `single`."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    cluster.apply(
        deployment("many", 2, cluster.image), service("many"), pod("single", image=cluster.image), service("single")
    )
    cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/many", "--timeout=120s")
    cluster.kubectl("-n", NAMESPACE, "wait", "pod/single", "--for=condition=Ready", "--timeout=120s")
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def in_pod(cluster: Cluster, code: str, argument: str, *, check: bool = True) -> str:
    """What a line of Python says inside the pod `single`."""
    words = ("exec", "single", "--", "python3", "-c", code, argument)
    return cluster.kubectl("-n", NAMESPACE, *words, check=check).strip()


def test_the_node_is_ready(cluster: Cluster) -> None:
    """Every node's condition Ready is True."""
    nodes = cluster.get("nodes")["items"]
    ready = [c["status"] for node in nodes for c in node["status"]["conditions"] if c["type"] == "Ready"]

    assert ready
    assert {"True"} == set(ready)


def test_pods_of_a_deployment_get_ready(servers: Cluster) -> None:
    """Both replicas run, are ready, and have addresses of their own."""
    pods = servers.get("pods", "-n", NAMESPACE, "-l", "app=many")["items"]

    assert 2 == len({pod["status"]["podIP"] for pod in pods if pod["status"]["containerStatuses"][0]["ready"]})


def test_a_service_address_reaches_every_replica(servers: Cluster) -> None:
    """From a pod, requests to the cluster address are answered by both replicas, once the node knows of them."""
    address = servers.get("service", "many", "-n", NAMESPACE)["spec"]["clusterIP"]
    answering: set[str] = set()

    def both_answered() -> bool:
        said = in_pod(servers, FETCH, f"http://{address}/", check=False)
        if said.startswith("many-"):
            answering.add(said)
        return len(answering) == 2

    wait_until("answers of both replicas", both_answered, seconds=30)


def test_a_pod_reaches_itself_through_its_service(servers: Cluster) -> None:
    """The way back through the bridge's own port works."""
    assert "single" == in_pod(servers, FETCH, f"http://single.{NAMESPACE}/")


def test_a_service_name_resolves_in_a_pod(servers: Cluster) -> None:
    """Short, half and full names of a Service give its cluster address."""
    address = servers.get("service", "many", "-n", NAMESPACE)["spec"]["clusterIP"]
    names = ["many", f"many.{NAMESPACE}", f"many.{NAMESPACE}.svc.cluster.local"]

    assert [address] * 3 == [in_pod(servers, RESOLVE, name) for name in names]


def test_a_name_outside_of_the_cluster_fails_at_once(servers: Cluster) -> None:
    """The node answers for the whole world: no such name, without a time-out."""
    if servers.flavour != "local":
        pytest.skip("another cluster may resolve it")
    started = time.monotonic()

    assert "Name or service not known" in in_pod(servers, RESOLVE, "registry.example.com", check=False)
    assert time.monotonic() - started < 5


def test_pod_security_is_enforced(servers: Cluster) -> None:
    """A namespace that enforces `restricted` refuses a privileged pod and takes a harmless one."""
    name = f"{NAMESPACE}-restricted"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    servers.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        harmless = pod("harmless", namespace=name, image=servers.image)
        privileged = pod("privileged", namespace=name, image=servers.image)
        privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        words = ("apply", "--dry-run=server", "-f", "-")

        assert "created" in servers.kubectl(*words, input=json.dumps(harmless))
        assert "violates PodSecurity" in servers.kubectl(*words, input=json.dumps(privileged), check=False)
    finally:
        servers.kubectl("delete", "namespace", name, "--wait=false")


def test_the_audit_log_tells_writes_and_no_secret(servers: Cluster) -> None:
    """A created Secret is in the log by its name, without its content; reads are not in it."""
    if servers.audit_log is None:
        pytest.skip("only a node of our own has a log that tests can read")
    words = ("-n", NAMESPACE, "create", "secret", "generic", "audited", "--from-literal=key=not-for-logs")
    servers.kubectl(*words)
    text = servers.audit_log.read_text()
    events = [json.loads(line) for line in text.splitlines()]

    assert any(event["objectRef"].get("name") == "audited" and event["verb"] == "create" for event in events)
    assert "not-for-logs" not in text
    assert set() == {event["verb"] for event in events} & {"get", "list", "watch"}


def test_prometheus_runs_as_a_pod(servers: Cluster) -> None:
    """The image that the node brings along serves queries."""
    if servers.flavour != "local":
        pytest.skip("the image is the node's own")
    prometheus = pod("prometheus", image="localhost/prometheus:test")
    container = prometheus["spec"]["containers"][0]
    del container["command"]
    container["args"] = ["--config.file=/dev/null", "--storage.tsdb.path=/prometheus"]
    container["readinessProbe"] = {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1}
    servers.apply(prometheus)
    servers.kubectl("-n", NAMESPACE, "wait", "pod/prometheus", "--for=condition=Ready", "--timeout=90s")
    address = servers.get("pod", "prometheus", "-n", NAMESPACE)["status"]["podIP"]

    assert '"success"' in in_pod(servers, FETCH, f"http://{address}:9090/api/v1/query?query=vector(1)")

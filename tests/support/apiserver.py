"""A real API server with a real etcd, for tests that need Kubernetes but no node.

It is the binary that `tools/localkube` builds. Where it was not built, tests that ask for it are skipped and say how to
get it; in CI they fail instead. One server serves a whole session, so every test works in namespaces of its own.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tools.localkube.layout import read_layout

from tests.support.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
ADMIN_TOKEN = "admin-token-of-the-tests"
OPERATOR_TOKEN = "operator-token-of-the-tests"
OPERATOR_USER = "modelway-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """Where it is, and how to be let in."""

    url: str
    folder: Path

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    def kubeconfig(self, token: str = ADMIN_TOKEN, *, url: str | None = None) -> Path:
        """A kubeconfig file for one of the users, perhaps by way of a proxy."""
        path = self.folder / f"{uuid.uuid4().hex}.kubeconfig"
        cluster = {"server": url or self.url, "certificate-authority": str(self.ca_file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(document))
        return path

    def context(self) -> ssl.SSLContext:
        """Trusts it."""
        return ssl.create_default_context(cafile=str(self.ca_file))


class Kube:
    """What a user does with kubectl: create, change, read and delete, as the admin."""

    def __init__(self, server: ApiServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        self.headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

    async def call(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", expect: bool = True
    ) -> Any:
        """One request; unless told otherwise, one that must succeed."""
        headers = {**self.headers, "Content-Type": content_type}
        data = None if body is None else json.dumps(body)
        async with self.session.request(method, self.server.url + path, data=data, headers=headers) as answer:
            read = await answer.json(content_type=None)
            if expect:
                assert answer.status < 300, read
            return read

    async def namespace(self, name: str | None = None) -> str:
        """A new namespace, with a name of its own."""
        name = name or f"test-{uuid.uuid4().hex[:10]}"
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """`kubectl create`, for namespaced objects."""
        created: dict[str, Any] = await self.call("POST", collection(manifest), manifest)
        return created

    async def get(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The object as it is now."""
        found: dict[str, Any] = await self.call("GET", f"{collection(manifest)}/{manifest['metadata']['name']}")
        return found

    async def patch(self, manifest: dict[str, Any], patch: dict[str, Any], *, status: bool = False) -> dict[str, Any]:
        """`kubectl patch --type=merge`."""
        path = f"{collection(manifest)}/{manifest['metadata']['name']}{'/status' if status else ''}"
        patched: dict[str, Any] = await self.call("PATCH", path, patch, content_type="application/merge-patch+json")
        return patched

    async def delete(self, manifest: dict[str, Any]) -> None:
        """`kubectl delete`."""
        await self.call("DELETE", f"{collection(manifest)}/{manifest['metadata']['name']}")


PLURALS = {
    "LLMModel": "llmmodels",
    "RoutingPolicy": "routingpolicies",
    "EndpointSlice": "endpointslices",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Service": "services",
    "Lease": "leases",
    "Event": "events",
}


def collection(manifest: dict[str, Any]) -> str:
    """The path of the collection a manifest belongs to."""
    version = manifest["apiVersion"]
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{prefix}/namespaces/{manifest['metadata']['namespace']}/{PLURALS[manifest['kind']]}"


def outside_address() -> str:
    """An address of this machine that is not loopback: EndpointSlices refuse that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
        if not address.startswith("127."):
            return address
    _not_here("this machine has no address but loopback, which EndpointSlices refuse")
    raise AssertionError


@contextlib.contextmanager
def running_apiserver() -> Iterator[ApiServer]:
    """Etcd and kube-apiserver on loopback, with our CRDs."""
    binary = _binary()
    with tempfile.TemporaryDirectory(prefix="modelway-apiserver-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ports = free_ports(3)
        server = ApiServer(url=f"https://127.0.0.1:{ports[2]}", folder=folder)
        _make_keys(folder)
        _start(stack, folder, "etcd", _etcd(binary, folder, ports))
        process = _start(stack, folder, "kube-apiserver", _kube_apiserver(binary, folder, ports))
        _wait_until_ready(server, process)
        _install_crds(server)
        yield server


def _binary() -> Path:
    layout = read_layout()
    # An API server of an older build is an API server too.
    builds = [layout.node_binary, *layout.cache.glob("bin-[0-9a-f]*/node")]
    found = next((build for build in builds if build.exists()), None)
    if found is None:
        _not_here("the API server is not built: run `make node`")
        raise AssertionError
    return found


def _not_here(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def _etcd(binary: Path, folder: Path, ports: list[int]) -> list[str]:
    client, peer = f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    return [
        str(binary), "etcd", "--name=test", f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=warn",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}",
    ]  # fmt: skip


def _kube_apiserver(binary: Path, folder: Path, ports: list[int]) -> list[str]:
    tokens = folder / "tokens.csv"
    tokens.write_text(
        f'{ADMIN_TOKEN},admin,admin,"system:masters"\n{OPERATOR_TOKEN},{OPERATOR_USER},{OPERATOR_USER},"none"\n'
    )
    return [
        str(binary), "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{ports[0]}",
        "--bind-address=127.0.0.1", f"--secure-port={ports[2]}", "--advertise-address=192.0.2.1",
        "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16",
        f"--tls-cert-file={folder}/server.crt", f"--tls-private-key-file={folder}/server.key",
        f"--token-auth-file={tokens}", "--authorization-mode=RBAC", "--profiling=false",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/account.key", f"--service-account-signing-key-file={folder}/account.key",
        f"--cert-dir={folder}",
    ]  # fmt: skip


def _start(stack: contextlib.ExitStack, folder: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    # What they would write down on a kind request is thrown away anyway.
    process.kill()
    process.wait()


def _wait_until_ready(server: ApiServer, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            request(server, "/readyz")
            return
        time.sleep(0.1)
    log = (server.folder / "kube-apiserver.log").read_text(errors="replace")
    raise AssertionError(f"the API server did not start:\n{log[-3000:]}")


def _install_crds(server: ApiServer) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        request(server, path, yaml.safe_load(file.read_text()))
    ends = time.monotonic() + START_SECONDS
    for plural in ("llmmodels", "routingpolicies"):
        while True:
            try:
                request(server, f"/apis/modelway.dev/v1alpha1/{plural}")
                break
            except urllib.error.HTTPError:
                assert time.monotonic() < ends, f"{plural} never came to be"
                time.sleep(0.05)


def request(server: ApiServer, path: str, body: Any = None) -> bytes:
    """GET as the admin, or POST of a body; what was answered."""
    asked = urllib.request.Request(
        server.url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=server.context())
    )
    with opener.open(asked, timeout=30) as answer:
        said: bytes = answer.read()
        return said


def _make_keys(folder: Path) -> None:
    authority, signer = _certificate("test CA", None, None)
    (folder / "ca.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    leaf, key = _certificate("kube-apiserver", authority, signer)
    (folder / "server.crt").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(_pem(key))
    (folder / "account.key").write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))


def _certificate(
    name: str, issuer: x509.Certificate | None, signer: ec.EllipticCurvePrivateKey | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed_by = signer or key
    usage = x509.KeyUsage(
        digital_signature=issuer is not None, key_cert_sign=issuer is None, crl_sign=issuer is None,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), critical=False)
    )
    if issuer is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")])
        builder = builder.add_extension(names, critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return builder.sign(signed_by, hashes.SHA256()), key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # Kubernetes wants SEC 1, not PKCS 8, for its own signing key.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )

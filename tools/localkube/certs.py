"""The node's public-key infrastructure: one authority, made anew at each `up`, that every component trusts.

Kubernetes reads identity from a client certificate: the organisation is the group, the common name the user.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from .layout import API_PORT, FIRST_SERVICE_ADDRESS, NODE_ADDRESS, NODE_NAME, Layout
from .shell import run

DAYS = "365"
API_SERVER_NAMES = (
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,"
    f"DNS:localhost,IP:{NODE_ADDRESS},IP:{FIRST_SERVICE_ADDRESS}"
)
NODE_NAMES = f"DNS:{NODE_NAME},IP:{NODE_ADDRESS}"


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate to make."""

    file: str
    user: str
    group: str = ""
    names: str = ""
    """Subject alternative names, for those that serve."""
    is_client: bool = True
    """Whether a kubeconfig is written for it."""


IDENTITIES = (
    Identity("admin", "localkube-admin", "system:masters"),
    Identity("controller-manager", "system:kube-controller-manager"),
    Identity("scheduler", "system:kube-scheduler"),
    Identity("proxy", "system:kube-proxy"),
    Identity("coredns", "system:coredns"),
    Identity("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
    Identity("kubelet-serving", NODE_NAME, names=NODE_NAMES, is_client=False),
    Identity("apiserver", "kube-apiserver", names=API_SERVER_NAMES, is_client=False),
    Identity("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters", is_client=False),
    Identity("etcd", "etcd", names=NODE_NAMES, is_client=False),
)


def make_certificates(layout: Layout) -> None:
    """The authority, the service-account key, each identity, and the kubeconfigs."""
    pki = layout.pki
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_key(pki / "ca.key")
    run(
        "openssl", "req", "-x509", "-new", "-key", pki / "ca.key", "-subj", "/CN=modelway-localkube", "-days", DAYS,
        "-addext", "keyUsage=critical,keyCertSign,digitalSignature", "-out", pki / "ca.crt",
    )  # fmt: skip
    make_key(pki / "service-account.key")
    for identity in IDENTITIES:
        make_certificate(pki, identity)
        if identity.is_client:
            target = layout.kubeconfig if identity.file == "admin" else pki / f"{identity.file}.kubeconfig"
            write_kubeconfig(pki, identity, target)


def make_key(path: Path) -> None:
    """A P-256 key: RSA keys would take seconds."""
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    path.chmod(0o600)


def make_certificate(pki: Path, identity: Identity) -> None:
    """A key and a certificate signed by the authority."""
    key, request = pki / f"{identity.file}.key", pki / f"{identity.file}.csr"
    extensions = pki / f"{identity.file}.ext"
    make_key(key)
    subject = f"/O={identity.group}/CN={identity.user}" if identity.group else f"/CN={identity.user}"
    run("openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request)
    lines = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"]
    if identity.names:
        lines.append(f"subjectAltName={identity.names}")
    extensions.write_text("\n".join(lines) + "\n")
    run(
        "openssl", "x509", "-req", "-in", request, "-CA", pki / "ca.crt", "-CAkey", pki / "ca.key", "-CAcreateserial",
        "-days", DAYS, "-extfile", extensions, "-out", pki / f"{identity.file}.crt",
    )  # fmt: skip
    request.unlink()
    extensions.unlink()


def write_kubeconfig(pki: Path, identity: Identity, target: Path) -> None:
    """A kubeconfig (JSON is YAML) that carries its certificates inside, so that it may be copied."""

    def inline(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    server = f"https://{NODE_ADDRESS}:{API_PORT}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NODE_NAME,
        "clusters": [
            {"name": NODE_NAME, "cluster": {"server": server, "certificate-authority-data": inline("ca.crt")}}
        ],
        "users": [
            {
                "name": identity.file,
                "user": {
                    "client-certificate-data": inline(f"{identity.file}.crt"),
                    "client-key-data": inline(f"{identity.file}.key"),
                },
            }
        ],
        "contexts": [{"name": NODE_NAME, "context": {"cluster": NODE_NAME, "user": identity.file}}],
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(document, indent=2) + "\n")

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
KEY_TYPE = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")  # RSA keys would take seconds
LEAF_EXTENSIONS = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=clientAuth,serverAuth",
)
# The system's own file would add extensions of its choice.
OPENSSL_CONFIGURATION = "[req]\ndistinguished_name = name\n[name]\n"
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
    (pki / "openssl.cnf").write_text(OPENSSL_CONFIGURATION)
    issue(pki, "ca", "/CN=modelway-localkube", "keyUsage=critical,keyCertSign", "basicConstraints=critical,CA:TRUE")
    for identity in IDENTITIES:
        subject = f"/O={identity.group}/CN={identity.user}" if identity.group else f"/CN={identity.user}"
        names = [f"subjectAltName={identity.names}"] if identity.names else []
        issue(pki, identity.file, subject, *LEAF_EXTENSIONS, *names)
        if identity.is_client:
            target = layout.kubeconfig if identity.file == "admin" else pki / f"{identity.file}.kubeconfig"
            write_kubeconfig(pki, identity, target)
    private, public = pki / "service-account.key", pki / "service-account.pub"
    run("openssl", "genpkey", *KEY_TYPE, "-out", private)
    run("openssl", "pkey", "-in", private, "-pubout", "-out", public)


def issue(pki: Path, file: str, subject: str, *extensions: str) -> None:
    """A key and a certificate, signed by the authority (which signs its own)."""
    authority = () if file == "ca" else ("-CA", pki / "ca.crt", "-CAkey", pki / "ca.key")
    run(
        "openssl", "req", "-x509", "-config", pki / "openssl.cnf", *authority, "-days", DAYS,
        "-newkey", "ec", *KEY_TYPE[2:], "-noenc", "-subj", subject,
        *(word for extension in extensions for word in ("-addext", extension)),
        "-keyout", pki / f"{file}.key", "-out", pki / f"{file}.crt",
    )  # fmt: skip


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

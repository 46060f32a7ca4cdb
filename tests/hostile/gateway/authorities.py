"""Certificates as the operator makes them, and as an attacker would like to have them."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelway_contract.names import ADMIN_SERVER_NAME, OPERATOR_CLIENT_NAME
from modelway_gateway.admin_listener import AUTHORITY_NAME, CERTIFICATE_NAME, KEY_NAME


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A certificate authority."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "modelway internal")])
        now = dt.datetime.now(dt.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=30))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *, common_name: str = "", days: int = 1, for_clients: bool = True) -> Pair:
        """One certificate for this DNS name; with negative days it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if for_clients else ExtendedKeyUsageOID.SERVER_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def write_server(self, folder: Path) -> None:
        """What a gateway mounts."""
        pair = self.issue(ADMIN_SERVER_NAME, for_clients=False)
        (folder / CERTIFICATE_NAME).write_bytes(pair.certificate)
        (folder / KEY_NAME).write_bytes(pair.key)
        (folder / AUTHORITY_NAME).write_bytes(self.pem)

    def operator(self) -> Pair:
        """The one client that is admitted."""
        return self.issue(OPERATOR_CLIENT_NAME)


def client_context(server_authority: Authority, pair: Pair | None, folder: Path) -> ssl.SSLContext:
    """A caller that trusts this authority and shows this certificate, or none."""
    context = ssl.create_default_context(cadata=server_authority.pem.decode())
    if pair is not None:
        path = folder / "client.pem"
        path.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(path)
        path.unlink()
    return context

"""The internal certificates: an authority of our own, one server name, one client name, all renewed by age.

Rule: what should exist is a function of what is stored and of the time, so that any replica, at any moment, comes to
the same answer. A new authority is trusted for a day by both sides before anything is signed with it, and the old one
is trusted until it expires; so no push is lost on the way.
"""

import contextlib
import datetime as dt
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelway_contract.names import ADMIN_SERVER_NAME, OPERATOR_CLIENT_NAME

AUTHORITY_LIFE: Final = dt.timedelta(days=5 * 365)
LEAF_LIFE: Final = dt.timedelta(days=90)
RENEW_AT: Final = 2 / 3
"""The part of its life after which a certificate is replaced."""
TRUSTED_BEFORE_USE: Final = dt.timedelta(days=1)
"""How long a new authority is only trusted: longer than a kubelet takes to bring a changed Secret to a pod."""
BACKDATE: Final = dt.timedelta(minutes=5)
"""Clocks differ: a certificate is valid a little before it was made."""

CA_CERTIFICATE: Final = "ca.crt"
CA_KEY: Final = "ca.key"
CA_PREVIOUS: Final = "ca-previous.crt"
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate with its private key, both PEM. Its text form shows neither."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair(…)"

    @property
    def parsed(self) -> x509.Certificate:
        """The certificate as an object."""
        return x509.load_pem_x509_certificate(self.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Everything both sides need: the authority, the authority before it, and the two leaves."""

    authority: Pair
    previous: bytes | None
    server: Pair
    client: Pair

    @property
    def trusted(self) -> bytes:
        """The authorities that a peer's certificate is checked against."""
        return self.authority.certificate + (self.previous or b"")

    def as_ca_secret(self) -> dict[str, bytes]:
        """Contents of the Secret that only the operator reads."""
        data = {
            CA_CERTIFICATE: self.authority.certificate,
            CA_KEY: self.authority.key,
            CERTIFICATE: self.client.certificate,
            KEY: self.client.key,
        }
        return data if self.previous is None else {**data, CA_PREVIOUS: self.previous}

    def as_tls_secret(self) -> dict[str, bytes]:
        """Contents of the Secret that gateways mount: with it alone nobody can push."""
        return {CERTIFICATE: self.server.certificate, KEY: self.server.key, CA_CERTIFICATE: self.trusted}


def renew(ca_secret: Mapping[str, bytes], tls_secret: Mapping[str, bytes], *, now: dt.datetime) -> Identity:
    """What should be stored now, keeping all that is stored and still good; equal to it when nothing is due."""
    authority = _stored(ca_secret, CA_CERTIFICATE, CA_KEY)
    if authority is None or _expired(authority, now):
        fresh = _new_authority(now)
        return Identity(
            authority=fresh,
            previous=None,
            server=_new_leaf(fresh, ADMIN_SERVER_NAME, server=True, now=now),
            client=_new_leaf(fresh, OPERATOR_CLIENT_NAME, server=False, now=now),
        )
    server = _stored(tls_secret, CERTIFICATE, KEY)
    client = _stored(ca_secret, CERTIFICATE, KEY)
    previous = _unexpired(ca_secret.get(CA_PREVIOUS), now)
    signer = authority
    if _is_due(authority, now):
        previous, authority = authority.certificate, _new_authority(now)
    known = Identity(authority=authority, previous=previous, server=server or signer, client=client or signer)
    # For its first day a new authority signs nothing; what the old one signed goes on being good meanwhile.
    resting = previous is not None and now - _born(authority) < TRUSTED_BEFORE_USE
    allowed = [authority.certificate, previous] if resting and previous else [authority.certificate]
    if server is None or not _fits(server, ADMIN_SERVER_NAME, allowed, now):
        known = replace(known, server=_new_leaf(signer, ADMIN_SERVER_NAME, server=True, now=now))
    if client is None or not _fits(client, OPERATOR_CLIENT_NAME, allowed, now):
        known = replace(known, client=_new_leaf(signer, OPERATOR_CLIENT_NAME, server=False, now=now))
    return known


def client_context(identity: Identity) -> ssl.SSLContext:
    """The operator's side of a push: shows its certificate, and believes only our own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=identity.trusted.decode())
    with _file(identity.client.certificate + identity.client.key) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    # The ssl module reads keys from files only. Memory has a file name on Linux, so no key touches a disk there.
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def _new_authority(now: dt.datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # Its birth stands in its name, so that the two of a change are told apart by who issued a leaf.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"modelway internal CA {now:%Y-%m-%dT%H:%M:%SZ}")])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def _new_leaf(authority: Pair, name: str, *, server: bool, now: dt.datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.parsed
    signing_key = serialization.load_pem_private_key(authority.key, password=None)
    assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + LEAF_LIFE, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
        .sign(signing_key, hashes.SHA256())
    )
    return _pair(certificate, key)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _stored(data: Mapping[str, bytes], certificate: str, key: str) -> Pair | None:
    """A pair as it is stored; None when it is missing, damaged, or not a pair, since all of these are mended alike."""
    pair = Pair(certificate=data.get(certificate, b""), key=data.get(key, b""))
    try:
        private = serialization.load_pem_private_key(pair.key, password=None)
        public = pair.parsed.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != public:
        return None
    return pair


def _fits(leaf: Pair, name: str, authorities: list[bytes], now: dt.datetime) -> bool:
    certificate = leaf.parsed
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    if names.get_values_for_type(x509.DNSName) != [name] or _is_due(leaf, now):
        return False
    return any(_signed_by(certificate, x509.load_pem_x509_certificate(authority)) for authority in authorities)


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _born(pair: Pair) -> dt.datetime:
    return pair.parsed.not_valid_before_utc + BACKDATE


def _is_due(pair: Pair, now: dt.datetime) -> bool:
    born, ends = _born(pair), pair.parsed.not_valid_after_utc
    return now >= born + (ends - born) * RENEW_AT


def _expired(pair: Pair, now: dt.datetime) -> bool:
    return now >= pair.parsed.not_valid_after_utc


def _unexpired(certificate: bytes | None, now: dt.datetime) -> bytes | None:
    if not certificate:
        return None
    try:
        return certificate if now < x509.load_pem_x509_certificate(certificate).not_valid_after_utc else None
    except ValueError:
        return None

"""Keys of backends and authorities, out of Secrets and ConfigMaps.

Rule: a problem is told by the names of Secret, key and remedy, never by anything of the content, not even its length.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509

from modelway_contract.names import SECRET_LABEL, SecretUse
from modelway_operator.api.conditions import ResolvedRefsReason
from modelway_operator.api.llmmodel import ConfigMapKeyRef, SecretKeyRef
from modelway_operator.core.snapshot import ConfigMap, ObjectKey, Secret

MAX_KEY_BYTES = 8 * 1024
MAX_CA_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RefProblem:
    """Why a reference leads nowhere."""

    reason: ResolvedRefsReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Key:
    """A usable key and where it comes from; has no representation, so that no log can show one."""

    id: str
    source: str
    value: str


def read_key(ref: SecretKeyRef, namespace: str, secrets: Mapping[ObjectKey, Secret]) -> Key | RefProblem:
    """The key that a backend names."""
    secret = secrets.get(ObjectKey(namespace, ref.name))
    if secret is None or secret.use != SecretUse.CREDENTIALS:
        return RefProblem(
            reason=ResolvedRefsReason.SECRET_NOT_FOUND,
            message=f"there is no Secret {ref.name} labelled {SECRET_LABEL}: {SecretUse.CREDENTIALS} in namespace "
            f"{namespace}; create it, or label the one that is meant",
        )
    data = secret.data.get(ref.key)
    if data is None:
        return RefProblem(
            reason=ResolvedRefsReason.SECRET_KEY_MISSING,
            message=f"Secret {ref.name} has no key {ref.key}; add it, or name another under secretRef.key",
        )
    text = key_text(data)
    if text is None:
        return RefProblem(
            reason=ResolvedRefsReason.SECRET_KEY_MISSING,
            message=f"key {ref.key} of Secret {ref.name} cannot be sent in a header: it must be one line of printable "
            f"ASCII, not empty and at most {MAX_KEY_BYTES} bytes; store the bare key",
        )
    return Key(
        id=f"{namespace}/{ref.name}/{ref.key}",
        source=f"{namespace}/{ref.name}/{ref.key} {secret.uid} {secret.resource_version}",
        value=text,
    )


def key_text(data: bytes) -> str | None:
    """A key as it goes into a header, without the line end that `echo` leaves; None if it cannot go there."""
    bare = data.rstrip(b"\r\n")
    if not bare or len(bare) > MAX_KEY_BYTES or not bare.isascii():
        return None
    text = bare.decode("ascii")
    return text if text.isprintable() and text == text.strip() else None


def read_authorities(
    ref: ConfigMapKeyRef, namespace: str, config_maps: Mapping[ObjectKey, ConfigMap]
) -> str | RefProblem:
    """The certificates (PEM) that a backend's certificate is checked against."""
    config_map = config_maps.get(ObjectKey(namespace, ref.name))
    text = config_map.data.get(ref.key) if config_map is not None else None
    if text is None:
        missing = f"there is no ConfigMap {ref.name}" if config_map is None else f"ConfigMap {ref.name} lacks {ref.key}"
        return RefProblem(
            reason=ResolvedRefsReason.CONFIG_MAP_NOT_FOUND,
            message=f"{missing} in namespace {namespace}; create it with the authorities' certificates, or correct "
            "tls.caRef",
        )
    if not _is_pem(text):
        return RefProblem(
            reason=ResolvedRefsReason.CONFIG_MAP_NOT_FOUND,
            message=f"key {ref.key} of ConfigMap {ref.name} does not hold certificates in PEM form, at most "
            f"{MAX_CA_BYTES} bytes; put the authorities' certificates there",
        )
    return text


def _is_pem(text: str) -> bool:
    """Whether a TLS library will take it: a gateway that cannot would refuse the whole config."""
    if len(text) > MAX_CA_BYTES or not text.isascii():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(x509.load_pem_x509_certificates(text.encode("ascii")))
        except ValueError:
            return False

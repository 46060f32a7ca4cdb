"""Bytes to structs and back, canonical form and digests.

Rule: a digest is taken over canonical bytes, so equal structs have equal digests on both sides whatever the
transport did.
"""

import gzip
import hashlib
import zlib
from typing import Final, TypeVar

import msgspec

from modelway_contract.config import SCHEMA_MAJOR, Base, Credentials, LiveState, Push
from modelway_contract.wire import Wire

MAX_DOCUMENT_BYTES: Final = 32 * 1024 * 1024
"""Bound of a config once unpacked; a gzip bomb ends here."""

W = TypeVar("W", bound=Wire)

_encoder = msgspec.json.Encoder(order="deterministic")


class ContractError(ValueError):
    """A document does not follow the contract. `path` points into it, `code` is for programs, the text for people."""

    def __init__(self, message: str, *, path: str = "$", code: str = "invalid") -> None:
        """Keep the three parts that a 422 carries."""
        super().__init__(message)
        self.path = path
        self.code = code


def encode(value: Wire) -> bytes:
    """Canonical JSON: fields in order of declaration, defaults left out."""
    return _encoder.encode(value)


def decode(data: bytes, of: type[W]) -> W:
    """Read one document strictly.

    Raises ContractError, whose path is msgspec's (`$.base.models[3].key`).
    """
    try:
        return msgspec.json.decode(data, type=of)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `")
        raise ContractError(text, path=path.rstrip("`") or "$", code="schema") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ContractError(f"not a JSON document: {exc}", code="json") from exc


def digest(value: Wire) -> str:
    """`sha256:` and 64 hexadecimal digits of the canonical form."""
    return "sha256:" + hashlib.sha256(encode(value)).hexdigest()


def digest_base(base: Base) -> str:
    """Digest of the base section."""
    return digest(base)


def digest_live(state: LiveState) -> str:
    """Digest of the live section without its place in the order of pushes."""
    return digest(state)


def digest_credentials(credentials: Credentials) -> str:
    """Digest of where the credentials come from (Secret uids and versions), never of the keys themselves."""
    return "sha256:" + hashlib.sha256("\n".join(credentials.sources).encode()).hexdigest()


def revision(push: Push) -> str:
    """Digest of the whole config: base, credentials and live without epoch and sequence."""
    parts = (push.base_digest, push.credentials_digest, digest_live(push.live.state))
    return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


def verify(push: Push) -> None:
    """Check that the sections are of a major we know and are what their digests say.

    Raises ContractError (`digest_mismatch`, `schema_major`).
    """
    if push.base is not None:
        if push.base.schema_major != SCHEMA_MAJOR:
            raise ContractError(
                f"schema major {push.base.schema_major} is not {SCHEMA_MAJOR}; run operator and gateway of one release",
                path="$.base.schema_major",
                code="schema_major",
            )
        if digest_base(push.base) != push.base_digest:
            raise ContractError("base is not what base_digest says", path="$.base", code="digest_mismatch")
    if push.credentials is not None and digest_credentials(push.credentials) != push.credentials_digest:
        raise ContractError(
            "credentials are not what credentials_digest says", path="$.credentials", code="digest_mismatch"
        )


def pack(push: Push) -> bytes:
    """The document as it travels and is stored: gzip, which carries a checksum; equal pushes give equal bytes."""
    return gzip.compress(encode(push), compresslevel=6, mtime=0)


def unpack(data: bytes) -> Push:
    """Read a packed document, bounded by `MAX_DOCUMENT_BYTES`.

    Raises ContractError for anything else than a whole, intact, valid push.
    """
    reader = zlib.decompressobj(wbits=31)
    try:
        document = reader.decompress(data, MAX_DOCUMENT_BYTES)
    except zlib.error as exc:
        raise ContractError("not intact gzip data", code="gzip") from exc
    if reader.unconsumed_tail:
        raise ContractError(f"larger than {MAX_DOCUMENT_BYTES} bytes unpacked", code="too_large")
    if not reader.eof or reader.unused_data:
        raise ContractError("truncated or followed by other data", code="gzip")
    push = decode(document, Push)
    verify(push)
    return push

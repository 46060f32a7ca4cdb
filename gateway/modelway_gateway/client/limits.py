"""Bounds on what one client connection may cost. Each has its own refusal or its own reason to close."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Sizes in bytes, times in seconds."""

    body_bytes: int = 20 * 1024 * 1024
    """A larger body is answered with 413, before it is read when its length is announced."""
    header_bytes: int = 16 * 1024
    """One header, name and value together (and the request line)."""
    header_count: int = 128
    header_block_bytes: int = 64 * 1024
    """All headers of one request together."""
    header_seconds: float = 10.0
    """From a connection's start, or a header's first byte, until the header is complete."""
    body_seconds: float = 60.0
    """From the end of the header until the body is complete."""
    keep_alive_seconds: float = 75.0
    """How long a connection may rest between two requests."""
    write_stall_seconds: float = 60.0
    """How long a client may take nothing of an answer that waits for it."""
    write_buffer_bytes: int = 64 * 1024
    """How much of an answer may wait in memory before the upstream is paused."""

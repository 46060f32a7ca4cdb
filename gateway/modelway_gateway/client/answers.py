"""The bytes of an answer's head, and the refusals that a connection gives by itself.

The rule: a refusal's bytes are made once, at import; nothing a client sent can get into them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

CHUNK_END = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus}


class Peer(Protocol):
    """What an answer's head depends on."""

    keep_alive: bool
    version_1_1: bool


class _Clock:
    """The Date line, written once a second by the server's sweep instead of once an answer."""

    __slots__ = ("line", "second")

    def __init__(self) -> None:
        self.second = -1
        self.line = b""

    def set(self, unix_seconds: float) -> None:
        second = int(unix_seconds)
        if second != self.second:
            self.second = second
            self.line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")


DATE = _Clock()


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def _connection_line(peer: Peer) -> bytes:
    if peer.version_1_1:
        return b"" if peer.keep_alive else b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if peer.keep_alive else b""


def answer_block(status: int, headers: bytes, body: bytes, peer: Peer, *, length: int) -> bytes:
    """The head of an answer of known length, and as much of its body as goes out with it."""
    return b"%b%b%b%bContent-Length: %d\r\n\r\n%b" % (
        _STATUS_LINES.get(status) or _status_line(status),
        headers,
        DATE.line,
        b"" if peer.keep_alive and peer.version_1_1 else _connection_line(peer),
        length,
        body,
    )


def stream_head(status: int, headers: bytes, peer: Peer) -> bytes:
    """The head of an answer that ends when it ends: chunked, or by closing where a client knows no chunks."""
    if peer.version_1_1:
        framing = b"Transfer-Encoding: chunked\r\n" + _connection_line(peer)
    else:
        framing = b"Connection: close\r\n"
    return b"%b%b%b%b\r\n" % (_status_line(status), headers, DATE.line, framing)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that no handler gave; its connection closes after it."""

    status: int
    body: bytes

    def block(self) -> bytes:
        head = b"%b%bContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        return head % (_status_line(self.status), DATE.line, len(self.body)) + self.body


def _refusal(status: int, code: str, message: str, *, type_: str = "invalid_request_error") -> Refusal:
    error = {"message": message, "type": type_, "code": code, "param": None}
    return Refusal(status, json.dumps({"error": error}, separators=(",", ":")).encode())


BAD_REQUEST = _refusal(400, "bad_http_request", "The request is not well-formed HTTP/1.1.")
BAD_BODY = _refusal(400, "bad_http_body", "The request's body is not framed as its headers say.")
BAD_TARGET = _refusal(400, "bad_http_target", "The request line must name a path on this host.")
NO_UPGRADE = _refusal(400, "upgrade_not_supported", "This server does not switch protocols.")
HEADER_TIMEOUT = _refusal(408, "header_timeout", "The request's headers did not arrive in time.")
BODY_TIMEOUT = _refusal(408, "body_timeout", "The request's body did not arrive in time.")
BODY_TOO_LARGE = _refusal(413, "body_too_large", "The request's body is larger than this server accepts.")
NO_CONTENT_CODING = _refusal(415, "content_encoding_not_supported", "Send the body without Content-Encoding.")
UNKNOWN_EXPECTATION = _refusal(417, "expectation_failed", "Only 'Expect: 100-continue' is understood.")
HEADERS_TOO_LARGE = _refusal(431, "headers_too_large", "The request's headers are larger than this server accepts.")
INTERNAL_ERROR = _refusal(500, "internal_error", "The gateway failed to handle this request.", type_="api_error")
BAD_VERSION = _refusal(505, "http_version_not_supported", "Use HTTP/1.1.")

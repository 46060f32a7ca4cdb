"""An answer that is not streamed: read to its end, looked at, and sent in one piece.

The rule: a client gets a whole JSON object or an error, never half of one.
"""

from __future__ import annotations

from time import perf_counter

import msgspec

from modelway_contract.names import Outcome
from modelway_gateway.answering import JSON_LINE, Answer
from modelway_gateway.core.body import read_answer, write_fields
from modelway_gateway.core.sse import has_error
from modelway_gateway.failures import MAX_ERROR_BYTES, bad_answer, from_error_in_answer, from_status, too_large
from modelway_gateway.upstream.interface import Headers

MAX_ANSWER_BYTES = 32 * 1024 * 1024


class WholeAnswer(Answer):
    """Sink of exchanges without `stream`."""

    STREAMED = False

    __slots__ = ("_head_at", "_parts", "_size", "_wanted_model")

    def _prepare(self, wanted_model: msgspec.Raw | None) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._wanted_model = wanted_model

    def on_head(self, status: int, headers: Headers) -> None:
        self._status = status
        self._upstream_headers = headers
        self._head_at = perf_counter()
        if self._exchange is not None:
            self._exchange.content_began()

    def on_data(self, data: bytes) -> None:
        if self._ended:
            return
        self._size = size = self._size + len(data)
        if size <= MAX_ERROR_BYTES or (size <= MAX_ANSWER_BYTES and self._status == 200):
            self._parts.append(data)
        elif self._status == 200:
            self._give_up(too_large(self._offer.backend))
        else:
            self._give_up(from_status(self._status, self._upstream_headers, b"", self._offer.backend))

    def on_end(self) -> None:
        if self._ended:
            return
        now = perf_counter()
        body, backend = b"".join(self._parts), self._offer.backend
        if self._status != 200:
            self._fail(from_status(self._status, self._upstream_headers, body, backend))
            return
        fields = read_answer(body)
        if fields is None:
            self._fail(bad_answer(backend, "sent something that is not a JSON object"))
            return
        if "choices" not in fields and has_error(body):
            self._fail(from_error_in_answer(body, backend))
            return
        if self._wanted_model is not None and "model" in fields:
            fields["model"] = self._wanted_model
            body = write_fields(fields)
        self._content_began(self._head_at)
        self._call.answer(200, JSON_LINE + self._lines(now), body)
        self._end(Outcome.SUCCESS)

"""A streamed answer: events are handed on as they come, once the first content has come.

Rules to know: until then nothing is committed, because upstreams report errors inside a 200, and an error is still a
clean one. After it the answer can only end in two ways: with `[DONE]`, or with an event that says `error` and a
connection that closes.
"""

from __future__ import annotations

import re
import time
from time import perf_counter
from typing import Final

import msgspec

from modelway_contract.names import Outcome
from modelway_gateway.answering import Answer
from modelway_gateway.client.call import Stream
from modelway_gateway.core.attempts import Step
from modelway_gateway.core.sse import SseEvent, SseEventTooLargeError, SseSplitter, Tally, has_error, is_done
from modelway_gateway.errors import AnsweredError, render_last_event
from modelway_gateway.failures import (
    MAX_ERROR_BYTES,
    Failure,
    bad_answer,
    broken_stream,
    from_error_in_answer,
    from_status,
)
from modelway_gateway.upstream.interface import Headers

MAX_HELD_EVENTS: Final = 64
MAX_HELD_BYTES: Final = 256 * 1024
OPEN_AFTER_SECONDS: Final = 10.0
"""Without content for so long, the answer is begun with a comment: no proxy between gives up then."""

STREAM_LINES: Final = (
    b"Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
)
_KEEP_ALIVE: Final = b": waiting for the model\n\n"
_MODEL: Final = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')


class StreamedAnswer(Answer):
    """Sink of exchanges with `stream`."""

    STREAMED = True

    __slots__ = (
        "_commented_at",
        "_committed",
        "_held",
        "_held_bytes",
        "_is_sse",
        "_model_seen",
        "_model_wanted",
        "_parts",
        "_splitter",
        "_stream",
        "_tally",
    )

    def begin(self) -> None:
        self._committed = False
        self._stream: Stream | None = None
        self._commented_at = self._call.received_at
        self._floor.unopened.add(self)
        super().begin()

    def sweep(self, now: float) -> None:
        """Keep the client's side alive while there is no content yet; `now` is `loop.time()`."""
        if now - self._commented_at >= OPEN_AFTER_SECONDS:
            self._commented_at = now
            self._open(perf_counter()).write(_KEEP_ALIVE)

    def _prepare(self, wanted_model: msgspec.Raw | None) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._parts: list[bytes] = []
        self._is_sse = False
        self._splitter = SseSplitter()
        self._tally = Tally()
        self._model_wanted = b'"model":' + bytes(wanted_model) if wanted_model is not None else None
        self._model_seen = b""

    def _take(self, step: Step) -> None:
        super()._take(step)
        if self._stream is not None and self._exchange is not None:  # comments have begun the answer already
            self._stream.on_back_pressure(self._exchange.pause, self._exchange.resume)

    def _next_step(self, failure: Failure) -> Step | None:
        """Nobody once events have gone out, even without content: two beginnings in one stream are no answer."""
        return None if self._committed else super()._next_step(failure)

    # The sink

    def on_head(self, status: int, headers: Headers) -> None:
        self._status = status
        self._upstream_headers = headers
        self._is_sse = status == 200 and any(
            name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers
        )

    def on_data(self, data: bytes) -> None:
        if self._ended:
            return
        if not self._is_sse:
            self._keep(data)
            return
        try:
            events = self._splitter.feed(data)
        except SseEventTooLargeError:
            self._give_up(self._broken("sent too large an event"))
            return
        if events:
            self._read(events)

    def on_end(self) -> None:
        if self._ended:
            return
        if not self._is_sse:
            self._fail(self._not_a_stream())
            return
        last = self._splitter.finish()
        if last is not None and last[1] is not None and is_done(last[1]):  # anything else was cut off
            self._read([(last[0] + b"\n\n", last[1])])
        if not self._ended:
            self._fail(self._broken("ended the stream before it was complete"))

    # From events to the client

    def _read(self, events: list[SseEvent]) -> None:
        out: list[bytes] = []
        done = False
        for raw, data in events:
            if data is None:
                out.append(raw)
                continue
            if is_done(data):
                out.append(raw)
                done = True
                break
            if has_error(data):
                if self._content_at:
                    self._pass_on(out)
                self._give_up(self._error_in_stream(data))
                return
            if self._tally.add(data) and not self._content_at:
                self._begin_content()
            out.append(raw if self._model_wanted is None else self._renamed(raw))
        if done:
            self._finish(out)
        else:
            self._pass_on(out)

    def _begin_content(self) -> None:
        self._content_began(perf_counter())
        if self._exchange is not None:
            self._exchange.content_began()

    def _pass_on(self, out: list[bytes]) -> None:
        """Send, or hold back while there is no content."""
        if not self._committed:
            self._held += out
            self._held_bytes += sum(map(len, out))
            if not self._content_at and len(self._held) <= MAX_HELD_EVENTS and self._held_bytes <= MAX_HELD_BYTES:
                return
            self._committed = True
            self._floor.unopened.discard(self)
            self._open(self._content_at or perf_counter())
            out, self._held = self._held, []
        assert self._stream is not None
        self._stream.write(out[0] if len(out) == 1 else b"".join(out))

    def _finish(self, out: list[bytes]) -> None:
        now = perf_counter()
        stream = self._open(now)
        exchange = self._exchange
        stream.end(b"".join((*self._held, *out)))
        self._held = []
        tokens = self._tally.completion_tokens
        if self._content_at and tokens > 1 and self._hidden is None:
            assert self._decision.series is not None
            self._decision.series.tpot.observe((now - self._content_at) / (tokens - 1))
        self._end(Outcome.SUCCESS)
        if exchange is not None:
            exchange.resume()  # what follows [DONE] is read and dropped, so that the connection can be used again

    def _open(self, since: float) -> Stream:
        stream = self._stream
        if stream is None:
            stream = self._stream = self._call.start_stream(200, STREAM_LINES + self._lines(since))
            if self._exchange is not None:
                stream.on_back_pressure(self._exchange.pause, self._exchange.resume)
        return stream

    def _renamed(self, raw: bytes) -> bytes:
        """The event with the model that served. The name is looked for once; quotes inside of strings are escaped."""
        assert self._model_wanted is not None
        if self._model_seen:
            renamed = raw.replace(self._model_seen, self._model_wanted, 1)
            if renamed is not raw:
                return renamed
        found = _MODEL.search(raw)
        if found is None:
            return raw
        self._model_seen = found.group()
        return raw.replace(self._model_seen, self._model_wanted, 1)

    # What can go wrong

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_ERROR_BYTES:
            self._give_up(self._not_a_stream())

    def _not_a_stream(self) -> Failure:
        body, backend = b"".join(self._parts), self._offer.backend
        if self._status != 200:
            return from_status(self._status, self._upstream_headers, body, backend)
        if has_error(body):
            return from_error_in_answer(body, backend)
        return bad_answer(backend, "answered a request for a stream with something else")

    def _broken(self, what: str) -> Failure:
        return broken_stream(self._offer.backend, what, content_began=self._content_at > 0)

    def _error_in_stream(self, data: bytes) -> Failure:
        if self._content_at:
            return self._broken("reported an error in mid-stream")
        return from_error_in_answer(data, self._offer.backend)

    def _answer_error(self, error: AnsweredError) -> None:
        stream = self._stream
        if stream is None:
            super()._answer_error(error)
            return
        model, decision = self._option.model.public_name, self._ticket.decision_id
        stream.write(render_last_event(error, decision=decision, model=model, created=int(time.time())))
        stream.fail()

    def _end(self, outcome: Outcome) -> None:
        self._floor.unopened.discard(self)
        super()._end(outcome)
        self._stream = None  # it knows the exchange, which knows us

"""The client's port: which path does what. No path is rewritten or guessed; any other one is 404.

The rule: endpoints never build error JSON; they hand an error to `Chat.refuse`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import msgspec

from modelway_contract.config import PublicName
from modelway_gateway.answering import JSON_LINE
from modelway_gateway.chat import Chat, Tickets, model_not_found, no_config
from modelway_gateway.client.call import Call
from modelway_gateway.core.identity import identify
from modelway_gateway.core.runtime import Runtime
from modelway_gateway.errors import AnsweredError, Code, RequestError
from modelway_gateway.live import LiveConfig

CHAT_PATH: Final = "/v1/chat/completions"
MODELS_PATH: Final = "/v1/models"
OWNER: Final = "modelway"


class _ModelObject(msgspec.Struct):
    id: str
    created: int
    object: str = "model"
    owned_by: str = OWNER


class _ModelList(msgspec.Struct):
    data: tuple[_ModelObject, ...]
    object: str = "list"


_encode: Final = msgspec.json.Encoder().encode


class Endpoints:
    """The handler of the client's port."""

    def __init__(self, *, live: LiveConfig, chat: Chat, tickets: Tickets) -> None:
        self._live = live
        self._chat = chat
        self._tickets = tickets

    def handle(self, call: Call) -> None:
        """Answer one call, now or later."""
        path = call.path
        if path == CHAT_PATH and call.method == "POST":
            self._chat.handle(call)
        elif path == MODELS_PATH and call.method in ("GET", "HEAD"):
            self._models(call, None)
        elif path.startswith(MODELS_PATH + "/") and call.method in ("GET", "HEAD"):
            self._models(call, unquote(path[len(MODELS_PATH) + 1 :]))
        else:
            known = path in (CHAT_PATH, MODELS_PATH) or path.startswith(MODELS_PATH + "/")
            self._refuse(call, _wrong_method(path) if known else _unknown_path())

    def _models(self, call: Call, name: str | None) -> None:
        runtime = self._live.current
        try:
            if runtime is None:
                raise no_config()
            namespace, _ = identify(runtime, call.headers.getall("Authorization", ()))
            if name is None:
                listing = tuple(_object(each) for each in runtime.names.listing(namespace))
                body = _encode(_ModelList(listing))
            else:
                body = _encode(_find(runtime, namespace, name))
        except AnsweredError as exc:
            self._refuse(call, exc)
            return
        ticket = self._tickets.next(call, runtime)
        lines = ticket.lines(attempts=0, fallbacks=0, overhead_seconds=0.0)
        call.answer(200, JSON_LINE + lines, body)

    def _refuse(self, call: Call, exc: AnsweredError) -> None:
        self._chat.refuse(call, exc, self._tickets.next(call, self._live.current))


def _object(public: PublicName) -> _ModelObject:
    return _ModelObject(public.name, public.created)


def _find(runtime: Runtime, namespace: str, name: str) -> _ModelObject:
    for public in runtime.names.listing(namespace):
        if public.name == name:
            return _object(public)
    if runtime.names.find(namespace, name) is None:
        raise model_not_found()
    return _ModelObject(name, 0)  # by a glob


def _unknown_path() -> RequestError:
    return RequestError(Code.UNKNOWN_URL, "There is nothing at this path.", status=404)


def _wrong_method(path: str) -> RequestError:
    allowed = "POST" if path == CHAT_PATH else "GET"
    return RequestError(Code.METHOD_NOT_ALLOWED, f"Use {allowed} here.", status=405)

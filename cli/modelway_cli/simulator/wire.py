"""The OpenAI chat format as bytes: the requests that are read, the answers and errors that are written.

Rule: nothing here waits or knows a connection; it turns values into bytes and back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from modelway_cli.simulator.fate import Fate

DONE: Final = b"data: [DONE]\n\n"
CREATED: Final = 1_700_000_000
"""Every answer's `created`: a fixed moment, so that the same seed gives the same bytes."""


class Role(StrEnum):
    """Who may speak in a conversation."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    FUNCTION = "function"


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation; its content is counted, not understood."""

    role: Role
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """What a client wants to know at a stream's end."""

    include_usage: bool = False


class ChatRequest(msgspec.Struct, frozen=True):
    """The fields of a chat request that matter here; all others are let through."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None

    @property
    def token_limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def prompt_tokens(self) -> int:
        return sum(_tokens_in(message.content) for message in self.messages)


def _tokens_in(content: str | list[dict[str, Any]] | None) -> int:
    if content is None:
        return 0
    texts = [content] if isinstance(content, str) else [str(part.get("text", "")) for part in content]
    return sum(len(text.split()) for text in texts)


class ErrorDetail(msgspec.Struct, frozen=True):
    """What an OpenAI error says."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """An OpenAI error as a body, and as an event in a stream."""

    error: ErrorDetail


class FailureError(Exception):
    """A refusal of a request: the HTTP status and the error in OpenAI's shape."""

    def __init__(self, status: int, detail: ErrorDetail) -> None:
        super().__init__(detail.message)
        self.status = status
        self.detail = detail

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(ErrorBody(self.detail))


def bad_request(message: str) -> FailureError:
    """The request makes no sense."""
    return FailureError(400, ErrorDetail(message, "invalid_request_error", None, None))


def too_large(message: str) -> FailureError:
    """The request has too many bytes."""
    return FailureError(413, ErrorDetail(message, "invalid_request_error", None, "request_too_large"))


def wrong_key() -> FailureError:
    """The key is missing or wrong; which, is not said."""
    return FailureError(
        401, ErrorDetail("Incorrect API key provided.", "invalid_request_error", None, "invalid_api_key")
    )


def unknown_model(name: str) -> FailureError:
    """The model is not served here."""
    message = f"The model `{name[:64]}` does not exist."
    return FailureError(404, ErrorDetail(message, "invalid_request_error", "model", "model_not_found"))


def no_such_path(status: int, reason: str) -> FailureError:
    """There is nothing at this path, or not for this method."""
    return FailureError(status, ErrorDetail(reason, "invalid_request_error", None, None))


def simulated_failure(status: int) -> FailureError:
    """The failure that a behaviour asked for, worded as OpenAI words that status."""
    kind, code = {
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("invalid_request_error", "permission_denied"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("rate_limit_error", "rate_limit_exceeded"),
        503: ("server_error", "service_unavailable"),
    }.get(status, ("invalid_request_error", None) if status < 500 else ("server_error", "server_error"))
    return FailureError(status, ErrorDetail(f"Simulated failure {status}.", kind, None, code))


def parse_chat(body: bytes) -> ChatRequest:
    """The request in `body`; raises `FailureError` (400) that says where it is wrong."""
    try:
        return msgspec.json.decode(body, type=ChatRequest)
    except msgspec.ValidationError as error:
        raise bad_request(f"Invalid request: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request("The body is not valid JSON.") from error


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Delta(msgspec.Struct, frozen=True):
    """What one chunk adds."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True):
    """The one choice of a chunk."""

    delta: Delta
    finish_reason: str | None = None
    index: int = 0
    logprobs: None = None


class Chunk(msgspec.Struct, frozen=True):
    """One event of a stream. With usage asked for, every chunk carries the field and only the last one its value."""

    id: str
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    object: str = "chat.completion.chunk"
    created: int = CREATED


class AnswerMessage(msgspec.Struct, frozen=True):
    """The message of a plain answer."""

    content: str
    role: str = "assistant"
    refusal: None = None


class AnswerChoice(msgspec.Struct, frozen=True):
    """The one choice of a plain answer."""

    message: AnswerMessage
    finish_reason: str
    index: int = 0
    logprobs: None = None


class Completion(msgspec.Struct, frozen=True):
    """A plain answer."""

    id: str
    model: str
    system_fingerprint: str
    choices: list[AnswerChoice]
    usage: Usage
    object: str = "chat.completion"
    created: int = CREATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, to be told at once (`completion`) or piece by piece (`opening`, `content`, `closing`)."""

    id: str
    model: str
    fingerprint: str
    fate: Fate
    prompt_tokens: int
    wants_usage: bool

    @property
    def usage(self) -> Usage:
        count = len(self.fate.tokens)
        return Usage(self.prompt_tokens, count, self.prompt_tokens + count)

    @property
    def finish_reason(self) -> str:
        return "length" if self.fate.cut_by_limit else "stop"

    def completion(self) -> bytes:
        choice = AnswerChoice(AnswerMessage("".join(self.fate.tokens)), self.finish_reason)
        return msgspec.json.encode(Completion(self.id, self.model, self.fingerprint, [choice], self.usage))

    def opening(self) -> bytes:
        """The chunk that only says who speaks."""
        return self._event([ChunkChoice(Delta(role="assistant", content=""))])

    def content(self, token: str) -> bytes:
        return self._event([ChunkChoice(Delta(content=token))])

    def closing(self) -> Iterator[bytes]:
        """The chunk with the reason, the usage where it was asked for, and the end mark."""
        yield self._event([ChunkChoice(Delta(), self.finish_reason)])
        if self.wants_usage:
            yield self._event([], self.usage)
        yield DONE

    def _event(self, choices: list[ChunkChoice], usage: Usage | None = None) -> bytes:
        shown = usage if self.wants_usage else UNSET
        return event(Chunk(self.id, self.model, self.fingerprint, choices, shown))


def event(value: object) -> bytes:
    """`value` as one server-sent event."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


class ListedModel(msgspec.Struct, frozen=True):
    """One entry of the list of models."""

    id: str
    object: str = "model"
    created: int = CREATED
    owned_by: str = "modelway-simulator"


class ModelList(msgspec.Struct, frozen=True):
    """The models that are served."""

    data: list[ListedModel]
    object: str = "list"


def model_list(names: tuple[str, ...]) -> bytes:
    """The list of the models that are served, as a body."""
    return msgspec.json.encode(ModelList([ListedModel(name) for name in names]))

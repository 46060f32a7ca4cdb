"""What a request is, as far as a decision may look at it. Costly facts are found at most once, and only when asked for.

The rule: a header counts only when it came exactly once; of two that differ, nobody could say which one was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from modelway_contract.config import Priority
from modelway_contract.names import PRIORITY_HEADER
from modelway_gateway.core.messages import Messages
from modelway_gateway.core.verdicts import Verdict
from modelway_gateway.errors import Code, RequestError

if TYPE_CHECKING:
    from modelway_gateway.core.prompt.reader import Subject

Fields = dict[str, msgspec.Raw]
MAX_PROMPT_CHARACTERS: Final = 1 << 20
"""Of prompts that signals on words look into: folding and searching hold the event loop, about 0.4 s for so many."""
_TOKEN_LIMITS: Final = frozenset({"max_completion_tokens", "max_tokens"})
_EMPTY: Final = (b"null", b"[]", b"{}")
_PRIORITIES: Final = {each.lower(): each for each in Priority}


class HeaderSource(Protocol):
    """A request's headers, names in any case."""

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
        """All values of one header."""


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """A client that gave a key. Names, groups and tiers mean something in its own namespace only."""

    namespace: str
    name: str
    groups: frozenset[str] = frozenset()
    tier: str | None = None
    priority: Priority = Priority.STANDARD
    chooses_priority: bool = False


class Question:
    """One request, before it is decided."""

    __slots__ = (
        "_images",
        "_input_tokens",
        "_messages",
        "_output_tokens",
        "_verdicts",
        "body",
        "caller",
        "fields",
        "headers",
        "model",
        "namespace",
        "subject",
    )

    def __init__(
        self,
        namespace: str,
        model: str,
        caller: Caller | None,
        headers: HeaderSource,
        fields: Fields,
        body: bytes,
    ) -> None:
        """By place: a class called with names costs twice as much, and there is one of these for each request."""
        self.namespace = namespace
        self.model = model
        self.caller = caller
        self.headers = headers
        self.fields = fields
        self.body = body
        self._images: bool | None = None
        self._input_tokens = -1
        self._messages: Messages | None = None
        self._verdicts: dict[str, Verdict] | None = None
        self._output_tokens = -1
        self.subject: Subject | None = None
        """The last user message as the prompt model reads it, once a signal wanted that."""

    def header(self, name: str) -> str | None:
        """The header's value, or None when it did not come exactly once."""
        values = self.headers.getall(name, ())
        return values[0] if len(values) == 1 else None

    @property
    def needs_tools(self) -> bool:
        return _is_given(self.fields, "tools") or _is_given(self.fields, "functions")

    @property
    def needs_images(self) -> bool:
        if self._images is None:
            self._images = _has_images(self.body)
        return self._images

    @property
    def needs_json_schema(self) -> bool:
        return _wants_schema(self.fields)

    @property
    def priority(self) -> Priority:
        """The client's; or what a client that may choose says in a header. Raises RequestError for no such word."""
        caller = self.caller
        if caller is None:
            return Priority.STANDARD
        return caller.priority if not caller.chooses_priority else chosen_priority(self, caller.priority)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """What is known of the policy's signals already, by name: a request has one policy."""
        if self._verdicts is None:
            self._verdicts = {}
        return self._verdicts

    @property
    def has_verdicts(self) -> bool:
        """Whether any signal has said something."""
        return bool(self._verdicts)

    @property
    def prompt(self) -> str:
        """The text of the messages, but for those of assistants and tools. Raises RequestError."""
        return self._read_prompt().prompt

    @property
    def folded_prompt(self) -> bytes:
        """The same for keywords: as `folding.folded` makes it, in UTF-8. Raises RequestError."""
        return self._read_prompt().folded

    @property
    def last_user_text(self) -> str:
        """The text of the last message that a user wrote, however long; empty without one. Raises RequestError."""
        return self._read_messages().last_user_text

    @property
    def bounded_user_text(self) -> str:
        """The same, for whoever has to take all of it. Raises RequestError for too long a one, too."""
        text = self._read_messages().last_user_text
        _check_length(text)
        return text

    def _read_prompt(self) -> Messages:
        messages = self._read_messages()
        _check_length(messages.prompt)
        return messages

    @property
    def input_tokens(self) -> int:
        """Estimated: of the text of all messages and of the tools. Raises RequestError."""
        if self._input_tokens < 0:
            tools = [raw for name in ("tools", "functions") if (raw := self.fields.get(name)) is not None]
            self._input_tokens = self._read_messages().tokens(*tools)
        return self._input_tokens

    def fits(self, total_tokens: int) -> bool:
        """Whether prompt and answer together keep this limit. No token is shorter than a byte, so most need no look."""
        left = total_tokens - self.output_tokens
        return len(self.body) <= left or self.input_tokens <= left

    @property
    def output_tokens(self) -> int:
        """What the client asked for at most; 0 when it did not say."""
        if self._output_tokens < 0:
            fields = self.fields
            if _TOKEN_LIMITS.isdisjoint(fields):  # as most
                self._output_tokens = 0
            else:
                self._output_tokens = max(_number(fields, name) for name in _TOKEN_LIMITS)
        return self._output_tokens

    def _read_messages(self) -> Messages:
        if self._messages is None:
            self._messages = Messages(self.fields["messages"])
        return self._messages


def _check_length(text: str) -> None:
    if len(text) > MAX_PROMPT_CHARACTERS:
        message = f"This policy looks into prompts, which may have {MAX_PROMPT_CHARACTERS:,} characters at most."
        raise RequestError(Code.PROMPT_TOO_LONG, message, status=413, param="messages")


def chosen_priority(question: Question, otherwise: Priority) -> Priority:
    """What the header says, of a client that may choose. Raises RequestError."""
    value = question.header(PRIORITY_HEADER)
    if value is None:
        return otherwise
    priority = _PRIORITIES.get(value.strip().lower())
    if priority is None:
        message = f"{PRIORITY_HEADER} must be one of {', '.join(Priority)}."
        raise RequestError(Code.INVALID_VALUE, message, param=PRIORITY_HEADER)
    return priority


def _has_images(body: bytes) -> bool:
    """Whether some message has an image.

    In JSON every quote inside a string has a backslash before it, so the word is found as a whole string only. The
    looks before that are cheap: an image stands in an array within an array, and few texts have an underscore.
    """
    return body.find(b"[", body.find(b"[") + 1) > 0 and b'"image_' in body and b'"image_url"' in body


def _is_given(fields: Fields, name: str) -> bool:
    raw = fields.get(name)
    return raw is not None and bytes(raw) not in _EMPTY


class _ResponseFormat(msgspec.Struct):
    type: str = ""


_read_format = msgspec.json.Decoder(_ResponseFormat).decode
_read_number = msgspec.json.Decoder(int).decode


def _wants_schema(fields: Fields) -> bool:
    raw = fields.get("response_format")
    if raw is None:
        return False
    try:
        return _read_format(raw).type == "json_schema"
    except msgspec.ValidationError:  # the upstream will say what is wrong with it
        return False


def _number(fields: Fields, name: str) -> int:
    raw = fields.get(name)
    if raw is None:
        return 0
    try:
        return max(0, _read_number(raw))
    except (msgspec.ValidationError, msgspec.DecodeError):  # the upstream will say what is wrong with it
        return 0

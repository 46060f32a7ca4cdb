"""The text of a request's messages, read when a rule asks for it and never otherwise.

The rule: a message that has an odd shape still counts with whatever text is in it. An upstream may be as lenient, and
a rule that keeps certain words from a model must not be led astray by the way they are wrapped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from modelway_gateway.core.folding import folded
from modelway_gateway.core.tokens import PER_MESSAGE, estimate
from modelway_gateway.errors import Code, RequestError

_ANSWERED: Final = frozenset({"assistant", "tool", "function"})
"""Whose messages are no prompt: what models and tools said before."""

_INSTRUCTED: Final = frozenset({"system", "developer"})
"""Whose messages are prompt, but not what the user asks."""

_NO_TEXT: Final = frozenset({"type", "image_url", "image_embeds", "audio_url", "input_audio", "video_url", "file"})
"""Fields of a part whose strings are no text."""

_ABSENT: Final = msgspec.Raw()


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    """What OpenAI knows; a part with another field has an odd shape, since that may hold the text."""

    text: str = ""
    type: str = ""
    image_url: msgspec.Raw = _ABSENT
    input_audio: msgspec.Raw = _ABSENT
    file: msgspec.Raw = _ABSENT


class _Message(msgspec.Struct):
    role: str = ""
    content: str | list[_Part] | None = None
    tool_calls: msgspec.Raw = _ABSENT


_read_messages = msgspec.json.Decoder(list[_Message]).decode
_read_anything = msgspec.json.Decoder().decode


class Messages:
    """What the messages say: the prompt, and how many tokens all of them have."""

    __slots__ = ("_folded", "_tokens", "last_user_text", "prompt")

    def __init__(self, raw: msgspec.Raw) -> None:
        """Raises RequestError when this is no text at all."""
        prompts: list[str] = []
        last_user_text = ""
        tokens = PER_MESSAGE
        for role, text, more in _texts(raw):
            if role not in _ANSWERED:
                prompts.append(text)
                if role not in _INSTRUCTED:
                    last_user_text = text
            tokens += PER_MESSAGE + estimate(text.encode()) + (estimate(more) if more else 0)
        self.prompt = "\n".join(prompts)
        """The text of all messages but those of assistants and tools, so the system's and the user's."""
        self.last_user_text = last_user_text
        self._tokens = tokens
        self._folded: bytes | None = None

    @property
    def folded(self) -> bytes:
        """The prompt as keywords are looked for in it."""
        if self._folded is None:
            self._folded = folded(self.prompt).encode()
        return self._folded

    def tokens(self, *others: msgspec.Raw) -> int:
        """An estimate, with other parts of the body (tools) counted as the JSON that they are."""
        return self._tokens + sum(estimate(bytes(each)) for each in others)


def _texts(raw: msgspec.Raw) -> Iterator[tuple[str, str, bytes]]:
    """(role, text, calls of tools as JSON) of each message. Raises RequestError."""
    try:
        messages = _read_messages(raw)
    except msgspec.ValidationError:
        yield from _odd_texts(raw)
        return
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _no_text() from None
    for message in messages:
        content = message.content
        if not isinstance(content, str):
            content = "\n".join(part.text for part in content or () if part.text)
        yield message.role, content, bytes(message.tool_calls)


def _odd_texts(raw: msgspec.Raw) -> Iterator[tuple[str, str, bytes]]:
    """The same of messages that do not all look as they should."""
    try:
        messages = _read_anything(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _no_text() from None
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else message
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        more = msgspec.json.encode(calls) if calls else b""
        yield role if isinstance(role, str) else "", "\n".join(_strings(content)), more


def _no_text() -> RequestError:
    return RequestError(Code.INVALID_JSON, "messages holds text that is not valid.", param="messages")


def _strings(value: object) -> Iterator[str]:
    """Every text in a message whose shape is not known; the depth of a body is bounded."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in _NO_TEXT:
                yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)

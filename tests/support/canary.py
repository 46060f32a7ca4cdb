"""A word that stands in every prompt of the tests, and a scanner that finds it again in whatever clothes it wears.

The rule: the word is searched for as what it means, not as it was typed: in another case, escaped, encoded, wrapped
into lines. What the scanner must find is planted for it in `tests/unit/support/test_canary.py`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

PROMPT_CANARY = "quokkaprompt27182"
"""Nothing but prompts says this: not a name, not a config, not an answer."""

PROMPT = f"{PROMPT_CANARY} says hello"
"""What tests ask that have nothing special to ask. The canary comes first, so that a shortened prompt still has it."""

_WHITESPACE = b" \t\r\n\v\f"
_WRITTEN_GAPS = (b"=\r\n", b"=\n", b"\\\\n", b"\\n", b"\\r", b"\\t", b"\\u000a", b"\\u000d")
"""How a break of a line is written where it is not one: quoted-printable, JSON in JSON, JSON."""


@dataclass(frozen=True)
class Canary:
    """One word, and the forms that give it away."""

    word: str

    @cached_property
    def forms(self) -> dict[str, bytes]:
        """Each form by its name; those that do not depend on case are written in lower case."""
        plain = self.word.encode()
        percent = "".join(f"%{byte:02x}" for byte in plain)
        json_escaped = "".join(f"\\u{ord(letter):04x}" for letter in self.word)
        return {
            "plain": plain.lower(),
            "UTF-16": b"\0".join(letter.encode() for letter in self.word.lower()),  # of either byte order
            "UTF-32": b"\0\0\0".join(letter.encode() for letter in self.word.lower()),
            "percent-encoded": percent.encode(),
            "JSON-escaped": json_escaped.lower().encode(),
            "escaped bytes": percent.replace("%", "\\x").encode(),
            "HTML-escaped": "".join(f"&#{byte};" for byte in plain).encode(),
            "hexadecimal": plain.hex().encode(),
            "list of numbers": ",".join(str(byte) for byte in plain).encode(),
            "reversed": plain[::-1].lower(),
        }

    @cached_property
    def base64_forms(self) -> tuple[bytes, ...]:
        """The part of its base64 that does not depend on what stands around it, for each of the three places."""
        found = []
        for word in (self.word, self.word.upper(), self.word.capitalize()):
            for shift in range(3):
                encoded = base64.b64encode(b"\0" * shift + word.encode())
                # The first group holds bytes of its neighbour, the last one may too.
                found.append(encoded[4 * (shift > 0) : len(encoded) - 4])
        return tuple(found)

    def forms_in(self, data: bytes | str) -> list[str]:
        """Names of the forms in which it stands there."""
        given = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        found = dict.fromkeys(chain(self._forms_in(given), self._forms_in(_without_gaps(given))))
        return list(found)

    def _forms_in(self, data: bytes) -> list[str]:
        folded = data.lower()
        found = [name for name, form in self.forms.items() if form in folded]
        standard = data.translate(_URL_SAFE)
        if any(form in standard for form in self.base64_forms):
            found.append("base64")
        return found


_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def _without_gaps(data: bytes) -> bytes:
    for gap in _WRITTEN_GAPS:
        data = data.replace(gap, b"")
    return data.translate(None, _WHITESPACE)


CANARY = Canary(PROMPT_CANARY)


@dataclass
class Written:
    """What was written down in a run, by where: searched at once and not kept."""

    canary: Canary
    texts: int = 0
    size_bytes: int = 0
    sent: int = 0
    """Prompts with the canary that arrived at an upstream: without them a search proves nothing."""
    found: list[str] = field(default_factory=list)

    def search(self, place: str, data: bytes | str) -> None:
        """Look into one text that people or programs may read."""
        self.texts += 1
        self.size_bytes += len(data)
        self.found += [f"{place}: {form}" for form in self.canary.forms_in(data)]

    def arrived(self, request: bytes) -> None:
        """Count what an upstream got."""
        self.sent += self.canary.word.encode() in request


WRITTEN = Written(CANARY)
"""Of this test run; `tests/conftest.py` reads it at the end."""

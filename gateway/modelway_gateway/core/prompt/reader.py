"""Reads texts for all policies of a gateway, and remembers what it found out about each, for when it comes again.

The rule: what is remembered is found by a digest and holds labels and numbers, never a text; and only for the
namespace that sent it, so that nobody can tell by the time an answer takes what others have asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar, overload

from modelway_contract.prompt_labels import Domain, ExpectedOutput, Task
from modelway_gateway.core.prompt import examples
from modelway_gateway.core.prompt.analyser import Analyser, Answer, Reading
from modelway_gateway.core.prompt.features import Floats
from modelway_gateway.core.prompt.language import Language
from modelway_gateway.core.prompt.words import window

TEXTS_KEPT: Final = 2048
"""About 1.5 KB each at most."""
PHRASES_KEPT: Final = 4096

_FactT = TypeVar("_FactT")


class _Fact(Generic[_FactT]):
    """One thing about a text: what is known already, or read now."""

    def __init__(self, read: Callable[[Reading], _FactT]) -> None:
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, subject: None, kind: type) -> _Fact[_FactT]: ...
    @overload
    def __get__(self, subject: Subject, kind: type) -> _FactT: ...
    def __get__(self, subject: Subject | None, kind: type) -> _FactT | _Fact[_FactT]:
        if subject is None:
            return self
        known = subject.known
        if self._name not in known:
            known[self._name] = self._read(subject.reading)
        found: _FactT = known[self._name]
        return found


class Subject:
    """One text of one request; each fact is computed when it is first asked for."""

    __slots__ = ("_analyser", "_reading", "_text", "known")

    task: _Fact[Answer[Task] | None] = _Fact(lambda reading: reading.task)
    domain: _Fact[Answer[Domain] | None] = _Fact(lambda reading: reading.domain)
    difficulty: _Fact[float] = _Fact(lambda reading: reading.difficulty)
    language: _Fact[Language] = _Fact(lambda reading: reading.language)
    output: _Fact[ExpectedOutput] = _Fact(lambda reading: reading.output)
    vector: _Fact[Floats] = _Fact(lambda reading: reading.vector.copy())

    def __init__(self, text: str, analyser: Analyser, known: dict[str, Any]) -> None:
        self._text = text
        self._analyser = analyser
        self._reading: Reading | None = None
        self.known = known
        """By the names above; shared with the reader's memory, and so without the text."""

    @property
    def is_blank(self) -> bool:
        return not self._text or self._text.isspace()

    @property
    def reading(self) -> Reading:
        if self._reading is None:
            self._reading = self._analyser.read(self._text)
        return self._reading


class Reader:
    """The analyser, and what it has read lately."""

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser
        self._known: dict[bytes, dict[str, Any]] = {}
        self._phrases: dict[str, Floats] = {}

    def open(self, namespace: str, text: str) -> Subject:
        """Begin to read a text of this namespace; nothing is computed yet."""
        source = f"{namespace}\0{len(text)}\0{window(text)}".encode("utf-8", "surrogatepass")
        key = blake2b(source, digest_size=16).digest()
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= TEXTS_KEPT:
                del self._known[next(iter(self._known))]
            known = self._known[key] = {}
        return Subject(text, self._analyser, known)

    def learn(self, phrase: str) -> Floats:
        """Where a phrase of a policy stands; kept, since the next config mostly has it again."""
        vector = self._phrases.get(phrase)
        if vector is None:
            if len(self._phrases) >= PHRASES_KEPT:
                del self._phrases[next(iter(self._phrases))]
            vector = self._phrases[phrase] = self._analyser.read(phrase).vector.copy()
        return vector

    def fit(self, categories: Mapping[str, Sequence[str]]) -> examples.Fit:
        """Categories from their phrases. Raises ValueError that says what is missing."""
        vectors = {name: [self.learn(each) for each in phrases] for name, phrases in categories.items()}
        return examples.fit(vectors, self._analyser.background)

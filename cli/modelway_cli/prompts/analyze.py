"""What `modelway analyze` writes for what it reads.

The rule: an error names the line and the field, and never holds the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from modelway_cli.errors import CliError, UsageError
from modelway_gateway.core.prompt.analyser import Analyser
from modelway_gateway.errors import PromptModelError
from modelway_gateway.prompt_model import load_analyser

_T = TypeVar("_T")


class _Prompt(msgspec.Struct):
    id: Any
    text: str


class _Routes(msgspec.Struct):
    routes: dict[str, list[str]]
    texts: list[str]


def load() -> Analyser:
    """Load the analyser, or end with one line that says what is wrong."""
    try:
        return load_analyser()
    except PromptModelError as error:
        raise CliError(str(error)) from error


def analyze_lines(lines: Iterable[bytes]) -> Iterator[str]:
    """One JSON line for each that is read; blank lines are passed over."""
    analyser = load()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            prompt = _decoded(line, _Prompt, f"line {number}")
            yield json.dumps({"id": prompt.id} | describe(analyser, prompt.text))


def describe(analyser: Analyser, text: str) -> dict[str, object]:
    """All that is said about one text."""
    reading = analyser.read(text)
    task, domain = reading.task, reading.domain
    return {
        "task": None if task is None else task.label.value,
        "task_p": 0.0 if task is None else round(task.p, 4),
        "domain": None if domain is None else domain.label.value,
        "domain_p": 0.0 if domain is None else round(domain.p, 4),
        "difficulty": round(reading.difficulty, 4),
        "language": reading.language.code,
        "tokens": reading.tokens,
    }


def analyze_routes(data: bytes) -> str:
    """One JSON line with the nearest route of each text and its score."""
    asked = _decoded(data, _Routes, "the input")
    analyser = load()
    try:
        fitted = analyser.fit(asked.routes)
    except ValueError as error:
        raise UsageError(f"routes: {error}") from error
    return json.dumps(
        [[name, round(score, 6)] for name, score in (fitted.best(analyser.read(text).vector) for text in asked.texts)]
    )


def _decoded(data: bytes, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(json.loads(data), kind)
    except (ValueError, msgspec.ValidationError) as error:
        # json's own message holds no text of the document; msgspec's names the field and the type.
        raise UsageError(f"{where}: {error}") from None

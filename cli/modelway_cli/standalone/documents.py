"""Manifests: text to objects, and every mistake in them as a sentence with the file's name.

Rule: nothing in a file can end the process, and no sentence repeats a value, since a value may be a secret pasted into
the wrong place. YAML is read as kubectl reads it, strictly: a key that stands twice is a mistake, a date is text.
"""

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from modelway_contract.names import API_VERSION, GROUP
from modelway_operator.api.parsing import parse_llmmodel, parse_routingpolicy
from modelway_operator.errors import InvalidObjectError
from modelway_operator.kinds import CONFIG_MAP, LLM_MODEL, ROUTING_POLICY, SECRET, Kind, Raw

try:
    from yaml import CSafeLoader as Reader  # bounded in depth, and fast
except ImportError:
    from yaml import SafeLoader as Reader  # type: ignore[assignment]

DEFAULT_NAMESPACE: Final = "default"
KINDS: Final = (LLM_MODEL, ROUTING_POLICY, SECRET, CONFIG_MAP)
TYPES: Final[Mapping[Kind, Callable[[Mapping[str, Any]], object]]] = {
    LLM_MODEL: parse_llmmodel,
    ROUTING_POLICY: parse_routingpolicy,
}
"""Kinds of our own, whose specs are checked."""

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_STRING: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One object as its author wrote it; `raw` holds what the API server would take from it."""

    file: str
    kind: Kind
    namespace: str
    name: str
    raw: Raw = field(repr=False)

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What may stand in a folder once only."""
        return self.kind, self.namespace, self.name

    def __str__(self) -> str:
        return f"{self.kind.name} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is not as its author meant it."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a file holds. Of an unreadable one nothing is known, which is not the same as nothing."""

    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Kinds that are none of our business, and how often."""
    unreadable: bool = False


def parse_file(text: str, *, file: str) -> Parsed:
    """Every object in a file of one or more documents."""
    try:
        values = list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = 0 if error.problem_mark is None else error.problem_mark.line + 1
        return unreadable(file, f"line {line}: not YAML: {error.problem}")
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return unreadable(file, f"not YAML ({type(error).__name__})")
    documents: list[Document] = []
    problems: list[Problem] = []
    ignored: Counter[str] = Counter()
    for value in _flattened(values):
        try:
            found = _document(value, file)
        except _MistakeError as mistake:
            problems.append(Problem(file=file, message=str(mistake)))
            continue
        if isinstance(found, str):
            ignored[found] += 1
        else:
            documents.append(found)
            problems += (Problem(file=file, message=f"{found}: {text}") for text in _spec_problems(found))
    return Parsed(documents=tuple(documents), problems=tuple(problems), ignored=ignored)


def unreadable(file: str, why: str) -> Parsed:
    """A file of which nothing is known."""
    return Parsed(problems=(Problem(file=file, message=why),), unreadable=True)


class _MistakeError(Exception):
    """A document that is no object at all."""


class _Loader(Reader):
    """YAML as the API server's strict reading takes it."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - yaml's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in Reader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _STRING:
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is not text: put it in quotes", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, "a key stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _flattened(values: list[Any]) -> Iterator[Any]:
    """The documents, those inside a List too; empty ones are none."""
    for value in values:
        if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
            yield from value["items"]
        elif value is not None:
            yield value


def _document(value: Any, file: str) -> Document | str:
    """The object, or the kind of one that is none of our business."""
    if not isinstance(value, dict):
        raise _MistakeError("a document is not an object: it needs apiVersion, kind and metadata")
    version, name = value.get("apiVersion"), value.get("kind")
    if not isinstance(version, str) or not isinstance(name, str):
        raise _MistakeError("a document has no apiVersion or kind")
    kind = next((kind for kind in KINDS if (kind.api_version, kind.name) == (version, name)), None)
    if kind is None:
        if version.partition("/")[0] == GROUP:
            known = " and ".join(kind.name for kind in TYPES)
            raise _MistakeError(f"there is no {name} in {version}: this release knows {known} in {API_VERSION}")
        return name
    metadata = _metadata(kind, value.get("metadata"))
    raw = {**value, "metadata": metadata}
    raw.pop("status", None)
    document = Document(file=file, kind=kind, namespace=metadata["namespace"], name=metadata["name"], raw=raw)
    if kind in (SECRET, CONFIG_MAP):
        raw = {"apiVersion": version, "kind": name, "metadata": metadata, "data": _data(document)}
    try:
        json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise _MistakeError(f"{document}: holds a value that JSON cannot express") from None
    return Document(file=file, kind=kind, namespace=document.namespace, name=document.name, raw=raw)


def _metadata(kind: Kind, given: Any) -> dict[str, Any]:
    """What an author says in metadata; everything else of it is the API server's."""
    if not isinstance(given, dict):
        raise _MistakeError(f"{kind.name}: metadata is missing")
    name, namespace = given.get("name"), given.get("namespace") or DEFAULT_NAMESPACE
    if not isinstance(name, str) or not _SUBDOMAIN.fullmatch(name):
        raise _MistakeError(f"{kind.name}: metadata.name must be of lower-case letters, digits, '-' and '.'")
    if not isinstance(namespace, str) or not _LABEL.fullmatch(namespace):
        raise _MistakeError(f"{kind.name} {name}: metadata.namespace must be of lower-case letters, digits and '-'")
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    for field_name in ("labels", "annotations"):
        pairs = given.get(field_name) or {}
        if not _is_text_map(pairs):
            raise _MistakeError(f"{kind.name} {namespace}/{name}: metadata.{field_name} must map text to text")
        if pairs:
            metadata[field_name] = {key: value for key, value in pairs.items() if key != _LAST_APPLIED}
    return metadata


def _data(document: Document) -> dict[str, str]:
    """The data of a Secret, in base64, or of a ConfigMap, as it is."""
    data, text = document.raw.get("data") or {}, document.raw.get("stringData") or {}
    for field_name, pairs in (("data", data), ("stringData", text)):
        if not _is_text_map(pairs):
            raise _MistakeError(f"{document}: {field_name} must map text to text")
    if document.kind is CONFIG_MAP:
        return dict(data)
    for key, value in data.items():
        try:
            base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            raise _MistakeError(f"{document}: data.{key} is not base64; plain text goes into stringData") from None
    return data | {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}


def _is_text_map(pairs: Any) -> bool:
    return isinstance(pairs, dict) and all(isinstance(part, str) for pair in pairs.items() for part in pair)


def _spec_problems(document: Document) -> tuple[str, ...]:
    parse = TYPES.get(document.kind)
    if parse is None:
        return ()
    try:
        parse(document.raw)
    except InvalidObjectError as error:
        return error.problems
    return ()

"""All LLMModels of the install: what each is now, which are accepted, and who has which public name.

Rule: an object that cannot be read counts as its last valid generation, where that is known; it loses its place only
when nothing valid is known of it. Of two Direct models of one namespace with the same public name the older one has it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelway_contract.config import PublicName
from modelway_operator.api.conditions import AcceptedReason, ResolvedRefsReason
from modelway_operator.api.llmmodel import Access, LLMModel
from modelway_operator.api.parsing import parse_llmmodel
from modelway_operator.core.compile.models import CompiledModel, compile_model, stamp_of
from modelway_operator.core.compile.versions import model_key, version_of
from modelway_operator.core.findings import Area, Finding, Kind
from modelway_operator.core.objects import Head, head_of, identity_of, wishes_of
from modelway_operator.core.parts import Parts
from modelway_operator.core.snapshot import ObjectKey, RawObject, Snapshot
from modelway_operator.errors import InvalidObjectError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadModel:
    """A spec that could be read, with its version; or why it could not."""

    model: LLMModel | None
    version: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One LLMModel of this install."""

    head: Head
    raw: RawObject
    problems: tuple[str, ...]
    """Why the present generation is not accepted, where it cannot be read."""
    duplicate_of: str | None
    """The older model that has the public name."""
    model: LLMModel | None
    """What serves: the present generation, or the last valid one."""
    version: str
    compiled: CompiledModel | None

    @property
    def accepted(self) -> bool:
        """Whether the present generation is."""
        return not self.problems and self.duplicate_of is None

    @property
    def usable(self) -> bool:
        """Whether policies may point at it."""
        return self.model is not None and self.duplicate_of is None

    @property
    def public_name(self) -> PublicName | None:
        """Its name, where clients may use it."""
        if not self.usable or self.model is None or self.model.spec.access is not Access.DIRECT:
            return None
        ref = self.head.ref
        return PublicName(
            namespace=ref.namespace,
            name=self.model.model_name,
            model=model_key(f"{ref.namespace}/{ref.name}", self.version),
            created=self.head.created,
        )

    def findings(self) -> Iterator[Finding]:
        """All that stands against it."""
        about = self.head.ref
        if self.problems:
            yield Finding(
                about=about, area=Area.ACCEPTED, reason=AcceptedReason.INVALID, message="; ".join(self.problems)
            )
        elif self.duplicate_of is not None:
            yield Finding(
                about=about,
                area=Area.ACCEPTED,
                reason=AcceptedReason.DUPLICATE_MODEL_NAME,
                message=f"LLMModel {self.duplicate_of} is older and has the name "
                f"{self.model.model_name if self.model is not None else ''} in this namespace; set another "
                "spec.modelName, or access: PolicyOnly",
            )
        if self.compiled is not None:
            for name, problem in self.compiled.problems:
                yield Finding(
                    about=about,
                    area=Area.RESOLVED_REFS,
                    reason=problem.reason,
                    message=f"backend {name}: {problem.message}",
                    part=name,
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All models of the install, by place."""

    entries: Mapping[ObjectKey, ModelEntry]
    valid: Mapping[str, RawObject]
    """The last valid generation of each, by identity, for the next turn."""

    def find(self, namespace: str, name: str) -> ModelEntry | None:
        """The model that policies mean by this."""
        entry = self.entries.get(ObjectKey(namespace, name))
        return entry if entry is not None and entry.usable else None


def read_inventory(snapshot: Snapshot, parts: Parts) -> Inventory:
    """Read and compile all models of this install."""
    heads = [(head_of(Kind.LLM_MODEL, raw), raw) for raw in snapshot.models]
    mine = [(h, raw) for h, raw in heads if h.gateway == snapshot.install.gateway and not h.deleting and h.ref.name]
    mine.sort(key=lambda entry: entry[0].seniority)
    entries: dict[ObjectKey, ModelEntry] = {}
    valid: dict[str, RawObject] = {}
    holders: dict[tuple[str, str], str] = {}
    for head, raw in mine:
        read = _read(head, raw, parts, "model")
        serving, source = read, raw
        if read.model is None and head.identity in snapshot.memory.valid_models:
            source = snapshot.memory.valid_models[head.identity]
            serving = _read(head, source, parts, "last valid model")
        model, version, duplicate_of = serving.model, serving.version, None
        if model is not None:
            valid[head.identity] = {**wishes_of(source), "metadata": identity_of(head)}
            if model.spec.access is Access.DIRECT:
                holder = holders.setdefault((head.ref.namespace, model.model_name), head.ref.name)
                duplicate_of = holder if holder != head.ref.name else None
        entries[ObjectKey(head.ref.namespace, head.ref.name)] = ModelEntry(
            head=head,
            raw=raw,
            problems=read.problems,
            duplicate_of=duplicate_of,
            model=model,
            version=version,
            compiled=compiled_model(model, version, snapshot, parts) if model is not None else None,
        )
    return Inventory(entries=entries, valid=valid)


def compiled_model(model: LLMModel, version: str, snapshot: Snapshot, parts: Parts) -> CompiledModel:
    """The wire model of this spec, from the last turn where nothing it reads has changed."""
    key = model_key(f"{model.metadata.namespace}/{model.metadata.name}", version)
    stamp = (model, stamp_of(model, snapshot))
    return parts.get(f"wire {key}", stamp, lambda: compile_model(model, version, snapshot))


def _read(head: Head, raw: RawObject, parts: Parts, what: str) -> ReadModel:
    wishes = wishes_of(raw)
    return parts.get(f"{what} {head.identity}", (head.ref, head.generation, wishes), lambda: _parse(raw, wishes))


def _parse(raw: RawObject, wishes: RawObject) -> ReadModel:
    try:
        model = parse_llmmodel({**wishes, "metadata": raw.get("metadata")})
    except InvalidObjectError as exc:
        return ReadModel(model=None, problems=exc.problems)
    try:
        return ReadModel(model=model, version=version_of(model))
    except ValueError as exc:
        return ReadModel(model=None, problems=(f"spec.backends: {exc}; correct the URL",))


def unusable_message(namespace: str, name: str, inventory: Inventory) -> tuple[ResolvedRefsReason, str]:
    """Why a policy cannot have this model."""
    entry = inventory.entries.get(ObjectKey(namespace, name))
    if entry is None:
        why = f"there is no LLMModel {name} in namespace {namespace}; create it, or correct modelRef"
    elif entry.duplicate_of is not None:
        why = f"LLMModel {name} is not accepted: {entry.duplicate_of} has its public name; give it one of its own"
    else:
        why = f"LLMModel {name} is not accepted: its spec is invalid; correct it"
    return ResolvedRefsReason.MODEL_NOT_FOUND, why

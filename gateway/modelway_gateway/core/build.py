"""Compiles base and credentials into routes, and says everything that is wrong with them at once.

The rule: a part that equals the one of the previous config *is* that part, so that warm connections, and whoever
compares by identity, survive a change of something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import msgspec

from modelway_contract import config
from modelway_contract.config import FindingOnGateway, Rejection
from modelway_contract.names import Arm
from modelway_gateway.core.features import Caller
from modelway_gateway.core.heads import chat_head, complaints, is_field_value, probe_head
from modelway_gateway.core.meanings import phrases_of
from modelway_gateway.core.options import option_for
from modelway_gateway.core.policies import compile_policy, complaints_about_policy
from modelway_gateway.core.route import NameTable
from modelway_gateway.core.routes import Backend, CountedOption, Model, Policy, SplitKey
from modelway_gateway.core.series import Calls, CallsKey, Series, SeriesKey, SignalSeries
from modelway_gateway.core.signals import Senses
from modelway_gateway.errors import ConfigError

OriginMaker = Callable[[config.Backend], object]
"""Makes what the upstream floor calls; a ValueError says why it cannot (its text is shown)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compiled:
    """Everything made of base and credentials, and what it was made from, for the next time."""

    names: NameTable
    models: dict[str, Model]
    backends: dict[str, Backend]
    callers: dict[str, Caller]
    splits: frozenset[SplitKey]
    series: tuple[Series, ...]
    calls: tuple[Calls, ...]
    signals: tuple[SignalSeries, ...]
    examples: tuple[config.ExamplesFit, ...]
    findings: tuple[FindingOnGateway, ...]
    sources: Sources

    def origins(self) -> list[object]:
        """All origins that this config can call."""
        return [each.origin for each in self.backends.values()]


@dataclass(slots=True, eq=False)
class Sources:
    """What each part was made from: (its source, the part)."""

    origins: dict[str, tuple[object, object]]
    backends: dict[str, tuple[object, Backend]]
    models: dict[str, tuple[object, Model]]
    direct: dict[tuple[str, str], tuple[object, CountedOption]]
    policies: dict[tuple[str, str], tuple[object, Policy]]


class Builder:
    """One compilation."""

    def __init__(
        self,
        base: config.Base,
        credentials: config.Credentials,
        *,
        previous: Compiled | None,
        make_origin: OriginMaker,
        senses: Senses,
    ) -> None:
        self._base = base
        self._credentials = credentials
        self._before = previous.sources if previous is not None else Sources({}, {}, {}, {}, {})
        self._now = Sources({}, {}, {}, {}, {})
        self._make_origin = make_origin
        self._senses = senses
        self._book = senses.book
        self._problems: list[Rejection] = []
        self._findings: list[FindingOnGateway] = []
        self._secrets: dict[str, str] = {}
        self._models: dict[str, Model] = {}
        self._backends: dict[str, Backend] = {}

    def build(self) -> Generator[None, None, Compiled]:
        """Compile, yielding now and then. Raises ConfigError at the end, with everything that was found."""
        self._read_secrets()
        callers = self._read_clients()
        for index, wire in enumerate(self._base.models):
            self._add_model(wire, f"$.base.models[{index}]")
            yield
        direct = [
            (public, option)
            for index, public in enumerate(self._base.public_names)
            if (option := self._direct(public, f"$.base.public_names[{index}]")) is not None
        ]
        policies: list[tuple[config.Policy, Policy]] = []
        for index, wire_policy in enumerate(self._base.policies):
            yield from self._learn_phrases(wire_policy)
            policy = self._policy(wire_policy, f"$.base.policies[{index}]")
            if policy is not None:
                policies.append((wire_policy, policy))
            yield
        if self._problems:
            raise ConfigError(tuple(self._problems))
        names = NameTable(shared=self._base.shared_namespaces, policies=policies, models=direct)
        series = {id(each): each for _, policy in policies for each in policy.series}
        series |= {id(option.series): option.series for _, option in direct}
        return Compiled(
            names=names,
            models=self._models,
            backends=self._backends,
            callers=callers,
            splits=frozenset(
                target.split
                for _, policy in policies
                for rule in policy.rules
                for target in rule.targets
                if target.split is not None
            ),
            series=tuple(series.values()),
            calls=tuple(each.calls for each in self._backends.values()),
            signals=tuple(each for _, policy in policies for each in policy.signal_series),
            examples=tuple(each for _, policy in policies for each in policy.examples),
            findings=tuple(self._findings),
            sources=self._now,
        )

    def _reject(self, path: str, code: str, message: str) -> None:
        self._problems.append(Rejection(path=path, code=code, message=message))

    # Credentials

    def _read_secrets(self) -> None:
        for index, credential in enumerate(self._credentials.backends):
            path = f"$.credentials.backends[{index}]"
            if credential.id in self._secrets:
                self._reject(path, "duplicate", "another credential has this id")
            usable = bool(credential.value) and is_field_value(credential.value)
            if not usable:
                self._reject(path, "bad_credential", "the value must be printable ASCII and not empty")
            self._secrets[credential.id] = credential.value if usable else ""

    def _read_clients(self) -> dict[str, Caller]:
        callers: dict[str, Caller] = {}
        twice: set[str] = set()
        for index, client in enumerate(self._credentials.clients):
            path = f"$.credentials.clients[{index}]"
            digest = client.key_sha256
            if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
                self._reject(path, "bad_digest", "key_sha256 must be 64 lower-case hexadecimal digits")
            elif digest in callers or digest in twice:
                # Nobody can say whose it is, and guessing would let one namespace act as another.
                twice.add(digest)
                callers.pop(digest, None)
                self._find(path, "duplicate_key", "several clients have this key; it is refused for all of them")
            else:
                callers[digest] = Caller(
                    client.namespace,
                    client.name,
                    frozenset(client.groups),
                    client.tier,
                    client.priority,
                    client.chooses_priority,
                )
        return callers

    def _find(self, path: str, code: str, message: str) -> None:
        self._findings.append(FindingOnGateway(path=path, code=code, message=message))

    # Models

    def _add_model(self, wire: config.Model, path: str) -> None:
        if wire.key in self._models:
            self._reject(path, "duplicate", "another model has this key")
        backends = tuple(
            backend
            for index, each in enumerate(wire.backends)
            if (backend := self._backend(wire, each, f"{path}.backends[{index}]")) is not None
        )
        if not wire.backends:
            self._reject(path, "no_backend", "a model needs at least one backend")
        parameters = []
        for index, (name, text) in enumerate(wire.parameters):
            raw = _as_raw(text)
            if raw is None:
                self._reject(f"{path}.parameters[{index}]", "bad_json", "the value must be JSON text")
            elif name in ("model", "messages", "stream"):
                self._reject(f"{path}.parameters[{index}]", "reserved", f"{name} cannot be a default")
            else:
                parameters.append((name, raw))
        source, before = (wire, backends), self._before.models.get(wire.key)
        model = before[1] if before is not None and before[0] == source else None
        if model is None:
            model = Model(
                key=wire.key,
                namespace=wire.namespace,
                name=wire.name,
                version=wire.version,
                public_name=wire.public_name,
                public_name_json=msgspec.Raw(msgspec.json.encode(wire.public_name)),
                parameters=tuple(parameters),
                backends=backends,
                capabilities=wire.capabilities,
                retention=wire.retention,
                traffic_state=wire.traffic_state,
            )
        self._models[wire.key] = model
        self._now.models[wire.key] = (source, model)

    def _backend(self, model: config.Model, wire: config.Backend, path: str) -> Backend | None:
        found = len(self._problems)
        if wire.id in self._backends:
            self._reject(path, "duplicate", "another backend has this id")
        for field, message in complaints(wire):
            self._reject(f"{path}.{field}", "invalid", message)
        if wire.weight < 0:
            self._reject(f"{path}.weight", "out_of_range", "must not be negative")
        for name in ("connect", "first_token", "idle", "total"):
            seconds = getattr(wire.timeouts, name)
            if not (seconds > 0 and math.isfinite(seconds)):
                self._reject(f"{path}.timeouts.{name}", "out_of_range", "must be more than 0 seconds")
        secret = None
        if wire.credential is not None:
            secret = self._secrets.get(wire.credential.id)
            if secret is None:
                self._reject(f"{path}.credential", "unknown_credential", "no credential has this id")
        origin = self._origin(wire, path) if len(self._problems) == found else None
        if origin is None:
            return None
        calls = self._book.calls.get(CallsKey(model.namespace, model.name, model.version, wire.name))
        source, before = (wire, secret, origin, calls), self._before.backends.get(wire.id)
        if before is not None and before[0] == source:
            backend = before[1]
        else:
            backend = Backend(
                id=wire.id,
                name=wire.name,
                discovered=wire.discovered,
                weight=wire.weight,
                jurisdiction=wire.jurisdiction,
                origin=origin,
                chat_head=chat_head(wire, secret),
                probe_head=probe_head(wire, secret),
                upstream_model=msgspec.Raw(msgspec.json.encode(wire.upstream_model)),
                secret=secret,
                calls=calls,
            )
        self._backends[wire.id] = backend
        self._now.backends[wire.id] = (source, backend)
        return backend

    def _origin(self, wire: config.Backend, path: str) -> object | None:
        source = (wire.scheme, wire.host, wire.port, wire.tls, wire.timeouts, wire.name, wire.discovered)
        before = self._before.origins.get(wire.id)
        if before is not None and before[0] == source:
            origin = before[1]
        else:
            try:
                origin = self._make_origin(wire)
            except ValueError as exc:
                self._reject(f"{path}.tls", "bad_tls", str(exc))
                return None
        self._now.origins[wire.id] = (source, origin)
        return origin

    def _direct(self, public: config.PublicName, path: str) -> CountedOption | None:
        model = self._models.get(public.model)
        key = (public.namespace, public.name)
        if model is None:
            self._reject(path, "unknown_model", "no model has this key")
            return None
        if key in self._now.direct:
            self._reject(path, "duplicate", "another model has this name in this namespace")
        before = self._before.direct.get(key)
        if before is not None and before[0] is model:
            option = before[1]
        else:
            series = self._book.requests.get(
                SeriesKey(model.namespace, "", "", "", model.name, model.version, Arm.NONE),
            )
            option = option_for(model, config.Require(), series, series, ())
        self._now.direct[key] = (model, option)
        return option

    # Policies

    def _learn_phrases(self, wire: config.Policy) -> Generator[None, None, None]:
        """One at a time, so that many of them do not hold up requests; the reader keeps them for the fit."""
        reader = self._senses.reader
        if reader is not None:
            for phrases in phrases_of(wire.signals).values():
                for phrase in phrases:
                    reader.learn(phrase)
                    yield

    def _policy(self, wire: config.Policy, path: str) -> Policy | None:
        found = len(self._problems)
        key = (wire.namespace, wire.name)
        if key in self._now.policies:
            self._reject(path, "duplicate", "another policy has this name")
        models = tuple(
            self._model_of(reference, f"{path}.rules[{number}].targets[{index}].{field}")
            for number, rule in enumerate(wire.rules)
            for index, target in enumerate(rule.targets)
            for field, reference in (("stable", target.stable), ("candidate", target.candidate))
        )
        models += tuple(
            self._model_of(reference, f"{path}.rules[{number}].fallback.models[{index}]")
            for number, rule in enumerate(wire.rules)
            if rule.fallback is not None
            for index, reference in enumerate(rule.fallback.models)
        )
        for field, code, message in complaints_about_policy(wire):
            self._reject(f"{path}.{field}", code, message)
        if len(self._problems) != found:
            return None
        before = self._before.policies.get(key)
        if before is not None and before[0] == (wire, models):
            policy = before[1]
        else:
            policy = compile_policy(wire, self._models, self._senses)
        for index, message in policy.bad_signals:
            self._find(f"{path}.signals[{index}]", "bad_signal", message)
        self._now.policies[key] = ((wire, models), policy)
        return policy

    def _model_of(self, reference: str | None, path: str) -> Model | None:
        if reference is not None and reference not in self._models:
            self._reject(path, "unknown_model", "no model has this key")
        return self._models.get(reference) if reference is not None else None


def _as_raw(text: str) -> msgspec.Raw | None:
    try:
        return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(text)))
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return None

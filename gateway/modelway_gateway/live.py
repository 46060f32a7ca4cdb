"""The running config: what came in, what runs, and the one assignment between.

Rules to know: `current` is taken once by each request, at entry. A push either becomes all of it or nothing of it.
A lower (epoch, sequence) than any seen before is refused, whether or not what was seen could be applied.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec

from modelway_contract import codec
from modelway_contract.config import Ack, Base, Credentials, Live, LiveState, Push
from modelway_gateway import logs
from modelway_gateway.core.classifiers import KnownAnswers
from modelway_gateway.core.meanings import MEANING_SIGNALS
from modelway_gateway.core.runtime import Runtime, build_in_steps
from modelway_gateway.core.signals import Senses
from modelway_gateway.errors import ConfigError, PromptModelError, PushFencedError, SectionsMissingError
from modelway_gateway.metrics import Metrics, PushResult
from modelway_gateway.origins import make_origin
from modelway_gateway.snapshots import LastGood, read_candidates
from modelway_gateway.upstream.interface import Origin

if TYPE_CHECKING:
    from modelway_gateway.core.prompt.reader import Reader

_log = logging.getLogger("modelway_gateway.live")
_STEP_SECONDS: Final = 0.005
"""How long a build may hold the event loop at a time."""

Pair = tuple[int, int]


class LiveConfig:
    """Holds the running config and replaces it."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        last_good: LastGood,
        on_swap: Callable[[list[Origin]], None],
        clock: Callable[[], float],
    ) -> None:
        """`on_swap` hears of the origins that the new config can call; `clock` is monotonic, in seconds."""
        self.current: Runtime | None = None
        self.revision: str | None = None
        self._metrics = metrics
        self._last_good = last_good
        self._on_swap = on_swap
        self._clock = clock
        self._lock = asyncio.Lock()
        self._reader: Reader | None = None
        self._known = KnownAnswers()
        self._push: Push | None = None
        """What runs, with all its sections."""
        self._live_digest = ""
        self._from_disk = False
        self._seen: Pair = (0, 0)
        self._confirmed_at: float | None = None

    @property
    def age_seconds(self) -> float | None:
        """Since the running config was loaded, or a push last confirmed it."""
        return None if self._confirmed_at is None else self._clock() - self._confirmed_at

    def status(self) -> Ack:
        """What runs now; empty digests while nothing does."""
        push, current = self._push, self.current
        epoch, sequence = self._seen
        if push is None or current is None:
            return Ack(base="", credentials="", live="", epoch=epoch, sequence=sequence)
        return Ack(
            base=push.base_digest,
            credentials=push.credentials_digest,
            live=self._live_digest,
            epoch=push.live.epoch,
            sequence=push.live.sequence,
            splits=push.live.state.splits,
            findings=current.findings,
            examples=current.compiled.examples,
        )

    def redacted(self) -> Push | None:
        """The running config without its credentials section."""
        return None if self._push is None else msgspec.structs.replace(self._push, credentials=None)

    async def apply_push(self, push: Push) -> Ack:
        """Run this config; `push` has passed `codec.verify`.

        Raises PushFencedError, SectionsMissingError or ConfigError, and then nothing has changed.
        """
        pushes = self._metrics.pushes
        async with self._lock:
            try:
                result = await self._apply(push)
            except PushFencedError:
                pushes[PushResult.FENCED] += 1
                raise
            except SectionsMissingError:
                pushes[PushResult.MISSING] += 1
                raise
            except ConfigError as exc:
                pushes[PushResult.REJECTED] += 1
                self._log_rejection(exc, push)
                raise
            pushes[result] += 1
            return self.status()

    def note_rejection(self) -> None:
        """A push could not even be read."""
        self._metrics.pushes[PushResult.REJECTED] += 1
        logs.event(_log, logging.ERROR, "config_unreadable")

    async def boot(self, *, bundle_dir: Path | None, state_dir: Path | None) -> bool:
        """Run the newest config found on disk, with every candidate at 0. False when there is none that can run."""
        async with self._lock:
            for source, found in read_candidates(bundle_dir, state_dir):
                push = with_candidates_at_zero(found)
                assert push.base is not None and push.credentials is not None  # noqa: PT018 - read_candidates saw to it
                try:
                    runtime = await self._build(push.base, push.credentials, push)
                except ConfigError as exc:
                    first = exc.errors[0]
                    logs.event(
                        _log, logging.ERROR, "boot_config_rejected", source=source, path=first.path, code=first.code
                    )
                    continue
                self._swap(runtime, push, codec.digest_live(push.live.state))
                self._from_disk = True
                self._confirmed_at = self._clock()
                self._seen = _pair(push)
                logs.event(_log, logging.INFO, "booted", source=source, revision=self.revision)
                return True
        logs.event(_log, logging.WARNING, "no_config", hint="not ready until the operator pushes one")
        return False

    # Under the lock

    async def _apply(self, push: Push) -> PushResult:
        pair, running = _pair(push), self._push
        live_digest = codec.digest_live(push.live.state)
        same = running is not None and (push.base_digest, push.credentials_digest, live_digest) == (
            running.base_digest,
            running.credentials_digest,
            self._live_digest,
        )
        taken = running is not None and pair == _pair(running) and not same and not self._from_disk
        if pair < self._seen or taken:
            raise PushFencedError(*self._seen)
        self._seen = pair
        base, credentials = self._sections(push)
        whole = msgspec.structs.replace(push, base=base, credentials=credentials)
        if not same:
            runtime = await self._build(base, credentials, push)
            self._swap(runtime, whole, live_digest)
            self._last_good.keep(whole)
            logs.event(
                _log,
                logging.INFO,
                "config_swapped",
                revision=self.revision,
                epoch=pair[0],
                sequence=pair[1],
                models=len(base.models),
                policies=len(base.policies),
                findings=len(runtime.findings),
            )
        self._push = whole
        self._from_disk = False
        self._confirmed_at = self._clock()  # constant work: a heartbeat does what any push does, but swaps nothing
        return PushResult.UNCHANGED if same else PushResult.APPLIED

    def _sections(self, push: Push) -> tuple[Base, Credentials]:
        running = self._push
        base, credentials = push.base, push.credentials
        if base is None and running is not None and running.base_digest == push.base_digest:
            base = running.base
        if credentials is None and running is not None and running.credentials_digest == push.credentials_digest:
            credentials = running.credentials
        if base is None or credentials is None:
            sections = (("base", base), ("credentials", credentials))
            raise SectionsMissingError(tuple(name for name, section in sections if section is None))
        return base, credentials

    async def _build(self, base: Base, credentials: Credentials, push: Push) -> Runtime:
        runtime, running = self.current, self._push
        if (
            runtime is None
            or running is None
            or (running.base_digest, running.credentials_digest) != (push.base_digest, push.credentials_digest)
        ):
            reader = await self._reader_for(base)
            senses = Senses(reader=reader, book=self._metrics.book, clock=perf_counter, known=self._known)
            steps = build_in_steps(base, credentials, runtime, make_origin=make_origin, senses=senses)
            began = self._clock()
            while True:
                try:
                    next(steps)
                except StopIteration as done:
                    runtime = done.value
                    break
                if self._clock() - began > _STEP_SECONDS:
                    await asyncio.sleep(0)
                    began = self._clock()
        assert runtime is not None
        return runtime.with_live(push.live.state, revision=codec.revision(push))

    async def _reader_for(self, base: Base) -> Reader | None:
        """What reads meanings, loaded when a policy first wants it: in a thread, for it takes a fifth of a second."""
        wanted = any(isinstance(each, MEANING_SIGNALS) for policy in base.policies for each in policy.signals)
        if wanted and self._reader is None:
            try:
                self._reader = await asyncio.to_thread(load_reader)
            except PromptModelError as exc:
                logs.event(_log, logging.ERROR, "prompt_model_not_loaded", error=str(exc))
            else:
                logs.event(_log, logging.INFO, "prompt_model_loaded")
        return self._reader

    def _swap(self, runtime: Runtime, push: Push, live_digest: str) -> None:
        book, now = self._metrics.book, self._clock()
        book.requests.activate(runtime.compiled.series, now=now)
        book.calls.activate(runtime.compiled.calls, now=now)
        book.signals.activate(runtime.compiled.signals, now=now)
        self.current = runtime
        self.revision = codec.revision(push)
        self._push = push
        self._live_digest = live_digest
        origins = runtime.compiled.origins()
        self._on_swap([each for each in origins if isinstance(each, Origin)])

    def _log_rejection(self, exc: ConfigError, push: Push) -> None:
        first = exc.errors[0]
        logs.event(
            _log,
            logging.ERROR,
            "config_rejected",
            epoch=push.live.epoch,
            sequence=push.live.sequence,
            errors=len(exc.errors),
            path=first.path,
            code=first.code,
        )


def load_reader() -> Reader:
    """The prompt model behind its memory. Raises PromptModelError."""
    # Here and not above: numpy and the model cost a gateway without such policies 40 MB and its start a quarter second.
    from modelway_gateway import prompt_model  # before all else that imports numpy: it says with how many threads
    from modelway_gateway.core.prompt.reader import Reader

    return Reader(prompt_model.load_analyser())


def with_candidates_at_zero(push: Push) -> Push:
    """The same config with no traffic for any candidate: an old bundle must not bring a rolled-back one back."""
    splits = tuple(msgspec.structs.replace(each, share=0) for each in push.live.state.splits)
    state = LiveState(splits=splits, endpoints=push.live.state.endpoints)
    live = Live(epoch=push.live.epoch, sequence=push.live.sequence, state=state)
    return msgspec.structs.replace(push, live=live)


def _pair(push: Push) -> Pair:
    return push.live.epoch, push.live.sequence

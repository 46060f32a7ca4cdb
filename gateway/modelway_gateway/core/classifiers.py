"""Signals that a policy's own classifier answers: what is asked, what its answers mean, and which are remembered.

The rule: a classifier's answer is somebody else's text. Only a label that the signal itself names is ever repeated, and
neither an answer nor a prompt is kept: memory holds digests and verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from modelway_contract.signals import ClassifierSignal, FailureMode
from modelway_gateway.core.features import Question
from modelway_gateway.core.series import SignalKey
from modelway_gateway.core.tally import Tally
from modelway_gateway.core.verdicts import ABSTAINED, Result, Verdict
from modelway_gateway.errors import Code, ErrorType, RoutingError

MAX_ANSWER_BYTES: Final = 16 * 1024
ANSWERS_KEPT: Final = 10_000
_MAX_DEADLINE_SECONDS: Final = 60.0
_DIGEST_BYTES: Final = 16


class Failure(StrEnum):
    """Why a classifier said nothing; a closed set, so it may stand in a header."""

    BUSY = "busy"
    UNREACHABLE = "unreachable"
    DEADLINE = "deadline"
    BAD_STATUS = "bad_status"
    TOO_LARGE = "too_large"
    BAD_ANSWER = "bad_answer"


_WORDS: Final = {
    Failure.BUSY: "is asked as much at a time as it may be",
    Failure.UNREACHABLE: "could not be reached",
    Failure.DEADLINE: "did not answer in time",
    Failure.BAD_STATUS: "answered with another status than 200",
    Failure.TOO_LARGE: "sent too large an answer",
    Failure.BAD_ANSWER: "sent an answer that cannot be read",
}


class _Answer(msgspec.Struct):
    label: str
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)]


_read_answer: Final = msgspec.json.Decoder(_Answer).decode


class KnownAnswers:
    """What classifiers said lately. Times come in as arguments, all of one clock."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[float, Verdict]] = {}

    def find(self, digest: bytes, *, now: float) -> Verdict | None:
        """What was said, unless it is too old."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        until, verdict = entry
        if now < until:
            return verdict
        del self._entries[digest]
        return None

    def keep(self, digest: bytes, verdict: Verdict, *, until: float) -> None:
        """Remember this until then; what was kept first makes room."""
        self._entries.pop(digest, None)
        if len(self._entries) >= ANSWERS_KEPT:
            del self._entries[next(iter(self._entries))]
        self._entries[digest] = (until, verdict)

    def __len__(self) -> int:
        return len(self._entries)


class Classifier:
    """One signal's classifier, as its policy describes it."""

    def __init__(
        self,
        signal: ClassifierSignal,
        key: SignalKey,
        tally: Tally,
        *,
        known: KnownAnswers,
        clock: Callable[[], float],
    ) -> None:
        """Raises ValueError that says what is wrong with the signal, and repeats nothing of its URL."""
        _check(signal)
        self.key = key
        self.url = signal.url
        self.deadline_seconds = signal.deadline_seconds
        self._labels = frozenset(signal.any_of)
        self._least = signal.min_confidence
        self._keeps_seconds = signal.cache_seconds
        self._refuses = signal.failure_mode is FailureMode.REFUSE
        self._tally = tally
        self._known = known
        self._clock = clock
        # All of the signal is in it: an answer to what a policy said before is none to what it says now.
        self._salt = blake2b(repr((key, signal)).encode("utf-8", "backslashreplace"), digest_size=32).digest()

    def judge(self, question: Question) -> Verdict:
        """What is known of the last user message already. Raises AnswerNeeded, and RequestError for too long a one."""
        text = question.bounded_user_text
        if not text or text.isspace():
            return ABSTAINED
        digest = self._digest(question.namespace, text)
        verdict = self._known.find(digest, now=self._clock())
        if verdict is None:
            raise AnswerNeeded(Asking(self, digest, text))
        return verdict

    def hear(self, digest: bytes, body: bytes) -> Verdict:
        """What the classifier's answer says, which is remembered; an answer that cannot be read is a failure."""
        try:
            answer = _read_answer(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return failed(Failure.BAD_ANSWER)
        verdict = self._weigh(answer)
        if self._keeps_seconds > 0:
            self._known.keep(digest, verdict, until=self._clock() + self._keeps_seconds)
        return verdict

    def settle(self, question: Question, verdict: Verdict, *, waited_seconds: float) -> None:
        """Keep what was waited for. Raises RoutingError where the policy serves nothing without it."""
        self._tally.keep(question, verdict, waited_seconds)
        if verdict.result is Result.FAILED and self._refuses:
            words = _WORDS[Failure(verdict.label)]
            message = f"The signal {self._tally.name} of this policy cannot be evaluated: its classifier {words}."
            raise RoutingError(503, Code.SIGNAL_UNAVAILABLE, message, type=ErrorType.API, should_retry=True)

    def _weigh(self, answer: _Answer) -> Verdict:
        label, p = answer.label, answer.confidence
        if label not in self._labels:
            return Verdict(Result.NO_MATCH, confidence=p)
        return Verdict(Result.MATCH if p >= self._least else Result.ABSTAINED, label, p)

    def _digest(self, namespace: str, text: str) -> bytes:
        """Of one namespace's own: nobody may tell by the time an answer takes what others have asked."""
        source = f"{namespace}\0{text}".encode("utf-8", "surrogatepass")
        return blake2b(source, digest_size=_DIGEST_BYTES, key=self._salt).digest()


class Asking(NamedTuple):
    """What has to be asked, and of whom; equal digests have the same answer."""

    classifier: Classifier
    digest: bytes
    text: str


class AnswerNeeded(Exception):  # noqa: N818 - no error: the decision goes on once there is an answer
    """A decision needs to know what only a classifier can say; `settle` the answer and decide again."""

    def __init__(self, asking: Asking) -> None:
        super().__init__(asking.classifier.key.signal)
        self.asking = asking


def failed(failure: Failure) -> Verdict:
    """Where there is no answer: its kind stands where the label would."""
    return Verdict(Result.FAILED, failure)


def _check(signal: ClassifierSignal) -> None:
    try:
        url = urlsplit(signal.url)
        is_place = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_place = False
    if not is_place or not signal.url.isascii() or not signal.url.isprintable() or " " in signal.url:
        raise ValueError("its url must begin with http:// or https:// and name a host")
    if "@" in url.netloc:
        raise ValueError("its url must not hold a user or password")
    if not signal.any_of:
        raise ValueError("it needs a label at least")
    if not 0 < signal.deadline_seconds <= _MAX_DEADLINE_SECONDS:
        raise ValueError(f"its deadline must be above 0 and at most {_MAX_DEADLINE_SECONDS:g} s")

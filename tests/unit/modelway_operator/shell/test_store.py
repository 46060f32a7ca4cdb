"""The store: what the watch told, corrected by LISTs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_operator.kinds import LLM_MODEL, SECRET, WATCHED, Raw
from modelway_operator.store import GRAVE_SECONDS, Store


class Clock:
    """Seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Stands still unless told."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    """Of the whole cluster, and listed once."""
    store = Store(clock=clock)
    for kind in WATCHED:
        store.correct(kind, None, [], began=0.0)
    return store


def an_object(name: str, version: int = 1, *, namespace: str = "team", uid: str | None = None, **meta: Any) -> Raw:
    metadata = {"namespace": namespace, "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": {**metadata, **meta}, "spec": {"version": version}}


def shown(store: Store) -> dict[str, int]:
    return {raw["metadata"]["name"]: raw["spec"]["version"] for raw in store.objects(LLM_MODEL)}


def test_watch_is_believed_at_once(store: Store) -> None:
    """Objects come, change and go as the watch says."""
    store.put(LLM_MODEL, an_object("a"))
    store.put(LLM_MODEL, an_object("b"))
    store.put(LLM_MODEL, an_object("a", 2))
    store.discard(LLM_MODEL, "uid-b")

    assert {"a": 2} == shown(store)


def test_list_takes_away_what_the_watch_lost(store: Store, clock: Clock) -> None:
    """A deletion in a gap of the watch is found."""
    store.put(LLM_MODEL, an_object("a"))
    clock.now += 1

    assert 1 == store.correct(LLM_MODEL, None, [], began=clock.now)
    assert {} == shown(store)


def test_list_leaves_what_came_after_it_began(store: Store, clock: Clock) -> None:
    """An object that was made while the LIST was on its way is not in it, and is there all the same."""
    began = clock.now
    clock.now += 1
    store.put(LLM_MODEL, an_object("new"))

    assert 0 == store.correct(LLM_MODEL, None, [], began=began)
    assert {"new": 1} == shown(store)


def test_list_does_not_put_back_an_older_version(store: Store, clock: Clock) -> None:
    """What the watch told after the LIST began is newer than the LIST."""
    began = clock.now
    clock.now += 1
    store.put(LLM_MODEL, an_object("a", 2))
    store.correct(LLM_MODEL, None, [an_object("a", 1)], began=began)

    assert {"a": 2} == shown(store)


def test_list_brings_a_change_that_the_watch_lost(store: Store, clock: Clock) -> None:
    """Whatever its version says: after a restore of etcd they run backwards."""
    store.put(LLM_MODEL, an_object("a", 9))
    clock.now += 1

    assert 1 == store.correct(LLM_MODEL, None, [an_object("a", 3)], began=clock.now)
    assert {"a": 3} == shown(store)


def test_list_does_not_bring_back_the_dead(store: Store, clock: Clock) -> None:
    """A LIST that began before a deletion still shows the object."""
    store.put(LLM_MODEL, an_object("a"))
    began = clock.now
    clock.now += 1
    store.discard(LLM_MODEL, "uid-a")
    store.correct(LLM_MODEL, None, [an_object("a")], began=began)

    assert {} == shown(store)


def test_late_event_does_not_bring_back_the_dead(store: Store) -> None:
    """Events of one object may be handled out of order across a restart of the watch."""
    store.put(LLM_MODEL, an_object("a"))
    store.discard(LLM_MODEL, "uid-a")
    store.put(LLM_MODEL, an_object("a"))

    assert {} == shown(store)


def test_f15_object_that_a_restore_brought_back_is_seen_again(store: Store, clock: Clock) -> None:
    """A LIST that began after the deletion knows better."""
    store.put(LLM_MODEL, an_object("a"))
    store.discard(LLM_MODEL, "uid-a")
    clock.now += 1
    store.correct(LLM_MODEL, None, [an_object("a")], began=clock.now)
    store.put(LLM_MODEL, an_object("a", 2))

    assert {"a": 2} == shown(store)


def test_recreated_object_is_another_one(store: Store) -> None:
    """The same name with a new uid, whichever event comes first."""
    store.put(LLM_MODEL, an_object("a", 1, uid="old"))
    store.put(LLM_MODEL, an_object("a", 2, uid="new"))
    store.discard(LLM_MODEL, "old")

    assert {"a": 2} == shown(store)


def test_list_of_one_namespace_says_nothing_of_another(clock: Clock) -> None:
    """Namespaced LISTs correct their own namespace."""
    store = Store(namespaces=["team", "other"], clock=clock)
    store.put(LLM_MODEL, an_object("a", namespace="team"))
    store.put(LLM_MODEL, an_object("b", namespace="other"))
    clock.now += 1
    store.correct(LLM_MODEL, "team", [], began=clock.now)

    assert {"b": 1} == shown(store)


def test_complete_means_every_kind_in_every_namespace(clock: Clock) -> None:
    """Before that nothing may be concluded from absence, and nothing is pushed."""
    store = Store(namespaces=["team", "other"], clock=clock)
    pairs = [(kind, namespace) for kind in WATCHED for namespace in ("team", "other")]
    states = []
    for kind, namespace in pairs:
        states.append(store.is_complete)
        store.correct(kind, namespace, [], began=clock.now)

    assert [False] * len(pairs) == states
    assert store.is_complete


def test_first_list_misses_nothing(clock: Clock) -> None:
    """What the first LIST shows is no fault of the watch."""
    store = Store(clock=clock)

    assert 0 == store.correct(LLM_MODEL, None, [an_object("a")], began=clock.now)


def test_only_changes_count_as_changes(clock: Clock) -> None:
    """A relist that shows the same wakes nobody."""
    woken = []
    store = Store(clock=clock, on_change=lambda: woken.append(1))
    store.put(LLM_MODEL, an_object("a"))
    before = store.changes(LLM_MODEL), len(woken)
    store.put(LLM_MODEL, an_object("a"))

    assert before == (store.changes(LLM_MODEL), len(woken))


def test_p2_late_event_does_not_replace_what_we_wrote(store: Store) -> None:
    """A status of our own is seen at once; an event that was on its way does not bring back the one before."""
    store.put(LLM_MODEL, an_object("a", 9))
    store.put(LLM_MODEL, an_object("a", 10))
    store.put(LLM_MODEL, an_object("a", 9))

    assert {"a": 10} == shown(store)


def test_late_event_does_not_count_as_news(store: Store, clock: Clock) -> None:
    """What is older than known says nothing of now: a LIST that began before it is believed all the same."""
    store.put(LLM_MODEL, an_object("a", 9))
    clock.now += 1
    began = clock.now
    clock.now += 1
    store.put(LLM_MODEL, an_object("a", 8))
    store.correct(LLM_MODEL, None, [an_object("a", 3)], began=began)

    assert {"a": 3} == shown(store)


def test_list_brings_what_is_newer_than_an_event_that_came_during_it(store: Store, clock: Clock) -> None:
    """The event was late, the LIST is not."""
    began = clock.now
    clock.now += 1
    store.put(LLM_MODEL, an_object("a", 4))
    store.correct(LLM_MODEL, None, [an_object("a", 5)], began=began)

    assert {"a": 5} == shown(store)


def test_f15_after_a_restore_the_watch_is_believed_from_the_next_list_on(store: Store, clock: Clock) -> None:
    """Versions run backwards once; a read of our own tells, and events with low versions count again."""
    store.put(LLM_MODEL, an_object("a", 900))
    store.put(LLM_MODEL, an_object("b", 901))
    clock.now += 1
    store.put_read(LLM_MODEL, an_object("a", 5), began=clock.now)
    store.correct(LLM_MODEL, None, [an_object("a", 5), an_object("b", 4)], began=clock.now)
    store.put(LLM_MODEL, an_object("a", 7))
    store.put(LLM_MODEL, an_object("b", 8))

    assert {"a": 7, "b": 8} == shown(store)


def test_versions_that_are_no_numbers_are_not_compared(store: Store) -> None:
    """The API promises numbers; where there are none, the last that is told counts."""
    for version in ("b9", "a1"):
        raw = an_object("a", 1)
        raw["metadata"]["resourceVersion"] = version
        store.put(LLM_MODEL, raw)

    assert "a1" == store.objects(LLM_MODEL)[0]["metadata"]["resourceVersion"]


def test_p25_last_applied_annotation_is_not_kept(store: Store) -> None:
    """Kubectl writes a Secret's content into that annotation once more."""
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "canary", "modelway.dev/groups": "a"}
    store.put(SECRET, an_object("a", annotations=annotations, managedFields=[{"manager": "kubectl"}]))

    assert {"modelway.dev/groups": "a"} == store.objects(SECRET)[0]["metadata"]["annotations"]
    assert "managedFields" not in store.objects(SECRET)[0]["metadata"]


events = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans()), max_size=40)


@given(told=events, truth=st.dictionaries(st.sampled_from("abc"), st.integers(1, 5)))
def test_p3_whatever_was_lost_a_list_makes_it_right(told: list[tuple[str, int, bool]], truth: dict[str, int]) -> None:
    """Any events, in any order, with any lost: after one LIST the store shows what is there."""
    clock = Clock()
    store = Store(clock=clock)
    for name, version, gone in told:
        if gone:
            store.discard(LLM_MODEL, f"uid-{name}")
        else:
            store.put(LLM_MODEL, an_object(name, version))
    clock.now += GRAVE_SECONDS + 1
    store.correct(SECRET, None, [], began=clock.now)
    store.correct(LLM_MODEL, None, [an_object(name, version) for name, version in truth.items()], began=clock.now)

    assert truth == shown(store)

"""The stand-in for the API server: who an object is, what its generation is, and what a status is written to."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelway_cli.standalone.cluster import FolderCluster
from modelway_cli.standalone.folder import Folder
from modelway_cli.standalone.state import State
from modelway_operator.errors import ConflictError, NotFoundError
from modelway_operator.kinds import CONFIG_MAP, EVENT, LLM_MODEL, SECRET, SERVICE, Raw

MODEL = """
apiVersion: modelway.dev/v1alpha1
kind: LLMModel
metadata: {name: m}
spec: {backends: [{name: b, url: "http://127.0.0.1:9/v1"}]}
"""
CLIENT = """
apiVersion: v1
kind: Secret
metadata: {name: me, labels: {modelway.dev/secret: client}}
stringData: {api-key: KEY}
"""
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SERVICES = ((SERVICE, {"metadata": {"namespace": "default", "name": "s", "uid": "s", "resourceVersion": "1"}}),)


class Place:
    """A folder of manifests, its state, and the clusters that processes make of them one after the other."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "manifests"
        self.folder.mkdir()
        self.state_path = path / "state"
        self.state = State(self.state_path)
        self.events: list[Raw] = []
        self.cluster = self._start()

    def restart(self) -> None:
        """End the process and begin another one."""
        self.state.close()
        self.state = State(self.state_path)
        self.cluster = self._start()

    def write(self, file: str, text: str) -> list[tuple[str, str, bool]]:
        """Change a file; what the watch tells of it."""
        (self.folder / file).write_text(text)
        return self.changes()

    def changes(self) -> list[tuple[str, str, bool]]:
        found = self.cluster.refresh()
        return sorted((change.kind.name, change.raw["metadata"]["name"], change.gone) for change in found)

    async def model(self, name: str = "m") -> dict[str, Any]:
        found = await self.cluster.get_object(LLM_MODEL, "default", name)
        assert found is not None
        return found

    async def write_status(self, status: dict[str, Any], *, version: str | None = None, name: str = "m") -> Raw:
        judged = version or (await self.model(name))["metadata"]["resourceVersion"]
        return await self.cluster.apply_status(
            LLM_MODEL, namespace="default", name=name, resource_version=judged, status=status
        )

    def _start(self) -> FolderCluster:
        cluster = FolderCluster(
            Folder(self.folder), self.state, fixed=SERVICES, on_event=self.events.append, wall_clock=lambda: NOW
        )
        cluster.refresh()
        return cluster


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    place.write("m.yaml", MODEL)
    yield place
    place.state.close()


async def test_a_new_object_is_complete(place: Place) -> None:
    """It has what the API server gives it, and a status that says that nobody has seen it yet."""
    model = await place.model()

    assert ("default", 1, "2026-03-01T12:00:00Z") == tuple(
        model["metadata"][name] for name in ("namespace", "generation", "creationTimestamp")
    )
    assert [("Accepted", "Unknown")] == [(one["type"], one["status"]) for one in model["status"]["conditions"]][:1]


async def test_the_generation_rises_with_the_spec_only(place: Place) -> None:
    """Labels and comments are not the spec; the same content again changes nothing at all."""
    generations = []
    for text in (
        MODEL + "# a comment\n",
        MODEL.replace("{name: m}", "{name: m, labels: {a: b}}"),
        MODEL.replace("http:", "https:"),
        MODEL.replace("http:", "https:").replace('url: "', 'weight: 2, url: "'),
    ):
        changed = place.write("m.yaml", text)
        generations.append((len(changed), (await place.model())["metadata"]["generation"]))

    assert [(0, 1), (1, 1), (1, 2), (1, 3)] == generations


async def test_an_object_stays_itself_over_edits_and_restarts(place: Place) -> None:
    """Its uid, its age, its generation and its status are kept; that is what resuming rests on."""
    before = await place.write_status({"summary": {"model": "m"}})
    place.write("m.yaml", MODEL.replace("http:", "https:"))
    edited = await place.model()
    place.restart()
    after = await place.model()

    assert before["metadata"]["uid"] == edited["metadata"]["uid"] == after["metadata"]["uid"]
    assert {"summary": {"model": "m"}} == edited["status"] == after["status"]
    assert (2, edited) == (after["metadata"]["generation"], after)


async def test_an_object_that_went_and_came_back_is_another_one(place: Place) -> None:
    """As in the API server: nothing that was known of the first is true of the second."""
    first = await place.model()
    (place.folder / "m.yaml").unlink()
    gone = place.changes()
    place.write("m.yaml", MODEL)
    second = await place.model()

    assert [("LLMModel", "m", True)] == gone
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


async def test_an_object_that_went_while_nobody_looked_is_gone(place: Place) -> None:
    """The folder says what there is, not the state."""
    (place.folder / "m.yaml").unlink()
    place.restart()

    assert [] == await place.cluster.list_objects(LLM_MODEL)
    assert [] == place.state.objects()


async def test_a_status_is_written_to_the_version_that_was_judged(place: Place) -> None:
    """Or not at all: what was said of an older spec is not true of this one."""
    judged = (await place.model())["metadata"]["resourceVersion"]
    place.write("m.yaml", MODEL.replace("http:", "https:"))

    with pytest.raises(ConflictError):
        await place.write_status({}, version=judged)
    written = await place.write_status({"revision": "r"})
    with pytest.raises(ConflictError):
        await place.write_status({}, version=judged)
    assert written == await place.model()


async def test_a_status_of_what_is_gone_is_refused(place: Place) -> None:
    """It would bring the object back."""
    (place.folder / "m.yaml").unlink()
    place.changes()

    with pytest.raises(NotFoundError):
        await place.write_status({}, version="1")


async def test_what_the_operator_remembers_outlives_the_process_but_not_its_owner(place: Place) -> None:
    """Remembered versions go with the policy that they are remembered for."""
    owner = (await place.model())["metadata"]["uid"]
    metadata = {
        "namespace": "default",
        "name": "memory",
        "labels": {"modelway.dev/secret": "remembered"},
        "ownerReferences": [{"uid": owner}],
    }
    written = await place.cluster.apply_object(SECRET, {"metadata": metadata, "data": {"v": "QQ=="}})
    place.restart()
    restarted = await place.cluster.list_objects(SECRET)
    (place.folder / "m.yaml").unlink()

    assert [written] == restarted
    assert [("LLMModel", "m", True), ("Secret", "memory", True)] == place.changes()


async def test_secrets_are_listed_by_their_label_and_never_kept(place: Place) -> None:
    """A key is in its manifest and in this process; the state folder does not see it."""
    place.write("s.yaml", CLIENT + "---" + CLIENT.replace("me, labels: {modelway.dev/secret: client}", "other"))
    (secret,) = await place.cluster.list_objects(SECRET)

    assert "me" == secret["metadata"]["name"]
    assert ["LLMModel"] == [raw["kind"] for raw in place.state.objects()]


async def test_a_rotated_key_is_another_version(place: Place) -> None:
    """The gateway gets the credentials anew when the version of a Secret changes."""
    place.write("s.yaml", CLIENT)
    (before,) = await place.cluster.list_objects(SECRET)
    place.write("s.yaml", CLIENT.replace("KEY", "NEW"))
    (after,) = await place.cluster.list_objects(SECRET)

    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]


async def test_a_list_is_a_fresh_look(place: Place) -> None:
    """What the watch has not told of yet is in it."""
    (place.folder / "c.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca}\ndata: {k: v}\n")

    assert ["ca"] == [raw["metadata"]["name"] for raw in await place.cluster.list_objects(CONFIG_MAP)]
    assert 1 == len(await place.cluster.list_objects(SERVICE, "default"))
    assert [] == await place.cluster.list_objects(SERVICE, "team-a")


async def test_an_event_is_passed_on(place: Place) -> None:
    """To whoever shows it; it is kept nowhere."""
    await place.cluster.create_object(EVENT, "default", {"reason": "Promoted"})

    assert [{"reason": "Promoted"}] == place.events


async def test_a_state_that_cannot_be_written_is_a_mistake_and_not_an_end(place: Place) -> None:
    """What was there to serve is served all the same."""
    (place.state_path / "objects" / "LLMModel.default.n.json.new").mkdir()
    changed = place.write("n.yaml", MODEL.replace("name: m", "name: n"))

    assert [("LLMModel", "n", False)] == changed
    assert ["n.yaml: LLMModel default/n cannot be kept in the state folder: Is a directory"] == [
        str(problem) for problem in place.cluster.problems
    ]

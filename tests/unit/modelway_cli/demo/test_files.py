"""The demo's copy of the example: the real files, with one number and one name changed as a person would."""

from pathlib import Path

import pytest
import yaml

from modelway_cli.demo.files import POLICY, DemoFiles, Edit, duration_text, examples_folder
from modelway_cli.demo.scenario import CANDIDATES, FIRST, PUBLIC_NAME
from modelway_cli.errors import CliError
from modelway_cli.standalone.folder import Folder


@pytest.fixture
def files(tmp_path: Path) -> DemoFiles:
    return DemoFiles(examples_folder(), tmp_path / "canary")


def test_the_example_is_what_the_demo_needs() -> None:
    """Without a mistake; one policy for the name that clients send, and a model for each version."""
    reading = Folder(examples_folder()).read()

    assert () == reading.problems
    assert {} == reading.ignored
    assert {FIRST, *CANDIDATES, PUBLIC_NAME} == {document.name for document in reading.documents}


def test_only_what_is_said_to_change_changes(files: DemoFiles) -> None:
    """Comments and everything else stay, so what is shown on screen is all there is to it."""
    before = (files.folder / POLICY).read_text().splitlines()
    interval, model = files.set_interval(1.0), files.set_model("chat-v2")
    after = (files.folder / POLICY).read_text().splitlines()
    changed = [
        (old.split("#")[0].rstrip(), new.split("#")[0].rstrip())
        for old, new in zip(before, after, strict=True)
        if old != new
    ]

    assert [(model.before, model.after), (interval.before, interval.after)] == changed
    assert Edit(before="      interval: 60s", after="      interval: 1s") == interval


def test_the_policy_points_where_it_was_told_to(files: DemoFiles) -> None:
    """Twice in a row, as the demo does it."""
    for name in CANDIDATES:
        files.set_model(name)
        spec = yaml.safe_load((files.folder / POLICY).read_text())["spec"]

        assert name == spec["rules"][0]["targets"][0]["modelRef"]["name"]


def test_a_line_that_is_not_there_is_an_error(files: DemoFiles) -> None:
    """A demo that changed nothing would wait for a verdict for ever."""
    policy = files.folder / POLICY
    policy.write_text(policy.read_text().replace("interval: 60s", "interval: 60s\n      interval: 60s"))

    with pytest.raises(CliError, match=f"{POLICY} has"):
        files.set_interval(1.0)


@pytest.mark.parametrize(("seconds", "text"), [(1, "1s"), (1.5, "1500ms"), (60, "60s")])
def test_durations_are_spelled_as_manifests_spell_them(seconds: float, text: str) -> None:
    """Whole seconds where they are."""
    assert text == duration_text(seconds)

"""The folder of manifests while people edit it."""

import os
from pathlib import Path

import pytest

from modelway_cli.standalone.folder import Folder, Reading

MODEL = """
apiVersion: modelway.dev/v1alpha1
kind: LLMModel
metadata: {name: NAME}
spec: {backends: [{name: b, url: "http://127.0.0.1:9/v1"}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    write(tmp_path, "a.yaml", "m1")
    write(tmp_path, "b.yml", "m2")
    return Folder(tmp_path)


def write(folder: Path, file: str, *names: str) -> None:
    (folder / file).write_text("---".join(MODEL.replace("NAME", name) for name in names))


def names(reading: Reading) -> list[str]:
    return sorted(document.name for document in reading.documents)


def said(reading: Reading) -> list[str]:
    return [str(problem) for problem in reading.problems]


def test_manifests_of_the_folder_itself_are_read(folder: Folder) -> None:
    """As `kubectl apply -f` reads it: these suffixes, no folders inside."""
    write(folder.path, "c.json", "m3")
    write(folder.path, "notes.txt", "no")
    (folder.path / "inside").mkdir()
    write(folder.path / "inside", "d.yaml", "no")

    assert ["m1", "m2"] == names(Folder(folder.path).read())[:2]
    assert [] == said(Folder(folder.path).read())[1:]


def test_a_file_that_is_no_yaml_any_more_keeps_its_objects(folder: Folder) -> None:
    """Somebody is in the middle of an edit; that must not delete anything."""
    folder.read()
    (folder.path / "a.yaml").write_text("a: [")
    reading = folder.read()

    assert ["m1", "m2"] == names(reading)
    assert ["a.yaml: what it said before goes on"] == said(reading)[1:]


def test_a_file_that_was_never_yaml_has_no_objects(tmp_path: Path) -> None:
    """There is nothing to go on with."""
    (tmp_path / "a.yaml").write_text("a: [")
    reading = Folder(tmp_path).read()

    assert ([], 1) == (names(reading), len(reading.problems))


def test_an_empty_file_says_that_there_is_nothing(folder: Folder) -> None:
    """Emptying a file is a way to delete its objects."""
    folder.read()
    (folder.path / "a.yaml").write_text("")

    assert ["m2"] == names(folder.read())


def test_a_file_that_goes_takes_its_objects_with_it(folder: Folder) -> None:
    """And its mistakes."""
    folder.read()
    (folder.path / "a.yaml").write_text("a: [")
    folder.read()
    (folder.path / "a.yaml").unlink()
    reading = folder.read()

    assert (["m2"], []) == (names(reading), said(reading))


def test_a_folder_that_goes_takes_nothing_with_it(folder: Folder, tmp_path: Path) -> None:
    """A LIST that fails is never "no objects"."""
    folder.read()
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    reading = folder.read()

    assert None is folder.fingerprint()
    assert ["m1", "m2"] == names(reading)
    assert "its objects stay" in said(reading)[0]


def test_an_object_in_two_files_counts_once(folder: Folder) -> None:
    """The first file by name has it, and the other one's author is told."""
    write(folder.path, "b.yml", "m1", "m2")

    reading = folder.read()
    assert ["b.yml: LLMModel default/m1 is in a.yaml already; that one counts"] == said(reading)
    assert {"m1": "a.yaml", "m2": "b.yml"} == {document.name: document.file for document in reading.documents}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"# " + b"x" * (16 * 1024 * 1024)])
def test_a_file_that_is_no_text_or_too_large_is_a_mistake(tmp_path: Path, content: bytes) -> None:
    """And ends nothing."""
    (tmp_path / "a.yaml").write_bytes(content)
    (problem,) = Folder(tmp_path).read().problems

    assert problem.message in ("is not UTF-8", "is larger than 16 MiB")


def test_every_change_changes_the_fingerprint(folder: Folder) -> None:
    """Also one of the same length at the same moment: an editor's rename is another inode."""
    first = folder.fingerprint()
    path = folder.path / "a.yaml"
    status = path.stat()
    write(folder.path, "a.new", "m9")
    (folder.path / "a.new").rename(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert first != folder.fingerprint()
    assert ["m2", "m9"] == names(folder.read())

"""The state folder: held by one process, read by anybody."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelway_cli.errors import CliError
from modelway_cli.standalone.state import FolderInUseError, Running, State, read_objects, read_running
from modelway_operator.kinds import LLM_MODEL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def state(path: Path) -> Iterator[State]:
    state = State(path)
    yield state
    state.close()


def an_object(name: str = "m", **fields: Any) -> dict[str, Any]:
    return {"kind": "LLMModel", "metadata": {"namespace": "default", "name": name, "resourceVersion": "1"}, **fields}


def running(pid: int) -> Running:
    return Running(pid=pid, client_url="http://127.0.0.1:1/v1", metrics_url="http://127.0.0.1:2")


def test_what_is_kept_can_be_read_and_dropped(state: State, path: Path) -> None:
    """By this process and by others, one file for each object."""
    state.keep(LLM_MODEL, an_object("a"))
    state.keep(LLM_MODEL, an_object("b", status={"x": 1}))
    state.keep(LLM_MODEL, an_object("b", status={"x": 2}))
    state.drop(LLM_MODEL, an_object("a"))

    assert [an_object("b", status={"x": 2})] == state.objects() == list(read_objects(path))


def test_a_second_process_is_refused_and_told_who_holds_it(state: State, path: Path) -> None:
    """Two loops on one folder would undo each other's work."""
    state.announce(running(os.getpid()))

    with pytest.raises(FolderInUseError, match=f"process {os.getpid()}, http://127.0.0.1:1/v1"):
        State(path)


def test_the_folder_is_free_once_its_process_has_ended(path: Path) -> None:
    """The lock goes with the process; nothing has to be cleaned up."""
    State(path).close()
    State(path).close()


def test_each_process_has_a_higher_epoch(path: Path) -> None:
    """As a new leader has, so that what an earlier one pushed is never taken for newer."""
    epochs = []
    for _ in range(3):
        state = State(path)
        epochs.append(state.next_epoch())
        state.close()

    assert [1, 2, 3] == epochs


def test_only_the_user_can_read_it_and_git_ignores_it(state: State, path: Path) -> None:
    """It lies in a folder that people commit."""
    state.keep(LLM_MODEL, an_object())

    assert 0o700 == stat.S_IMODE(path.stat().st_mode)
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in (path / "objects").iterdir()}
    assert "*\n" == (path / ".gitignore").read_text()


def test_damaged_files_are_not_there(state: State, path: Path) -> None:
    """What cannot be read is made anew."""
    state.keep(LLM_MODEL, an_object("a"))
    (path / "objects" / "b.json").write_text("{")
    (path / "objects" / "c.json").write_text("[]")
    (path / "epoch").write_text("many")

    assert [an_object("a")] == state.objects()
    assert 1 == state.next_epoch()


def test_a_folder_that_was_tidied_away_is_made_again(state: State, path: Path) -> None:
    """The process goes on keeping what it knows."""
    (path / "objects").rmdir()
    state.keep(LLM_MODEL, an_object())

    assert [an_object()] == state.objects()


def test_nobody_serves_once_the_process_is_dead(state: State, path: Path) -> None:
    """Even if it could not say goodbye."""
    state.announce(running(os.getpid()))
    alive = read_running(path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    state.announce(running(ended.pid))

    assert (running(os.getpid()), None) == (alive, read_running(path))


def test_no_state_can_be_kept_where_a_file_is(tmp_path: Path) -> None:
    """The message names the way out."""
    (tmp_path / "state").write_text("")

    with pytest.raises(CliError, match="--state"):
        State(tmp_path / "state")


def test_files_are_whole_or_not_there(state: State, path: Path) -> None:
    """They are written beside and renamed, so a reader never sees half of one."""
    before = os.open(path / "running.json", os.O_RDWR | os.O_CREAT)
    os.write(before, json.dumps({"pid": 1}).encode())
    state.announce(running(os.getpid()))
    content = os.pread(before, 100, 0)
    os.close(before)

    assert b'{"pid": 1}' == content

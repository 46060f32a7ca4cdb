"""The logs of containers are searched to their ends, whatever the runtime makes of them."""

from pathlib import Path

import pytest

from tests.cluster.readable import ContainerLogs, said_in
from tests.support.canary import CANARY, PROMPT, Written

STAMP = b"2026-01-02T03:04:05.123456789Z"
WORD = CANARY.word.encode()


def line(text: bytes, *, tag: bytes = b"F", stream: bytes = b"stderr") -> bytes:
    """As containerd writes it."""
    return b" ".join((STAMP, stream, tag, text)) + b"\n"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (line(b"a b") + line(b"c", stream=b"stdout"), b"a b\nc\n"),
        (line(b"a", tag=b"P") + line(b"b", tag=b"P") + line(b"c"), b"abc\n"),
        (line(b""), b"\n"),
        (b"no mark at all\n", b"no mark at all\n"),
    ],
)
def test_what_a_container_said_is_read_without_the_runtimes_marks(lines: bytes, said: bytes) -> None:
    """A line that was too long for the runtime is whole again."""
    assert said == said_in(lines.removesuffix(b"\n"))


def test_a_prompt_is_found_while_the_log_grows(tmp_path: Path) -> None:
    """In a line that comes later, in one that the runtime broke, and in what a removed or renamed file still got."""
    written = Written(CANARY)
    logs = ContainerLogs(tmp_path, written.search)
    paths = [tmp_path / "shop_pod" / name for name in ("later", "broken", "removed", "renamed", "clean")]
    for path in paths:
        path.mkdir(parents=True)
    files = [(path / "0.log").open("ab", buffering=0) for path in paths]
    for file in files:
        file.write(line(b"begins"))
    logs.look()
    assert [] == written.found

    (paths[2] / "0.log").unlink()
    (paths[3] / "0.log").rename(paths[3] / "0.log.20260102")
    files[0].write(line(b"asked: " + PROMPT.encode())[:60])
    files[1].write(line(b"x" * 100 + WORD[:5], tag=b"P"))
    logs.look()
    assert [] == written.found

    files[0].write(line(b"asked: " + PROMPT.encode())[60:])
    files[1].write(line(WORD[5:]))
    files[2].write(line(WORD))
    files[3].write(line(WORD))
    files[4].write(line(b"ends"))
    with logs.overheard():
        pass
    for file in files:
        file.close()

    found = {place.partition("shop_pod/")[2].partition("/")[0] for place in written.found}
    assert {"later", "broken", "removed", "renamed"} == found

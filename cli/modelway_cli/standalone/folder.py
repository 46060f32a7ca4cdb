"""The folder of manifests: which files it has, when they changed, and what they hold now.

Rule: what cannot be read changes nothing. A file that is being edited into something that is not YAML keeps saying what
it said before, and a folder that has gone keeps saying all of it; only a file that is not there any more takes its
objects with it.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelway_cli.standalone.documents import Document, Parsed, Problem, parse_file, unreadable

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
MAX_FILE_BYTES: Final = 16 * 1024 * 1024

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Name, time of change, size and inode of each file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that the folder says."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    ignored: dict[str, int]


class Folder:
    """One folder, not those inside it, as `kubectl apply -f` takes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, tuple[tuple[int, int, int], Parsed]] = {}
        """What each file held when it was last read, and which file that was."""
        self._good: dict[str, Parsed] = {}
        """What each file held when it could last be read."""

    def fingerprint(self) -> Fingerprint | None:
        """Equal ones, equal content; None while there is no folder."""
        try:
            return tuple(sorted((path.name, *_stamp(path)) for path in self._files()))
        except OSError:
            return None

    def read(self) -> Reading:
        """What all files say now; only changed ones are read."""
        try:
            files = {path.name: path for path in self._files()}
        except OSError as error:
            gone = Problem(file=str(self.path), message=f"cannot be listed ({error.strerror}); its objects stay")
            return self._reading((gone,))
        for name in self._known.keys() - files.keys():
            del self._known[name]
            self._good.pop(name, None)
        for name, path in files.items():
            self._read_file(name, path)
        return self._reading(())

    def _files(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.suffix in SUFFIXES and path.is_file()]

    def _read_file(self, name: str, path: Path) -> None:
        try:
            stamp = _stamp(path)
            if name in self._known and self._known[name][0] == stamp:
                return
            parsed = _parse(path, name)
        except OSError as error:
            stamp, parsed = (0, 0, 0), unreadable(name, f"cannot be read: {error.strerror}")
        self._known[name] = stamp, parsed
        if not parsed.unreadable:
            self._good[name] = parsed

    def _reading(self, problems: tuple[Problem, ...]) -> Reading:
        found: dict[tuple[object, ...], Document] = {}
        every = list(problems)
        ignored: Counter[str] = Counter()
        for name in sorted(self._known):
            parsed = self._known[name][1]
            every += parsed.problems
            if parsed.unreadable and name in self._good:
                every.append(Problem(file=name, message="what it said before goes on"))
            good = self._good.get(name, parsed)
            ignored.update(good.ignored)
            for document in good.documents:
                first = found.setdefault(document.key, document)
                if first is not document:
                    every.append(Problem(file=name, message=f"{document} is in {first.file} already; that one counts"))
        return Reading(documents=tuple(found.values()), problems=tuple(every), ignored=dict(ignored))


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _parse(path: Path, name: str) -> Parsed:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        return unreadable(name, f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return unreadable(name, "is not UTF-8")
    return parse_file(text, file=name)

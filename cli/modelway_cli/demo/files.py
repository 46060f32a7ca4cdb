"""The demo's copy of examples/canary: the same files with a shorter interval, and the one line that people change.

Rule: files are edited as a person would, line by line, so that comments stay and a diff can be shown; a line that is
not there, or there twice, is an error and never a guess.
"""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelway_cli.errors import CliError

POLICY: Final = "policy.yaml"

_INTERVAL: Final = re.compile(r"^( *interval: )(\S+)(.*)$", re.MULTILINE)
_MODEL: Final = re.compile(r"^( *modelRef:\n +name: )(\S+)(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One changed line."""

    before: str
    after: str


def examples_folder() -> Path:
    """examples/canary, of the source tree or as it was installed."""
    source, installed = Path(__file__).resolve().parents[3], Path(sys.prefix) / "share" / "modelway"
    for folder in (source / "examples" / "canary", installed / "examples" / "canary"):
        if (folder / POLICY).is_file():
            return folder
    raise CliError("examples/canary is not here; run the demo from a checkout of the repository (make demo)")


class DemoFiles:
    """The manifests in a folder of their own."""

    def __init__(self, source: Path, folder: Path) -> None:
        """Copy them; the folder must not be there yet."""
        folder.mkdir()
        for file in sorted(source.glob("*.yaml")):
            shutil.copy(file, folder)
        self.folder = folder

    def set_interval(self, seconds: float) -> Edit:
        """Judge this often."""
        return self._edit(_INTERVAL, duration_text(seconds))

    def set_model(self, name: str) -> Edit:
        """Let the policy's target point at this model."""
        return self._edit(_MODEL, name)

    def _edit(self, line: re.Pattern[str], value: str) -> Edit:
        path = self.folder / POLICY
        text = path.read_text("utf-8")
        found = line.findall(text)
        if len(found) != 1:
            raise CliError(f"{POLICY} has {len(found)} lines like {line.pattern!r} instead of one")
        ((before, old, _),) = found
        beside = path.with_suffix(".new")
        beside.write_text(line.sub(rf"\g<1>{value}\g<3>", text), "utf-8")
        beside.replace(path)
        lead = before.rpartition("\n")[2]
        return Edit(before=f"{lead}{old}", after=f"{lead}{value}")


def duration_text(seconds: float) -> str:
    """A duration as manifests spell it."""
    millis = round(seconds * 1000)
    return f"{millis // 1000}s" if millis % 1000 == 0 else f"{millis}ms"
